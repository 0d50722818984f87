/** How many requests may wait for people at once. */
export interface Limits {
  readonly session: number;
  readonly total: number;
}

/** Counts those that wait. */
export class Seats {
  readonly #limits: Limits;
  readonly #taken = new Map<string, number>();
  #total = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** A place to wait in until it is disposed of; `undefined` when there is none. */
  take(sessionId: string): Disposable | undefined {
    const taken = this.#taken.get(sessionId) ?? 0;
    if (taken >= this.#limits.session || this.#total >= this.#limits.total) return undefined;
    this.#taken.set(sessionId, taken + 1);
    this.#total += 1;
    return { [Symbol.dispose]: () => this.#leave(sessionId) };
  }

  #leave(sessionId: string): void {
    const left = (this.#taken.get(sessionId) ?? 1) - 1;
    if (left === 0) this.#taken.delete(sessionId);
    else this.#taken.set(sessionId, left);
    this.#total -= 1;
  }
}
