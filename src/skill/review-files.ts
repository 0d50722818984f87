import type { SkillFile } from "./skill.ts";

/** What a reviewer must know of a file. */
export interface ReviewedFile {
  readonly path: string;
  readonly bytes: number;
  readonly executable: boolean;
  /** No text: nobody can read what it does. */
  readonly binary: boolean;
  /** Whether SKILL.md or capabilities.yaml name it, or a file that they name does. A hint: what no text names may be found all the same. */
  readonly referred: boolean;
}

/** Where a skill's use begins. */
const ROOTS = ["SKILL.md", "capabilities.yaml"];
/** Run by people, before; nothing in it is used. */
const TESTS = "tests.yaml";

export function reviewFiles(files: ReadonlyMap<string, SkillFile>): readonly ReviewedFile[] {
  const texts = textsOf(files);
  const reached = reachedFiles([...files.keys()], texts);
  return [...files].map(([path, { content, executable }]) => ({
    path,
    bytes: content.length,
    executable,
    binary: !texts.has(path),
    referred: path === TESTS || reached.has(path),
  }));
}

/** Those that are text: UTF-8 without NUL. A byte order mark is kept, as a reader does not see it. */
export function textsOf(files: ReadonlyMap<string, SkillFile>): ReadonlyMap<string, string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const texts = new Map<string, string>();
  for (const [path, { content }] of files) {
    try {
      if (!content.includes(0)) texts.set(path, decoder.decode(content));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }
  return texts;
}

function reachedFiles(paths: readonly string[], texts: ReadonlyMap<string, string>): ReadonlySet<string> {
  const reached = new Set(ROOTS);
  // What is added meanwhile is visited as well.
  for (const path of reached) {
    const text = texts.get(path) ?? "";
    for (const other of paths) if (!reached.has(other) && names(text, other)) reached.add(other);
  }
  return reached;
}

/** Whether a text names a file: by its path or its last part, or as what a program imports. */
function names(text: string, path: string): boolean {
  const last = path.split("/").at(-1) ?? path;
  const stem = /^(.+)\.(?:py|js|mjs|cjs|ts)$/.exec(last)?.[1];
  // A name without a dot may be a word of a sentence: it has to stand where paths do.
  const whole = last.includes(".") ? `(?<![\\w.-])${RegExp.escape(last)}` : `[/"'\`([]${RegExp.escape(last)}`;
  const imported = stem === undefined ? [] : [`(?:/|\\b(?:import|from)\\s+[\\w.]*)\\b${RegExp.escape(stem)}`];
  return [whole, ...imported].some((it) => new RegExp(`${it}(?![\\w-]|\\.\\w)`).test(text));
}
