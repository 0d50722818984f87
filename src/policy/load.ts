import { constants, type Stats } from "node:fs";
import { open, readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { assembleBundle, type CheckedBundle, type Groups, type LoadedBundle } from "./assemble.ts";
import { type Problem, problemText } from "./bundle.ts";
import { egressSchema } from "./egress.ts";
import type { Secret } from "./secret.ts";
import type { Describe } from "./tests.ts";
import { readYaml } from "./yaml.ts";

const MAX_FILE_BYTES = 1_048_576;
const MAX_FILES = 256;

/** For people; no part of what is decided. */
const IGNORED = "README.md";

export interface LoadPorts {
  readonly describe: Describe;
  /** The lines of a named group of hosts; without it there are none. */
  readonly findGroup?: (name: string) => Promise<readonly string[] | undefined>;
  /** Why a secret can't be had on this computer. Without it nobody asks: a bundle is also checked where its secrets are not. */
  readonly secretProblem?: (secret: Secret) => Promise<string | undefined>;
}

/**
 * Reads, validates and tests a bundle: all of it is right, or none of it is used. The only I/O of this folder.
 * @throws GatewayError POLICY_UNREADABLE, POLICY_INVALID naming every problem with file and line
 */
export async function loadBundle(directory: string, ports: LoadPorts): Promise<LoadedBundle> {
  const checked = await checkBundle(directory, ports);
  if (checked.valid) return checked.bundle;
  const lines = checked.problems.map((it) => `  ${problemText(it)}`).join("\n");
  throw new GatewayError("POLICY_INVALID", `the bundle \`${directory}\` is not valid:\n${lines}`);
}

/**
 * The same, with the problems as values.
 * @throws GatewayError POLICY_UNREADABLE
 */
export async function checkBundle(
  directory: string,
  { describe, findGroup, secretProblem }: LoadPorts,
): Promise<CheckedBundle> {
  try {
    const problems: Problem[] = [];
    const files = await readFiles(await realpath(directory), problems);
    if (problems.length > 0) return { valid: false, problems, tests: [] };
    const profile = files.get("profile.yaml") ?? "";
    const checked = assembleBundle(files, await groupsIn(profile, findGroup), describe);
    if (!checked.valid || !secretProblem) return checked;
    const missing = await missingSecrets(profile, checked.bundle.profile.secrets, secretProblem);
    return missing.length === 0 ? checked : { valid: false, problems: missing, tests: checked.bundle.tests };
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    const message = `cannot read the bundle \`${directory}\`: ${error.message}`;
    throw new GatewayError("POLICY_UNREADABLE", message, { cause: error });
  }
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

/** Names and texts, sorted by name. Anything that is not plainly a part of a bundle is a problem: a misspelt name must not be ignored. */
async function readFiles(directory: string, problems: Problem[]): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const names = (await readdir(directory)).sort();
  if (names.length > MAX_FILES) problems.push({ file: "(bundle)", message: `has more than ${MAX_FILES} files` });
  for (const name of names.slice(0, MAX_FILES)) {
    const read = await readOne(directory, name);
    if (typeof read !== "string") problems.push({ file: name, ...read });
    else if (name !== IGNORED) files.set(name, read);
  }
  if (((await stat(directory)).mode & constants.S_IWOTH) !== 0) {
    problems.push({ file: ".", message: "anybody may write the folder", fix: `chmod o-w ${directory}` });
  }
  return files;
}

/** The text, or what is wrong. What is examined is what is read: the file is opened once, and no link is followed. */
async function readOne(directory: string, name: string): Promise<string | Omit<Problem, "file">> {
  if (!/^([A-Za-z0-9][A-Za-z0-9._-]*\.cedar|(bundle|profile|tests)\.yaml|README\.md)$/.test(name)) {
    const known = "bundle.yaml, profile.yaml, tests.yaml, README.md and *.cedar";
    return { message: "does not belong into a bundle", fix: `a bundle holds ${known}; check the spelling` };
  }
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    await using file = await open(join(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const problem = unfit(name, await file.stat());
    if (problem) return problem;
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.readFile());
  } catch (error) {
    if (error instanceof TypeError) return { message: "is not valid UTF-8", fix: "save it as UTF-8" };
    if (error instanceof Error && "code" in error && error.code === "ELOOP") return NOT_A_FILE;
    throw error;
  }
}

const NOT_A_FILE = {
  message: "is not a regular file",
  fix: "put files, not links or folders, into a bundle",
};

function unfit(name: string, stats: Stats): { message: string; fix?: string } | undefined {
  if (!stats.isFile()) return NOT_A_FILE;
  if (stats.size > MAX_FILE_BYTES) return { message: `is larger than ${MAX_FILE_BYTES} bytes` };
  if ((stats.mode & constants.S_IWOTH) !== 0) return { message: "anybody may write it", fix: `chmod o-w ${name}` };
  return undefined;
}
