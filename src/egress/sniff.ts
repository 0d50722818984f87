import type { Duplex } from "node:stream";
import { type ClientHello, MAX_HELLO_BYTES, NotTls, readClientHello } from "./client-hello.ts";

/** A program that speaks first does so at once; slow ones are given this long for their first words. */
const FIRST_WORDS_MS = 10_000;

export type FirstWords =
  | { readonly protocol: "tls"; readonly hello: ClientHello }
  | { readonly protocol: "http" }
  | { readonly protocol: "unknown"; readonly reason: string }
  /** It has ended without a word. */
  | { readonly protocol: "none" };

/** Finds out what a program speaks, and puts back what was read. The connection stays paused. */
export async function firstWords(connection: Duplex): Promise<FirstWords> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for (const patience = performance.now() + FIRST_WORDS_MS; ; ) {
      const chunk: Buffer | null = connection.read();
      if (chunk) {
        chunks.push(chunk);
        length += chunk.length;
        const found = recognise(Buffer.concat(chunks, length));
        if (found) return found;
        continue;
      }
      if (connection.readableEnded || connection.destroyed) return { protocol: "none" };
      const left = patience - performance.now();
      if (left <= 0) return { protocol: "unknown", reason: SILENT };
      await stirred(connection, left);
    }
  } finally {
    if (length > 0 && !connection.destroyed) connection.unshift(Buffer.concat(chunks, length));
  }
}

const SILENT = "the program waits for the other side to speak first, and only HTTP and TLS are carried";
const UNKNOWN = "it is neither TLS nor HTTP, and only these are carried";

/** `undefined` when more is needed. */
function recognise(bytes: Buffer): FirstWords | undefined {
  if (/^[A-Z]{1,20}( |$)/.test(bytes.toString("latin1", 0, 21))) {
    // HTTP/2 without TLS begins with a method that nobody has.
    if (bytes.toString("latin1", 0, 4) === "PRI ")
      return { protocol: "unknown", reason: "HTTP/2 is carried in TLS only" };
    return bytes.includes(" ") ? { protocol: "http" } : undefined;
  }
  try {
    const hello = readClientHello(bytes);
    if (hello) return { protocol: "tls", hello };
    return bytes.length > MAX_HELLO_BYTES ? { protocol: "unknown", reason: UNKNOWN } : undefined;
  } catch (error) {
    if (!(error instanceof NotTls)) throw error;
    return { protocol: "unknown", reason: bytes[0] === 22 ? error.message : UNKNOWN };
  }
}

function stirred(connection: Duplex, patienceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, patienceMs);
  const events = ["readable", "end", "close"] as const;
  for (const it of events) connection.once(it, resolve);
  return promise.finally(() => {
    clearTimeout(timer);
    for (const it of events) connection.off(it, resolve);
  });
}
