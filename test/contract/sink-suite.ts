/** A record as a receiver knows it: by its id, `<chain>/<seq>`, and the hash that came with it. */
export interface ReceivedRecord {
  readonly id: string;
  readonly hash: string;
}

/**
 * A real receiver that a driver is tested against: a server of the test's own, or a system's daemon. It starts stopped-and-startable: `start`
 * has been called once when `makeReceiver` resolves.
 */
export interface Receiver extends AsyncDisposable {
  /** One sink as glovebox.yaml states it, with `name` and `type`: plain JSON, since another process gets it too. Secrets by `file` or `env`. */
  readonly settings: { readonly name: string; readonly type: string; readonly [key: string]: unknown };
  /** In PEM: what the driver trusts besides its own `ca`. */
  readonly authorities: readonly string[];
  /**
   * What it keeps, in the order in which it arrived, each record once: a repetition is suppressed by its id, as a receiver in earnest would.
   * A repetition with another hash throws.
   */
  received(): Promise<readonly ReceivedRecord[]>;
  /** Does not answer any more, and cuts the connections that are open. What it has confirmed is kept. */
  stop(): Promise<void>;
  /** Is at the same address again. */
  start(): Promise<void>;
  /** From now on an answer takes so long; 0: none of it. */
  slow(delayMs: number): void | Promise<void>;
  /** Left out where it can't be had: keeps the next batch, and drops the connection instead of saying so. */
  dropNext?(): void | Promise<void>;
}

export type MakeReceiver = () => Promise<Receiver>;
