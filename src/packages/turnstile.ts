import { Readable } from "node:stream";
import type { Reply } from "./registry.ts";

/** Answers that are being made, or are large and not yet read: each may hold a registry's whole document of a package. */
const MAX_AT_ONCE = 12;
/** A smaller one is let go of when it is made. */
const SMALL_BYTES = 65_536;
const PIECE_BYTES = 262_144;

/**
 * Keeps what one session has in the gateway's memory within bounds: a program can ask hundreds of things at once, and read none. The
 * answers that are too many wait in order.
 * @throws the signal's reason
 */
export type Turnstile = (make: () => Promise<Reply>, signal: AbortSignal) => Promise<Reply>;

export function createTurnstile(): Turnstile {
  let free = MAX_AT_ONCE;
  const waiting = new Set<() => void>();
  const leave = () => {
    const [next] = waiting;
    if (next) {
      waiting.delete(next);
      next();
    } else {
      free += 1;
    }
  };
  const enter = async (signal: AbortSignal) => {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = () => {
      waiting.delete(resolve);
      reject(signal.reason);
    };
    waiting.add(resolve);
    signal.addEventListener("abort", giveUp, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", giveUp));
  };
  return async (make, signal) => {
    await enter(signal);
    let reply: Reply;
    try {
      reply = await make();
    } catch (error) {
      leave();
      throw error;
    }
    const { body, headers } = reply;
    if (body instanceof Readable || Buffer.byteLength(body) <= SMALL_BYTES) {
      leave();
      return reply;
    }
    const bytes = Buffer.from(body);
    const stream = Readable.from(piecesOf(bytes), { objectMode: false });
    stream.once("close", () => {
      signal.removeEventListener("abort", end);
      leave();
    });
    const end = () => void stream.destroy();
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    return { ...reply, headers: { ...headers, "content-length": String(bytes.length) }, body: stream };
  };
}

function* piecesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}
