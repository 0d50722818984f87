import type { Duplex } from "node:stream";
import { GatewayError } from "../../errors.ts";
import type { SecretSource } from "../../policy/secret.ts";
import type { Entry } from "../read.ts";

/** Records of one chain in the log's order, without gaps: what is new to a receiver, or a repetition. */
export interface Batch {
  readonly chain: string;
  readonly entries: readonly [Entry, ...Entry[]];
}

/**
 * Where records go besides the log: a driver for one kind of receiver. It keeps no queue and tries nothing again by itself; `ship/` calls it
 * for one batch after the other, in order, never for two at a time, and again with the same records until it succeeds, or with the first half of
 * them when it took too long.
 */
export interface Sink extends AsyncDisposable {
  /** To whom it delivers, for people: host and port, never a secret. */
  readonly target: string;
  /** A batch never has more records than this, nor more bytes of lines unless it is a single record. */
  readonly maxBatch: { readonly records: number; readonly bytes: number };
  /** How long a delivery may take, with its connection and all, before the signal aborts; left out: 60 s. */
  readonly deliveryMs?: number;
  /**
   * Resolves when the receiver has said that it keeps all records of the batch. When it rejects, any part may have arrived: the id of a record,
   * `<chain>/<seq>`, and its hash travel with it so that a receiver can tell what it has already.
   * @throws DeliveryFailed when the receiver could not be reached, refused, or did not confirm; the signal's reason when it is aborted
   */
  deliver(batch: Batch, signal: AbortSignal): Promise<void>;
}

/** A batch that was not confirmed. The message may be printed: it holds no secret, and of what a receiver said only what can be shown. */
export class DeliveryFailed extends GatewayError {
  /** How long the receiver asked to be left alone. */
  readonly retryAfterMs: number | undefined;
  /** Its time was over; fewer records may take less. */
  readonly isLate: boolean;

  constructor(
    message: string,
    {
      retryAfterMs,
      isLate = false,
      cause,
    }: { readonly retryAfterMs?: number; readonly isLate?: boolean; readonly cause?: unknown } = {},
  ) {
    super("SINK_FAILED", message, { cause });
    this.retryAfterMs = retryAfterMs;
    this.isLate = isLate;
  }
}

/** What a driver is given by the gateway. */
export interface SinkPorts {
  /** The certificates that TLS connections trust: the system's and the configured ones, in PEM. */
  readonly authorities: () => Promise<readonly string[]>;
  /** The value of a secret that settings refer to: read when it is needed, and again as it ages. */
  readonly secret: (name: string, source: SecretSource) => (signal: AbortSignal) => Promise<string>;
  /** The text without the values of secrets that were read: for what a receiver has said, before it is cut. */
  readonly hide: (text: string) => string;
  /** A connection to a host where the network's own proxy is the only way out; without it, drivers connect themselves. */
  readonly through?: (host: string, port: number, signal: AbortSignal) => Promise<Duplex>;
  /** Glovebox's own version. */
  readonly version: string;
}
