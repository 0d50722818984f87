import { abortable } from "../lib/deadline.ts";

/** Lets one at a time at each key, in the order in which they came. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Does `work` when all who came before for this key are done. Rejects with the signal's reason if it aborts while waiting. */
  async take<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const { promise: done, resolve } = Promise.withResolvers<void>();
    // Who gives up while waiting must not let the next one past those before.
    const last = Promise.all([before, done]).then(() => {
      if (this.#last.get(key) === last) this.#last.delete(key);
    });
    this.#last.set(key, last);
    try {
      await abortable(before, signal);
      return await work();
    } finally {
      resolve();
    }
  }
}
