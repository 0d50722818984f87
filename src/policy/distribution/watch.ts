import { watch } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { asGatewayError, type GatewayError } from "../../errors.ts";
import type { LayerName } from "../layer.ts";
import type { BundleFiles } from "../read-files.ts";
import { type BundleTrust, type FetchedBundle, type FetchPorts, placesIn, takeBundle } from "./fetch.ts";
import { openSource } from "./reader.ts";
import type { BundleSource } from "./source.ts";

const REMOTE_MS = 60_000;
const DIRECTORY_MS = 2_000;
/** A source that can't be reached is asked ever more rarely, but not more rarely than this. */
const MAX_BACKOFF_MS = 600_000;

export interface WatchedSource {
  readonly source: BundleSource;
  readonly trust: BundleTrust;
  /** Of what is in force, so that it isn't told as news. */
  readonly digest?: string;
}

export interface WatchPorts extends Omit<FetchPorts, "signal"> {
  /**
   * A source has something else now, and it may come into force once it has been loaded; `accept` is the listener's to call. Told once
   * for each: one that the listener refuses doesn't come again until the source changes.
   */
  readonly onChange: (layer: LayerName, bundle: FetchedBundle) => Promise<void>;
  /** A source can't be had, or what it has can't be taken: told when it begins, and when it is another thing. What is in force stays. */
  readonly onFailure: (layer: LayerName, error: GatewayError) => void;
  /** Between two looks at a source; by default two seconds for a folder, a minute for what is remote. */
  readonly everyMs?: number;
}

/** Looks at sources again and again, at each one thing at a time. No listener is told anything after its disposal has begun. */
export function startWatching(sources: readonly WatchedSource[], ports: WatchPorts): AsyncDisposable {
  const stopping = new AbortController();
  const watching = sources.map((it) => watchSource(it, ports, stopping.signal));
  return {
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await Promise.all(watching);
    },
  };
}

async function watchSource({ source, trust, digest }: WatchedSource, ports: WatchPorts, signal: AbortSignal) {
  const read = openSource(source, { ...ports, scratchDirectory: placesIn(ports.dataDirectory).bundles });
  const everyMs = ports.everyMs ?? ("directory" in source ? DIRECTORY_MS : REMOTE_MS);
  let offered = digest;
  let taken: BundleFiles | undefined;
  let told: string | undefined;
  let unreachable = 0;
  const look = async () => {
    const files = await read(signal);
    if (files === taken) return;
    const bundle = await takeBundle(source, trust, { ...ports, signal }, async () => files);
    taken = files;
    if (bundle.digest === offered) return;
    offered = bundle.digest;
    signal.throwIfAborted();
    await ports.onChange(trust.layer, bundle);
  };
  while (!signal.aborted) {
    await pause(source, Math.min(everyMs * 2 ** unreachable, Math.max(everyMs, MAX_BACKOFF_MS)), signal);
    try {
      await look();
      told = undefined;
      unreachable = 0;
    } catch (error) {
      if (signal.aborted) return;
      const failure = asGatewayError(error);
      unreachable = failure.code === "POLICY_FETCH_FAILED" && !("directory" in source) ? unreachable + 1 : 0;
      const what = `${failure.code} ${failure.message}`;
      if (what !== told) ports.onFailure(trust.layer, failure);
      told = what;
    }
  }
}

/** Until it is time, the system says that a folder has changed, or nobody wants to know any more. */
async function pause(source: BundleSource, ms: number, signal: AbortSignal): Promise<void> {
  using stack = new DisposableStack();
  const enough = new AbortController();
  stack.defer(() => enough.abort());
  const either = AbortSignal.any([signal, enough.signal]);
  const changed = "directory" in source ? folderChange(source.directory, either) : [];
  const waits = [sleep(ms, undefined, { signal: either, ref: false }), ...changed];
  // The first to end ends the others; how they end is of no interest.
  await Promise.race(waits.map((it) => it.catch(() => undefined)));
}

/** Only ever a hint: network file systems don't tell, and a folder that is replaced is another one. */
function folderChange(directory: string, signal: AbortSignal): Promise<unknown>[] {
  const { promise, resolve } = Promise.withResolvers<void>();
  try {
    const watcher = watch(directory, { persistent: false, signal });
    watcher.once("change", () => resolve());
    watcher.on("error", () => watcher.close());
    return [promise];
  } catch {
    return [];
  }
}
