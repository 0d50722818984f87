import { deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";

/** What a channel that ends may still say, in ms: whoever started the gateway waits. */
const FAREWELL_MS = 3_000;

/** What a channel still has to do when a question is over; ending waits for it, for a while. */
export interface Errands extends AsyncDisposable {
  /** Aborts when the channel ends. */
  readonly closing: AbortSignal;
  /** Aborts a while after that: nobody waits any longer. */
  readonly gone: AbortSignal;
  /** Ending waits for it. */
  hold<T>(work: Promise<T>): Promise<T>;
  /** Does something behind the caller's back, within the time that there is. */
  run(work: (limit: AbortSignal) => Promise<unknown>, onFailure: (error: unknown) => void): void;
}

/** @param limitMs how long an errand may take */
export function createErrands(limitMs: number): Errands {
  const closing = new AbortController();
  const gone = new AbortController();
  const held = new Set<Promise<unknown>>();
  const hold = <T>(work: Promise<T>): Promise<T> => {
    const settled: Promise<unknown> = work.then(
      () => held.delete(settled),
      () => held.delete(settled),
    );
    held.add(settled);
    return work;
  };
  return {
    closing: closing.signal,
    gone: gone.signal,
    hold,
    run: (work, onFailure) => void hold(work(deadline(limitMs, gone.signal)).catch(onFailure)),
    async [Symbol.asyncDispose]() {
      closing.abort(new Error("the gateway has stopped"));
      const timer = setTimeout(() => gone.abort(new Error("the gateway has stopped")), FAREWELL_MS);
      // A question that ends now leaves an errand of its own.
      while (held.size > 0) await Promise.all(held);
      clearTimeout(timer);
    },
  };
}

/** How a question ended, in words for people. */
export function howItEnded({ reason }: AbortSignal): string {
  return printable(reason instanceof Error ? reason.message : String(reason), 300);
}
