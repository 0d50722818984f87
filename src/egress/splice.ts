import { type Duplex, pipeline, Transform } from "node:stream";

/** What is told of bytes that pass. */
export interface Meter {
  sent(bytes: number): void;
  received(bytes: number): void;
}

/**
 * Bytes both ways, each at the reader's pace; an end is passed on, and a break of one is one of both.
 * @param outbound, inbound what bytes pass through on their way
 */
export function splice(
  inner: Duplex,
  outer: Duplex,
  meter: Meter,
  outbound: readonly Transform[] = [],
  inbound: readonly Transform[] = [],
): void {
  const end = () => {
    inner.destroy();
    outer.destroy();
  };
  // One may have gone while the other was opened.
  if (inner.destroyed || outer.destroyed) {
    end();
    return;
  }
  const broken = (error: Error | null | undefined) => error && end();
  pipeline([inner, ...outbound, counted(meter.sent), outer], broken);
  pipeline([outer, ...inbound, counted(meter.received), inner], broken);
}

/** Passes bytes on and tells how many. */
export function counted(count: (bytes: number) => void): Transform {
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      count(chunk.length);
      done(null, chunk);
    },
  });
}
