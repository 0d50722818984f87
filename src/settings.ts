import { lstat } from "node:fs/promises";
import { join } from "node:path";
import type { SinkSettings } from "./audit/sinks/settings.ts";
import { GatewayError } from "./errors.ts";
import { isMissing } from "./lib/error.ts";
import { printable } from "./lib/text.ts";
import { type Problem, problemText } from "./policy/bundle.ts";
import type { LayerName } from "./policy/layer.ts";
import { checkOwnedFolder, readOwnedFile } from "./policy/owned-by-root.ts";
import { type LayerSource, sourceAt } from "./policy/policy-source.ts";
import { readYaml } from "./policy/yaml.ts";
import {
  type LayerSettings,
  type SystemFile,
  systemFileSchema,
  type UserFile,
  userFileSchema,
} from "./settings-schema.ts";
import { readUserFile, type UserFilePlace } from "./settings-user.ts";

export const SETTINGS_FILE = "glovebox.yaml";

/** Where an administrator says what holds on this computer. No environment, option or user's file can name another place. */
export const SYSTEM_DIRECTORY =
  process.platform === "darwin" ? "/Library/Application Support/Glovebox" : "/etc/glovebox";

/** What `glovebox.yaml` says, the system's and the user's. */
export interface Settings {
  /** The name of who has enrolled this computer. */
  readonly organisation?: string;
  /** Outermost first; the user's is always among them. */
  readonly layers: readonly LayerSource[];
  /** As it is written, for the schema of approvals; `usersOwn` where it is the user who states it, and an organisation does not. */
  readonly approvals?: { readonly stated: unknown; readonly statedIn: string; readonly usersOwn?: true };
  /** Where the audit log goes besides: the system's, which nobody else can take away or replace, and the user's. */
  readonly sinks: readonly SinkSettings[];
  /** How often bundles from elsewhere are looked for anew, in s. */
  readonly pollSeconds?: number;
  /** What was said and does not hold. */
  readonly warnings: readonly string[];
}

export interface SettingsPlaces {
  /** `SYSTEM_DIRECTORY`, but for tests. */
  readonly systemDirectory: string;
  readonly user: UserFilePlace;
  /** The bundle that an option or a variable names as the user's: it wins over what the user's file says. */
  readonly policy?: { readonly directory: string; readonly statedIn: string };
  /** The user's bundle when nobody names one. */
  readonly defaultPolicy: string;
}

/**
 * Reads both files. An organisation is what the system's alone can name.
 * @throws GatewayError ORGANISATION_POLICY when the system's can't be believed, CONFIG_INVALID naming every problem with its place
 */
export async function loadSettings(places: SettingsPlaces): Promise<Settings> {
  const system = await readSystem(places.systemDirectory);
  const user = await readUser(places.user);
  const warnings = (["team", "approvals", "pollSeconds"] as const).flatMap((key) =>
    system?.value[key] === undefined || user?.value[key] === undefined
      ? []
      : [`\`${key}\` of ${user.file} does not hold: ${system.file} states it`],
  );
  const approvals = [system, user].find((it) => it?.value.approvals !== undefined);
  const pollSeconds = system?.value.pollSeconds ?? user?.value.pollSeconds;
  const { organisation } = system?.value ?? {};
  const usersOwn = organisation && approvals && approvals === user ? { usersOwn: true as const } : {};
  return {
    ...(organisation && { organisation: organisation.name }),
    layers: layersOf(system, user, places),
    ...(approvals && { approvals: { stated: approvals.value.approvals, statedIn: approvals.file, ...usersOwn } }),
    sinks: sinksOf(system, user),
    ...(pollSeconds !== undefined && { pollSeconds }),
    warnings,
  };
}

interface FileOf<T> {
  readonly file: string;
  readonly directory: string;
  readonly value: T;
}

/**
 * Without the folder nobody has enrolled this computer; with it, there is an answer in it or none at all.
 * @throws GatewayError ORGANISATION_POLICY, CONFIG_INVALID
 */
export async function readSystem(directory: string): Promise<FileOf<SystemFile> | undefined> {
  if (!(await exists(directory))) return undefined;
  await checkOwnedFolder(directory);
  const file = join(directory, SETTINGS_FILE);
  const text = await readOwnedFile(directory, SETTINGS_FILE);
  // What was emptied is no decision to leave the organisation.
  const read = readYaml(file, text, systemFileSchema.optional());
  if ("problems" in read) throw invalid(read.problems);
  if (read.value) return { file, directory, value: read.value };
  throw new GatewayError(
    "ORGANISATION_POLICY",
    `\`${printable(file)}\` says nothing: put it back, or remove the folder`,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    const message = `\`${printable(path)}\` cannot be looked at, so nobody knows whether this computer is enrolled`;
    throw new GatewayError("ORGANISATION_POLICY", message, { cause: error });
  }
}

async function readUser(place: UserFilePlace): Promise<FileOf<UserFile> | undefined> {
  const found = await readUserFile(place);
  if (!found) return undefined;
  const read = readYaml(found.file, found.text, userFileSchema.prefault({}));
  if ("problems" in read) throw invalid(read.problems);
  return { ...found, value: read.value };
}

function layersOf(
  system: FileOf<SystemFile> | undefined,
  user: FileOf<UserFile> | undefined,
  { policy, defaultPolicy, user: { home } }: SettingsPlaces,
): LayerSource[] {
  const layer = (name: LayerName, stated: LayerSettings, from: FileOf<unknown>): LayerSource => {
    const { policy: source, keys, bundle, minimumVersion } = stated;
    const meant = {
      ...(bundle !== undefined && { name: bundle }),
      ...(minimumVersion !== undefined && { minimumVersion }),
    };
    const trust = { ...(keys && { keys }), ...meant };
    const ownedByRoot = from === system;
    return { name, source: sourceAt(source, from.directory, home), trust, statedIn: from.file, ownedByRoot };
  };
  const layers: LayerSource[] = [];
  const { organisation, team } = system?.value ?? {};
  if (system && organisation) layers.push(layer("organisation", organisation, system));
  if (system && team) layers.push(layer("team", team, system));
  else if (user?.value.team) layers.push(layer("team", user.value.team, user));
  if (user?.value.project) layers.push(layer("project", user.value.project, user));
  if (!policy && user?.value.user) return [...layers, layer("user", user.value.user, user)];
  const { directory, statedIn } = policy ?? { directory: defaultPolicy, statedIn: "what Glovebox comes with" };
  return [...layers, { name: "user", source: { directory }, trust: {}, statedIn, ownedByRoot: false }];
}

/** @throws GatewayError CONFIG_INVALID when the user's has a name of the system's */
function sinksOf(system: FileOf<SystemFile> | undefined, user: FileOf<UserFile> | undefined): SinkSettings[] {
  const [stated = [], own = []] = [system?.value.logging?.sinks, user?.value.logging?.sinks];
  const taken = own.find(({ name }) => stated.some((it) => it.name === name));
  if (taken && system && user) {
    const message = `logging.sinks: \`${taken.name}\` is the name of a sink of ${system.file}, which can't be replaced`;
    throw invalid([{ file: user.file, message, fix: "give it another name" }]);
  }
  return [...stated, ...own];
}

function invalid(problems: readonly Problem[]): GatewayError {
  return new GatewayError("CONFIG_INVALID", problems.map((it) => printable(problemText(it))).join("\n"));
}
