import { valid } from "semver";
import { z } from "zod";
import { utf8 } from "../lib/text.ts";
import type { Problem } from "../policy/bundle.ts";
import { readYaml } from "../policy/yaml.ts";
import { readTrustedFile } from "./trusted-file.ts";

/** Beside the skills' folders. */
export const LOCK_FILE = "skills.lock";
/** Some 900 skills; what signs it holds it as well, and is bounded too. */
export const MAX_LOCK_BYTES = 131_072;

/** What somebody looked at. */
export interface LockedSkill {
  readonly name: string;
  readonly version: string;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
}

/** In the order of names, no name twice. */
export type Lock = readonly LockedSkill[];

export interface ReadLock {
  readonly lock: Lock;
  /** As they are in the file: what is signed. */
  readonly bytes: Buffer;
}

/** `changed`: whoever reviewed it saw something else, or that can't be told. It must not be loaded. */
export type PinState = "pinned" | "unpinned" | "changed";

export interface Pinned<T extends LockedSkill> {
  readonly skill: T;
  readonly state: PinState;
  /** What the lock has under this name. */
  readonly locked?: LockedSkill;
}

export interface ComparedLock<T extends LockedSkill> {
  readonly skills: readonly Pinned<T>[];
  /** Locked, and not there. */
  readonly missing: readonly LockedSkill[];
}

const lockSchema = z.strictObject({
  format: z.literal(1, "must be 1"),
  skills: z
    .array(
      z.strictObject({
        name: z
          .string()
          .max(64)
          .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "must be a skill's name"),
        version: z.string().refine((it) => valid(it) === it, "must be a version such as 1.0.0"),
        digest: z.string().regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 hexadecimal digits"),
      }),
    )
    .superRefine((skills, context) => {
      for (const [index, { name }] of skills.entries()) {
        const before = skills[index - 1]?.name;
        if (before === undefined || before < name) continue;
        const message = before === name ? "is there twice" : `must stand before ${before}: the lock is sorted by name`;
        context.addIssue({ code: "custom", path: [index, "name"], message });
      }
    }),
});

const HEAD = "# Written by `glovebox skill lock`: what was reviewed, and nothing else, is loaded.\n";

/** What is to be locked of skills that have been read. */
export function lockOf(skills: readonly LockedSkill[]): Lock {
  return skills
    .map(({ name, version, digest }) => ({ name, version, digest }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The one text of a lock, a line a skill. Quoted, as a name such as `1e3` or `null` would be something else in YAML. */
export function lockText(lock: Lock): string {
  const lines = lock.map((it) => {
    const [name, version, digest] = [it.name, it.version, it.digest].map((text) => JSON.stringify(text));
    return `  - { name: ${name}, version: ${version}, digest: ${digest} }\n`;
  });
  return `${HEAD}format: 1\nskills:${lines.length === 0 ? " []\n" : `\n${lines.join("")}`}`;
}

/** The lock beside the skills of a directory; `undefined` when there is none. A lock that can't be believed locks nothing, and permits nothing. */
export async function readLock(
  directory: string,
): Promise<ReadLock | { readonly problems: readonly Problem[] } | undefined> {
  const read = await readTrustedFile(directory, LOCK_FILE, MAX_LOCK_BYTES);
  if (!read) return undefined;
  if ("problem" in read) return { problems: [read.problem] };
  const text = utf8(read.content);
  if (text === undefined) return { problems: [{ file: LOCK_FILE, message: "is not valid UTF-8" }] };
  const parsed = readYaml(LOCK_FILE, text, lockSchema);
  if ("problems" in parsed) return parsed;
  return { lock: parsed.value.skills, bytes: read.content };
}

/** How skills stand to the lock of their directory. */
export function compareLock<T extends LockedSkill>(lock: Lock, skills: readonly T[]): ComparedLock<T> {
  const known = new Map(lock.map((it) => [it.name, it]));
  const found = new Set(skills.map((it) => it.name));
  return {
    skills: skills.map((skill) => {
      const locked = known.get(skill.name);
      return { skill, state: pinStateOf(skill, locked), ...(locked && { locked }) };
    }),
    missing: lock.filter((it) => !found.has(it.name)),
  };
}

/** @param locked what the lock has under the skill's name */
export function pinStateOf(skill: LockedSkill, locked: LockedSkill | undefined): PinState {
  if (!locked) return "unpinned";
  // The version is a part of what the digest is over: a lock that has another was not made of this.
  return locked.digest === skill.digest && locked.version === skill.version ? "pinned" : "changed";
}
