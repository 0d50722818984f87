import { realpath } from "node:fs/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { utf8 } from "../lib/text.ts";
import { assembleBundle, type CheckedBundle, type Groups, type Language, type LoadedBundle } from "./assemble.ts";
import { type Problem, problemText } from "./bundle.ts";
import { egressSchema } from "./egress.ts";
import { type BundleFiles, README, readBundleFiles, SIGNATURE } from "./read-files.ts";
import type { Secret } from "./secret.ts";
import { readYaml } from "./yaml.ts";

/** No part of what is decided. */
const IGNORED: ReadonlySet<string> = new Set([README, SIGNATURE]);

export interface LoadPorts extends Language {
  /** The lines of a named group of hosts; without it there are none. */
  readonly findGroup?: (name: string) => Promise<readonly string[] | undefined>;
  /** Why a secret can't be had on this computer. Without it nobody asks: a bundle is also checked where its secrets are not. */
  readonly secretProblem?: (secret: Secret) => Promise<string | undefined>;
}

/**
 * Reads, validates and tests a bundle: all of it is right, or none of it is used.
 * @throws GatewayError POLICY_UNREADABLE, POLICY_INVALID naming every problem with file and line
 */
export async function loadBundle(directory: string, ports: LoadPorts): Promise<LoadedBundle> {
  return required(await checkBundle(directory, ports), directory);
}

/**
 * The same of files that were read before: what was verified, or seen to be whole, is what decides.
 * @param origin where they are from, for people
 * @throws GatewayError POLICY_INVALID
 */
export async function loadBundleFiles(files: BundleFiles, origin: string, ports: LoadPorts): Promise<LoadedBundle> {
  return required(await checkBundleFiles(files, ports), origin);
}

function required(checked: CheckedBundle, origin: string): LoadedBundle {
  if (checked.valid) return checked.bundle;
  const lines = checked.problems.map((it) => `  ${problemText(it)}`).join("\n");
  throw new GatewayError("POLICY_INVALID", `the bundle \`${origin}\` is not valid:\n${lines}`);
}

/**
 * The same, with the problems as values.
 * @throws GatewayError POLICY_UNREADABLE
 */
export async function checkBundle(directory: string, ports: LoadPorts): Promise<CheckedBundle> {
  try {
    const { files, problems } = await readBundleFiles(await realpath(directory));
    if (problems.length === 0) return await checkBundleFiles(files, ports);
    const all = [...problems];
    decode(files, all);
    return { valid: false, problems: all, tests: [] };
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    const message = `cannot read the bundle \`${directory}\`: ${error.message}`;
    throw new GatewayError("POLICY_UNREADABLE", message, { cause: error });
  }
}

async function checkBundleFiles(
  bytes: BundleFiles,
  { findGroup, secretProblem, ...language }: LoadPorts,
): Promise<CheckedBundle> {
  const problems: Problem[] = [];
  const files = decode(bytes, problems);
  if (problems.length > 0) return { valid: false, problems, tests: [] };
  const profile = files.get("profile.yaml") ?? "";
  const checked = assembleBundle(files, await groupsIn(profile, findGroup), language);
  if (!checked.valid || !secretProblem) return checked;
  const missing = await missingSecrets(profile, checked.bundle.profile.secrets, secretProblem);
  return missing.length === 0 ? checked : { valid: false, problems: missing, tests: checked.bundle.tests };
}

async function missingSecrets(
  profile: string,
  secrets: readonly Secret[],
  secretProblem: NonNullable<LoadPorts["secretProblem"]>,
): Promise<Problem[]> {
  const read = readYaml("profile.yaml", profile, z.unknown());
  const found = await Promise.all(secrets.map(secretProblem));
  return found.flatMap((message, index) => {
    if (message === undefined) return [];
    const place = "placeOf" in read ? read.placeOf(["secrets", index, "source"]) : {};
    return [{ file: "profile.yaml", ...place, message, fix: "make it readable for the gateway, or remove it" }];
  });
}

/** The groups that a profile names. Whether it names them well is for its schema to say. */
async function groupsIn(profile: string, findGroup: LoadPorts["findGroup"]): Promise<Groups> {
  const read = readYaml("profile.yaml", profile, groupNames);
  const names = "value" in read ? (read.value?.egress?.groups ?? []) : [];
  const found = names.map(async (name) => [name, await findGroup?.(name)] as const);
  return new Map((await Promise.all(found)).flatMap(([name, lines]) => (lines ? [[name, lines]] : [])));
}

const groupNames = z
  .looseObject({ egress: z.looseObject({ groups: egressSchema.shape.groups }).optional() })
  .optional();

/** What is decided by: names and texts, sorted by name. */
function decode(files: BundleFiles, problems: Problem[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const [name, content] of files) {
    const text = utf8(content);
    if (text === undefined) problems.push({ file: name, message: "is not valid UTF-8", fix: "save it as UTF-8" });
    else if (!IGNORED.has(name)) texts.set(name, text);
  }
  return texts;
}
