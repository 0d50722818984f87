import type { Fact } from "../request.ts";
import { areSimple } from "./programs.ts";
import { readSimple } from "./simple.ts";
import { type Found, type FoundCommand, findCommands } from "./tree.ts";

/** Longer scripts are not looked into: a script that is decided by its commands is short. */
const MAX_SCRIPT_BYTES = 16_384;
/** Nor are longer ones that aren't simple: on `$${$${…` the parser's time grows with the square of the length, 50 ms here. */
const MAX_SEARCHED_BYTES = 4_096;
/** Cedar's time grows with its sets, and their texts; audit records keep them. */
const MAX_COMMANDS = 64;
const MAX_FACT_BYTES = 8_192;

/** The facts of the tool `shell` about its script. */
export type ScriptFacts = Record<"opaque" | "programs" | "subcommands" | "commands" | "commandCount", Fact>;

/**
 * What a script would run, as policy sees it. Unless `opaque`, bash runs none but `commands`, exactly as they are: all of them, or those that
 * `&&`, `||` and `exit` leave. When `opaque`, the sets hold what could be found, and nothing follows from what they lack.
 *
 * `env` is what the call adds to the environment: PATH, BASH_ENV, LD_PRELOAD or LC_ALL give a script another meaning, as does `PATH=x ls`
 * within it. Any variable counts, so that no list of them can lack one.
 *
 * Two readers must agree: one that knows little of bash (`simple.ts`) and one that knows all of it (`tree.ts`). Where one errs, or the two
 * differ, the script is opaque.
 */
export function scriptFacts(script: string, env: Readonly<Record<string, string>>): ScriptFacts {
  if (latest?.script !== script) latest = { script, facts: factsOfScript(script) };
  return Object.keys(env).length > 0 ? { ...latest.facts, opaque: true } : latest.facts;
}

/** Of the script that was read last: who looks for another call has the same script described a hundred times. */
let latest: { readonly script: string; readonly facts: ScriptFacts } | undefined;

function factsOfScript(script: string): ScriptFacts {
  const bytes = script.length > MAX_SCRIPT_BYTES ? Number.POSITIVE_INFINITY : Buffer.byteLength(script);
  const argvs = bytes <= MAX_SCRIPT_BYTES ? readSimple(script) : undefined;
  const found = argvs || bytes <= MAX_SEARCHED_BYTES ? findCommands(script) : undefined;
  return found ? factsOf(found.commands, !argvs || !isCertain(argvs, found)) : factsOf([], true);
}

/** Whether what the one reader read is all that the other found, and the programs do what their words say. */
function isCertain(argvs: readonly (readonly string[])[], { commands, plain }: Found): boolean {
  // INVARIANT: no commands is no permission. Whoever asks whether all commands are allowed would be told that they are.
  if (!plain || commands.length === 0 || !commands.every((it) => it.whole)) return false;
  return JSON.stringify(commands.map((it) => it.words)) === JSON.stringify(argvs) && areSimple(argvs);
}

function factsOf(found: readonly FoundCommand[], opaque: boolean): ScriptFacts {
  const { kept, all } = withinBounds(found);
  const named = kept.filter(({ words }) => words.length > 0);
  return {
    opaque: opaque || !all,
    programs: distinct(named.map(({ words }) => words[0] ?? "")),
    subcommands: distinct(named.filter((it) => it.whole || it.words.length > 1).map((it) => wordsFact(it.words, 2))),
    commands: distinct(named.filter((it) => it.whole).map((it) => wordsFact(it.words))),
    commandCount: found.length,
  };
}

function withinBounds(found: readonly FoundCommand[]): { readonly kept: FoundCommand[]; readonly all: boolean } {
  let bytes = 0;
  const kept = found.slice(0, MAX_COMMANDS).filter(({ words }) => {
    bytes += Buffer.byteLength(JSON.stringify(words));
    return bytes <= MAX_FACT_BYTES;
  });
  return { kept, all: kept.length === found.length };
}

/** JSON of a command's first words, like `argvPrefixes` of `exec`. */
function wordsFact(words: readonly string[], count?: number): string {
  return JSON.stringify(words.slice(0, count));
}

/** Whether some script has this among its `subcommands` or `commands`. */
export function isWordsFact(fact: "subcommands" | "commands", text: string): boolean {
  try {
    const words: unknown = JSON.parse(text);
    if (!Array.isArray(words) || words.length === 0 || !words.every((it) => typeof it === "string")) return false;
    return wordsFact(words, fact === "subcommands" ? 2 : undefined) === text;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** `$'\\ud800'` is no character, and neither Cedar nor the audit log takes it for one. */
function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts.map((it) => it.toWellFormed()))];
}
