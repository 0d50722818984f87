/** The last bytes of a stream without end. */
export interface Tail {
  push(chunk: Buffer): void;
  text(): string;
}

export function createTail(maxBytes: number): Tail {
  let kept = Buffer.alloc(0);
  let recent: Buffer[] = [];
  let recentBytes = 0;
  const settle = () => {
    const all = Buffer.concat([kept, ...recent]);
    // A copy: a slice would keep the whole of it in memory.
    kept = Buffer.from(all.subarray(Math.max(0, all.length - maxBytes)));
    recent = [];
    recentBytes = 0;
  };
  return {
    push(chunk) {
      recent.push(chunk);
      recentBytes += chunk.length;
      if (recentBytes > maxBytes || recent.length > 256) settle();
    },
    text() {
      settle();
      return kept.toString("utf8");
    },
  };
}
