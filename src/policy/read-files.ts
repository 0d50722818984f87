import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../lib/error.ts";
import type { Problem } from "./bundle.ts";

export const MAX_FILE_BYTES = 1_048_576;
export const MAX_FILES = 256;

/** For people; no part of what is decided or signed. */
export const README = "README.md";
/** Who vouches for the other files. */
export const SIGNATURE = "bundle.dsse.json";

const NAME = /^([A-Za-z0-9][A-Za-z0-9._-]{0,127}\.cedar|(bundle|profile|tests)\.yaml|README\.md|bundle\.dsse\.json)$/;

/** Names and contents, sorted by name. */
export type BundleFiles = ReadonlyMap<string, Buffer>;

export interface ReadFolder {
  readonly files: BundleFiles;
  readonly problems: readonly Problem[];
  /** When something in the folder changed last, by the file system's own clock, which nobody can set back. */
  readonly changedMs: number;
}

/** Looks at each file as it is open to be read. Throws what is wrong with it. */
export type Examine = (path: string, stats: Stats) => void;

export function isBundleFile(name: string): boolean {
  return NAME.test(name);
}

/** By name. */
export function sorted(files: BundleFiles): BundleFiles {
  return new Map([...files].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Anything that is not plainly a part of a bundle is a problem: a misspelt name must not be ignored. Throws what the system says. */
export async function readBundleFiles(directory: string, examine?: Examine): Promise<ReadFolder> {
  const files = new Map<string, Buffer>();
  const problems: Problem[] = [];
  const names = (await readdir(directory)).sort();
  if (names.length > MAX_FILES) problems.push({ file: "(bundle)", message: `has more than ${MAX_FILES} files` });
  let changedMs = 0;
  for (const name of names.slice(0, MAX_FILES)) {
    const read = await readOne(directory, name, examine);
    if ("message" in read) {
      problems.push({ file: name, ...read });
      continue;
    }
    files.set(name, read.content);
    changedMs = Math.max(changedMs, read.changedMs);
  }
  const { mode, ctimeMs } = await stat(directory);
  if ((mode & constants.S_IWOTH) !== 0) {
    problems.push({ file: ".", message: "anybody may write the folder", fix: `chmod o-w ${directory}` });
  }
  return { files, problems, changedMs: Math.max(changedMs, ctimeMs) };
}

/** SHA-256 over names, sizes and contents in the order of names. */
export function digestOf(files: ReadonlyMap<string, string | Buffer>): string {
  const hash = createHash("sha256");
  for (const [name, text] of files) hash.update(`${name}\0${Buffer.byteLength(text)}\0`).update(text);
  return `sha256:${hash.digest("hex")}`;
}

interface ReadFile {
  readonly content: Buffer;
  readonly changedMs: number;
}

/** What is examined is what is read: the file is opened once, and no link is followed. */
async function readOne(
  directory: string,
  name: string,
  examine: Examine | undefined,
): Promise<ReadFile | Omit<Problem, "file">> {
  if (!isBundleFile(name)) {
    const known = "bundle.yaml, profile.yaml, tests.yaml, README.md, bundle.dsse.json and *.cedar";
    return { message: "does not belong into a bundle", fix: `a bundle holds ${known}; check the spelling` };
  }
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    await using file = await open(join(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stats = await file.stat();
    examine?.(join(directory, name), stats);
    const problem = unfit(name, stats);
    if (problem) return problem;
    return { content: await file.readFile(), changedMs: stats.ctimeMs };
  } catch (error) {
    if (codeOf(error) === "ELOOP") return NOT_A_FILE;
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
