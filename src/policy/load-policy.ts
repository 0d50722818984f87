import { readdir } from "node:fs/promises";
import semver from "semver";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { LoadedBundle } from "./assemble.ts";
import { policyOf } from "./decide.ts";
import type { FetchedBundle } from "./distribution/fetch.ts";
import { settledFolder } from "./distribution/reader.ts";
import { type BundleSource, sourceText } from "./distribution/source.ts";
import type { FetchLayer } from "./fetch-layer.ts";
import type { Policy, PolicyLayer } from "./layer.ts";
import { type LoadPorts, loadBundleFiles } from "./load.ts";
import { type MergedProfile, mergeProfiles } from "./merge-profile.ts";
import { checkOwned, checkOwnedFolder } from "./owned-by-root.ts";
import type { LayerSource } from "./policy-source.ts";

export interface PolicyPorts {
  readonly load: LoadPorts;
  readonly fetch: FetchLayer;
  readonly signal?: AbortSignal;
}

export interface LoadedLayer extends PolicyLayer {
  readonly bundle: LoadedBundle;
  /** Where its files are: no agent may write there. */
  readonly directory: string;
  readonly statedIn: string;
  readonly layer: LayerSource;
  /** Absent for a folder that is believed because it is root's. */
  readonly fetched?: FetchedBundle;
}

export interface LoadedPolicy {
  readonly policy: Policy;
  /** Outermost first, those in shadow mode too. */
  readonly sources: readonly LoadedLayer[];
  readonly merged: MergedProfile;
  /** For people: what was said and does not hold. */
  readonly warnings: readonly string[];
}

/**
 * Loads every layer and what they come to: all of them are right, or none is used.
 * @throws GatewayError ORGANISATION_POLICY, POLICY_UNREADABLE, POLICY_INVALID, and what `fetch` throws, naming the layer
 */
export async function loadPolicy(layers: readonly LayerSource[], ports: PolicyPorts): Promise<LoadedPolicy> {
  const sources = await Promise.all(layers.map((it) => loadLayer(it, ports)));
  const enforced = sources.filter(({ bundle }) => bundle.mode === "enforce");
  if (enforced.every(({ bundle }) => bundle.narrows)) {
    const named = enforced.map((it) => it.name).join(", ") || "none";
    const message = `every layer only narrows what others permit, and none permits anything (enforced: ${named})`;
    throw new GatewayError("POLICY_INVALID", `${message}: name a bundle without \`narrows\` for one of them`);
  }
  const merged = mergeProfiles(enforced.map(({ name, bundle }) => ({ name, stated: bundle.stated })));
  await checkSecrets(merged, ports.load.secretProblem);
  const shadows = sources.filter(({ name, bundle }) => name === "organisation" && bundle.mode === "shadow");
  const warnings = [
    ...sources.flatMap(({ name, fetched }) =>
      fetched?.stale === undefined ? [] : [`the layer ${name} is as it was accepted last: ${fetched.stale}`],
    ),
    ...shadows.map(() => "the organisation's policy is in shadow mode: it is recorded, and decides nothing"),
    ...merged.problems.map(({ layer, path, message }) => `${path} of the layer ${layer}: ${message}`),
  ];
  return { policy: policyOf(sources, merged.profile), sources, merged, warnings };
}

async function loadLayer(
  layer: LayerSource,
  { load, fetch, signal = new AbortController().signal }: PolicyPorts,
): Promise<LoadedLayer> {
  const { name, source, trust, statedIn, ownedByRoot } = layer;
  try {
    // Who has signed it is enough, wherever it is; without that, it is enough that nobody but root could have written it.
    const byPlace = ownedByRoot && trust.keys === undefined;
    const fetched = byPlace ? undefined : await fetch(layer);
    const directory = fetched?.directory ?? (await ownFolder(source));
    // Secrets are asked for when it is known which of them hold.
    const { secretProblem: _, ...ports } = load;
    const files = fetched?.files ?? (await settledFolder(directory, signal, checkOwned));
    const bundle = await loadBundleFiles(files, directory, ports);
    checkPlace(layer, bundle);
    return { name, bundle, origin: sourceText(source), directory, statedIn, layer, ...(fetched && { fetched }) };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    throw new GatewayError(error.code, `layer ${name} (${printable(statedIn)}): ${error.message}`, { cause: error });
  }
}

/** A folder in which nobody but root can change anything. */
async function ownFolder(source: BundleSource): Promise<string> {
  if (!("directory" in source)) {
    const message = `\`${printable(sourceText(source))}\` is fetched to where others may write, and no \`keys\` are named`;
    throw new GatewayError("ORGANISATION_POLICY", message);
  }
  const { directory } = source;
  await checkOwnedFolder(directory);
  const names = await readdir(directory).catch((error: unknown) => {
    const message = `\`${printable(directory)}\` cannot be read by the gateway's user; as root: chmod a+rx the folder`;
    throw new GatewayError("ORGANISATION_POLICY", message, { cause: error });
  });
  if (names.length === 0) {
    throw new GatewayError("ORGANISATION_POLICY", `\`${printable(directory)}\` is empty: put the bundle back`);
  }
  return directory;
}

/** @throws GatewayError POLICY_INVALID */
function checkPlace({ name, trust }: LayerSource, { identity, layer }: LoadedBundle): void {
  const refused = (why: string) => new GatewayError("POLICY_INVALID", `the bundle ${identity.name} ${why}`);
  if (layer !== undefined && layer !== name) throw refused(`is made for the layer ${layer} and not for ${name}`);
  if (trust.name !== undefined && identity.name !== trust.name)
    throw refused(`is not \`${trust.name}\`, which is wanted`);
  const { minimumVersion } = trust;
  if (minimumVersion !== undefined && semver.lt(identity.version, minimumVersion)) {
    throw refused(`has the version ${identity.version}, and must not be older than ${minimumVersion}`);
  }
}

/** @throws GatewayError POLICY_INVALID */
async function checkSecrets(
  { profile, origin }: MergedProfile,
  secretProblem: LoadPorts["secretProblem"],
): Promise<void> {
  const found = await Promise.all(
    profile.secrets.map(async (it) => ({ name: it.name, why: await secretProblem?.(it) })),
  );
  const missing = found.flatMap(({ name, why }) => (why === undefined ? [] : [`  ${name}: ${why}`]));
  if (missing.length === 0) return;
  const lines = missing.map((it) => printable(it)).join("\n");
  const layer = origin.get("secrets") ?? "user";
  throw new GatewayError("POLICY_INVALID", `secrets of the layer ${layer} can't be had here:\n${lines}`);
}
