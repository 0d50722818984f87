import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import semver from "semver";
import { type ErrorCode, GatewayError } from "../../errors.ts";
import { type Lock, tryLock } from "../../lib/lock.ts";
import { printable } from "../../lib/text.ts";
import type { LayerName } from "../layer.ts";
import type { BundleFiles } from "../read-files.ts";
import type { NetworkPorts } from "./https.ts";
import type { PublicKey } from "./keys.ts";
import { type BundleLabel, contentDigest, labelOf, type VerifiedBundle, verifyFiles } from "./manifest.ts";
import { openSource, type ReadSource } from "./reader.ts";
import { lastFrom, type Receipt, readReceipts, requireNoRollback, sourceHash, writeReceipt } from "./receipts.ts";
import { type BundleSource, sourceText } from "./source.ts";
import { inState, putBundle, storedBundle, sweepStore } from "./store.ts";

const UNREACHABLE: ReadonlySet<ErrorCode> = new Set(["POLICY_FETCH_FAILED", "POLICY_UNREADABLE"]);
const LOCK_POLL_MS = 20;
const LOCK_PATIENCE_MS = 10_000;

/** What a source's bundle has to be. */
export interface BundleTrust {
  /** Any one of them is enough; without any, a folder of this computer is taken as it is, and nothing else is. */
  readonly keys: readonly PublicKey[];
  readonly layer: LayerName;
  /** A key may sign several bundles: the one that is meant. */
  readonly name?: string;
  readonly minimumVersion?: string;
}

export interface FetchPorts extends NetworkPorts {
  /** Bundles and receipts are in `policy/` of it. */
  readonly dataDirectory: string;
  readonly signal: AbortSignal;
}

export interface FetchedBundle extends Partial<BundleLabel> {
  /** Where the files are: for people. What decides is `files`. */
  readonly directory: string;
  /** What was verified, or seen to be whole: to be loaded as it is. */
  readonly files: BundleFiles;
  readonly digest: string;
  /** Ids of the trusted keys that signed it; absent for a folder that is taken as it is. */
  readonly signedBy?: readonly string[];
  /** Why it is not what the source has now, but what was accepted from it last. */
  readonly stale?: string;
  /**
   * To be called when it is valid and comes into force: from then on nothing older is taken.
   * @throws GatewayError POLICY_ROLLBACK when another process has accepted a newer one meanwhile, STATE_UNWRITABLE
   */
  accept(): Promise<void>;
}

/**
 * Brings a layer's bundle from its source. When the source can't be reached, what was accepted from it last serves, if it still
 * verifies.
 * @throws GatewayError POLICY_UNSIGNED, POLICY_SIGNATURE, POLICY_ROLLBACK, POLICY_FETCH_FAILED, POLICY_UNREADABLE, POLICY_INVALID,
 *   STATE_UNWRITABLE; the signal's reason when aborted
 */
export async function fetchBundle(source: BundleSource, trust: BundleTrust, ports: FetchPorts): Promise<FetchedBundle> {
  const places = placesIn(ports.dataDirectory);
  try {
    return await takeBundle(source, trust, ports, openSource(source, { ...ports, scratchDirectory: places.bundles }));
  } catch (error) {
    ports.signal.throwIfAborted();
    if (!(error instanceof GatewayError) || !UNREACHABLE.has(error.code)) throw error;
    const last = await lastAccepted(source, trust, places).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `${error.message}; and what was accepted before can't serve: ${why}`;
      throw new GatewayError(error.code, message, { cause });
    });
    if (!last) throw error;
    return { ...last, stale: error.message };
  }
}

/** The same by way of a reader that remembers, and never from what was accepted before. */
export async function takeBundle(
  source: BundleSource,
  trust: BundleTrust,
  ports: FetchPorts,
  read: ReadSource,
): Promise<FetchedBundle> {
  if (trust.keys.length === 0) {
    if ("directory" in source) return takeUnsigned(source.directory, trust, await read(ports.signal));
    // Whoever can change what is on its way could change the rules.
    const message = `\`${sourceText(source)}\` is not a folder of this computer, so its bundle has to be signed: name the \`keys\``;
    throw new GatewayError("POLICY_UNSIGNED", message);
  }
  const places = placesIn(ports.dataDirectory);
  const bundle = verifyFiles(await read(ports.signal), trust.keys);
  requireMeant(bundle, trust);
  return await inState(async () => {
    requireAllowed(await readReceipts(places.receipts), source, trust, bundle);
    const stored = await putBundle(places.bundles, bundle.files);
    return {
      ...bundle,
      directory: join(places.bundles, stored),
      accept: () => inState(() => acceptBundle(source, trust, bundle, { places, stored, signal: ports.signal })),
    };
  });
}

/** Where the store is in a data directory. */
export function placesIn(dataDirectory: string) {
  const policy = join(dataDirectory, "policy");
  return {
    policy,
    bundles: join(policy, "bundles"),
    receipts: join(policy, "receipts"),
  };
}

type Places = ReturnType<typeof placesIn>;

function takeUnsigned(directory: string, trust: BundleTrust, files: BundleFiles): FetchedBundle {
  const label = labelOf(files);
  if (label) requireMeant(label, trust);
  // Otherwise it is for the loader to tell what is wrong with the label, and where.
  else if (trust.name !== undefined || trust.minimumVersion !== undefined) {
    const message = `\`${directory}\`: bundle.yaml has no name, or no version as semver.org has it`;
    throw new GatewayError("POLICY_INVALID", message);
  }
  return { ...label, directory, files, digest: contentDigest(files), accept: async () => undefined };
}

/** What is left out may be anything. */
type Meant = { readonly [key in "layer" | "name" | "minimumVersion"]?: BundleTrust[key] | undefined };

/** @throws GatewayError POLICY_SIGNATURE for a bundle that was made for another place, POLICY_ROLLBACK */
export function requireMeant({ name, version, layer }: BundleLabel, trust: Meant): void {
  if (trust.name !== undefined && name !== trust.name) {
    throw new GatewayError("POLICY_SIGNATURE", `the bundle is \`${name}\`, and \`${printable(trust.name)}\` is wanted`);
  }
  if (layer !== undefined && trust.layer !== undefined && layer !== trust.layer) {
    const message = `the bundle \`${name}\` was made for the ${layer} layer, and this is the ${trust.layer} layer`;
    throw new GatewayError("POLICY_SIGNATURE", message);
  }
  const { minimumVersion } = trust;
  if (minimumVersion !== undefined && semver.lt(version, minimumVersion)) {
    const message = `\`${name}\` ${version} is older than ${minimumVersion}, which is the least that is wanted`;
    throw new GatewayError("POLICY_ROLLBACK", message);
  }
}

function requireAllowed(
  receipts: readonly Receipt[],
  source: BundleSource,
  trust: BundleTrust,
  bundle: VerifiedBundle,
): void {
  requireNoRollback(receipts, { ...bundle, layer: trust.layer });
  const before = lastFrom(receipts, trust.layer, source);
  if (!before || before.name === bundle.name || trust.name !== undefined) return;
  // The same key may well have signed laxer rules for others.
  const message = `the source gave \`${before.name}\` before, and gives \`${bundle.name}\` now: if that is meant, say \`bundle: ${bundle.name}\` beside the source`;
  throw new GatewayError("POLICY_ROLLBACK", message);
}

interface Accepting {
  readonly places: Places;
  readonly stored: string;
  readonly signal: AbortSignal;
}

async function acceptBundle(
  source: BundleSource,
  trust: BundleTrust,
  bundle: VerifiedBundle,
  { places, stored, signal }: Accepting,
): Promise<void> {
  // Between another process's look and its writing nothing may be accepted: the older of two could come last.
  using _lock = await lockPlaces(places, signal);
  const receipts = await readReceipts(places.receipts);
  requireAllowed(receipts, source, trust, bundle);
  const { name, version, digest } = bundle;
  const { layer } = trust;
  const receipt = { format: 1 as const, layer, name, version, digest, stored, source: sourceHash(source) };
  await writeReceipt(places.receipts, { ...receipt, acceptedMs: Date.now() });
  await sweepStore(places.bundles, new Set([stored, ...receipts.filter(isOther).map((it) => it.stored)]));

  function isOther(it: Receipt): boolean {
    return it.layer !== layer || it.name !== name;
  }
}

/** It was accepted by keys that may not be trusted any more, and lay about since: it is looked at as if it had just come. */
async function lastAccepted(
  source: BundleSource,
  trust: BundleTrust,
  places: Places,
): Promise<FetchedBundle | undefined> {
  if (trust.keys.length === 0) return undefined;
  return await inState(async () => {
    const receipts = await readReceipts(places.receipts);
    const last = lastFrom(receipts, trust.layer, source);
    const files = last && (await storedBundle(places.bundles, last.stored));
    if (!files) return undefined;
    const bundle = verifyFiles(files, trust.keys);
    requireMeant(bundle, trust);
    requireNoRollback(receipts, { ...bundle, layer: trust.layer });
    return { ...bundle, directory: join(places.bundles, last.stored), accept: async () => undefined };
  });
}

async function lockPlaces({ policy }: Places, signal: AbortSignal): Promise<Lock> {
  await mkdir(policy, { recursive: true, mode: 0o700 });
  for (let waitedMs = 0; waitedMs < LOCK_PATIENCE_MS; waitedMs += LOCK_POLL_MS) {
    const lock = tryLock(join(policy, "lock"));
    if (lock) return lock;
    await sleep(LOCK_POLL_MS, undefined, { signal });
  }
  throw new GatewayError("STATE_UNWRITABLE", `another process keeps \`${join(policy, "lock")}\` locked`);
}
