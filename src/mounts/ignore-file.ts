import { buffer } from "node:stream/consumers";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import type { Folder } from "./folder.ts";
import { type Patterns, parsePatterns } from "./pattern.ts";

const MAX_BYTES = 65_536;
const MAX_LINES = 2_000;

/** The patterns of a directory's `.gitignore`; those of the directories above come first. */
export interface IgnoreLevel {
  /** How many names from the mount's root the directory is. */
  readonly depth: number;
  readonly patterns: Patterns;
}

/** The levels with that of this directory, when it has one. A file too large to be read would be as if there were none: refused. */
export async function ignoreLevels(
  folder: Folder,
  names: readonly string[],
  above: readonly IgnoreLevel[],
): Promise<readonly IgnoreLevel[]> {
  const file = await folder.file(".gitignore").catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (!file || typeof file === "string") return above;
  const text = (await buffer(file.handle.createReadStream({ end: MAX_BYTES }))).toString("utf8");
  const lines = text.split("\n");
  if (Buffer.byteLength(text) > MAX_BYTES || lines.length > MAX_LINES) {
    throw new GatewayError("TRANSFER_TOO_LARGE", `a .gitignore has more than ${MAX_BYTES} bytes or ${MAX_LINES} lines`);
  }
  return [...above, { depth: names.length, patterns: parsePatterns(lines) }];
}

/** Whether git would ignore it; of its parents none is ignored. The nearest .gitignore that says something decides. */
export function isIgnored(levels: readonly IgnoreLevel[], names: readonly string[], isDirectory: boolean): boolean {
  for (const { depth, patterns } of levels.toReversed()) {
    const said = patterns.match(names.slice(depth), isDirectory);
    if (said) return said === "yes";
  }
  return false;
}
