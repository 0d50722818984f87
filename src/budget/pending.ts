import type { Spender } from "./budgets.ts";
import type { Counter } from "./windows.ts";

/** Something that was used, and is not in the file yet. */
export interface Amount extends Spender {
  readonly counter: Counter;
  readonly amount: number;
}

/** What flows or passes, and is written together now and then. Nothing of it is lost before it is written. */
export class Pending {
  readonly #amounts = new Map<string, Amount>();
  /** Until when each is counted, by this process's own clock: nobody sets that. */
  readonly #runs = new Map<object, { readonly of: Spender; countedMs: number }>();

  add(of: Spender, counter: Counter, amount: number): void {
    const { principalId, sessionId } = of;
    const key = JSON.stringify([principalId, sessionId, counter]);
    const before = this.#amounts.get(key)?.amount ?? 0;
    if (amount > 0) this.#amounts.set(key, { principalId, sessionId, counter, amount: before + amount });
  }

  startRun(of: Spender): Disposable {
    const run = {};
    this.#runs.set(run, { of, countedMs: performance.now() });
    return {
      [Symbol.dispose]: () => {
        this.#countRuns();
        this.#runs.delete(run);
      },
    };
  }

  /** What a principal, and one of its sessions, have used of it; by `principal` or `session`, and counter. */
  sums({ principalId, sessionId }: Spender): (whose: "principal" | "session", counter: Counter) => number {
    this.#countRuns();
    const own = [...this.#amounts.values()].filter((it) => it.principalId === principalId);
    return (whose, counter) =>
      own
        .filter((it) => it.counter === counter && (whose === "principal" || it.sessionId === sessionId))
        .reduce((sum, it) => sum + it.amount, 0);
  }

  /** Hands over all there is; what `write` throws leaves everything as it was. */
  settle(write: (amounts: readonly Amount[]) => void): void {
    this.#countRuns();
    if (this.#amounts.size === 0) return;
    write([...this.#amounts.values()]);
    this.#amounts.clear();
  }

  /** A millisecond that has begun is counted whole. */
  #countRuns(): void {
    for (const run of this.#runs.values()) {
      const passedMs = Math.ceil(performance.now() - run.countedMs);
      if (passedMs <= 0) continue;
      this.add(run.of, "runMilliseconds", passedMs);
      run.countedMs += passedMs;
    }
  }
}
