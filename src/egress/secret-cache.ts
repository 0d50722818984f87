import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import type { Secret } from "../policy/secret.ts";
import { readSecret } from "./secret-source.ts";

/** After a read that failed, how long the source is left alone, in ms: an agent must not be able to hammer a vault. */
const PAUSE_MS = 5_000;
/** A value this young, in ms, is not read again for a server that refuses it. */
const REREAD_MS = 10_000;

/** The values of a profile's secrets, read when they are first needed and again as they age. */
export interface Secrets {
  /** The value. @throws GatewayError SECRET_UNAVAILABLE, or the signal's reason */
  value(name: string, signal: AbortSignal): Promise<string>;
  /** The value, read again unless that was done a moment ago: for a bound host that answers 401. @throws as `value` */
  refresh(name: string, signal: AbortSignal): Promise<string>;
  /** What a response may hold: each secret's value, and the one before it. */
  values(): readonly string[];
}

export interface SecretsOptions {
  /** Ends what is being read. */
  readonly signal: AbortSignal;
  /** Is told of every read that failed, also where an older value serves on. */
  readonly onFailure: (error: unknown) => void;
  /** Is told of every value that was read, before anybody has it. */
  readonly onValue?: (name: string, value: string) => void;
  readonly read?: typeof readSecret;
  /** A monotonic clock, in ms. */
  readonly nowMs?: () => number;
}

/**
 * Each secret is read by one at a time, whoever waits for it. When a read fails, the value from before serves until it is twice
 * `refreshMs` old, so that a vault may restart; then requests that need the secret are refused.
 */
export function createSecrets(secrets: readonly Secret[], options: SecretsOptions): Secrets {
  const kept = new Map(secrets.map((secret) => [secret.name, keep(secret, options)]));
  const find = (name: string) => {
    const secret = kept.get(name);
    if (!secret) throw new GatewayError("INTERNAL", undefined, { cause: `no secret ${name}` });
    return secret;
  };
  return {
    value: async (name, signal) => await find(name).value(signal),
    refresh: async (name, signal) => await find(name).refresh(signal),
    values: () => [...new Set([...kept.values()].flatMap((it) => it.values()))],
  };
}

function keep(secret: Secret, options: SecretsOptions) {
  const { read = readSecret, nowMs = () => performance.now(), onFailure } = options;
  const { refreshMs } = secret;
  let held: { readonly value: string; readonly readAtMs: number } | undefined;
  let before: string | undefined;
  let failure: { readonly error: unknown; readonly atMs: number } | undefined;
  let reading: Promise<void> | undefined;

  const attempt = async () => {
    try {
      const value = await read(secret, options.signal);
      options.onValue?.(secret.name, value);
      if (held && held.value !== value) before = held.value;
      held = { value, readAtMs: nowMs() };
      failure = undefined;
    } catch (error) {
      failure = { error, atMs: nowMs() };
      onFailure(error);
    }
  };
  const isYounger = (ageMs: number) => held !== undefined && nowMs() - held.readAtMs < ageMs;
  const isPausing = () => failure !== undefined && nowMs() - failure.atMs < PAUSE_MS;

  const valueAt = async (maxAgeMs: number, signal: AbortSignal): Promise<string> => {
    signal.throwIfAborted();
    if (!isYounger(maxAgeMs) && !isPausing()) {
      reading ??= attempt().finally(() => {
        reading = undefined;
      });
      await abortable(reading, signal);
    }
    if (held && (!failure || isYounger(2 * refreshMs))) return held.value;
    throw failure?.error;
  };
  return {
    value: (signal: AbortSignal) => valueAt(refreshMs, signal),
    refresh: (signal: AbortSignal) => valueAt(Math.min(refreshMs, REREAD_MS), signal),
    values: () => [held?.value, before].filter((it) => it !== undefined),
  };
}
