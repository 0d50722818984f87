import { createTwoFilesPatch, FILE_HEADERS_ONLY } from "diff";
import { findAll } from "./find-text.ts";
import { oneLine } from "./render.ts";

export const MAX_DIFF_CHARS = 32_768;
/** Beyond so many lines, or changed lines, a diff costs too much and says too little. */
const MAX_DIFF_LINES = 100_000;
const MAX_DIFF_CHANGES = 2_000;

/** A unified diff of two texts of a file, at most `maxChars` long. */
export function diffOf(
  target: string,
  before: string,
  after: string,
  maxChars = MAX_DIFF_CHARS,
): { diff: string; diffTruncated: boolean } {
  const options = { context: 3, maxEditLength: MAX_DIFF_CHANGES, headerOptions: FILE_HEADERS_ONLY };
  const small =
    findAll(before, "\n", MAX_DIFF_LINES).length + findAll(after, "\n", MAX_DIFF_LINES).length < MAX_DIFF_LINES;
  const name = oneLine(target, 4_096);
  const patch = small ? createTwoFilesPatch(name, name, before, after, undefined, undefined, options) : undefined;
  if (patch === undefined) return { diff: "(the file or the change is too large for a diff)", diffTruncated: true };
  return { diff: patch.slice(0, maxChars).toWellFormed(), diffTruncated: patch.length > maxChars };
}
