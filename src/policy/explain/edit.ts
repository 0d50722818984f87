import type { Constant } from "../constants.ts";
import type { PolicyRequest } from "../request.ts";

export type Arguments = Readonly<Record<string, unknown>>;

/** A would-be call. */
export interface Call {
  readonly tool: string;
  readonly args: Arguments;
}

/**
 * How much an edit takes from a call, least first: a number is brought within a limit; an option is left out; a program that has been named by
 * its path is named by its name; the call happens somewhere else; it becomes a call of another tool that does the same.
 */
export const COSTS = { limit: 0, option: 1, program: 2, place: 3, tool: 4 } as const;

/** Of a policy's numbers, the nearest that are tried. */
const MAX_LIMITS = 16;

/** One change of a call that leaves its meaning. */
export interface Edit {
  /** The argument that is changed. */
  readonly argument: string;
  /** Its new value; `undefined`: it is left out. */
  readonly value?: unknown;
  readonly cost: number;
  /** Another tool, whose argument `argument` is then. */
  readonly tool?: string;
  /** The argument that makes room, where the other tool has none of this name. */
  readonly instead?: string;
}

/** What edits are found with: the call, what policy sees of it, and what the policies about it compare that with. */
export interface Asked extends Call {
  readonly request: PolicyRequest;
  readonly constants: readonly Constant[];
}

/** The same call, edited. */
export function edited({ tool, args }: Call, edits: readonly Edit[]): Call {
  const changed: Record<string, unknown> = { ...args };
  let into = tool;
  for (const edit of edits) {
    if (edit.instead !== undefined) delete changed[edit.instead];
    if (edit.value === undefined) delete changed[edit.argument];
    else changed[edit.argument] = edit.value;
    into = edit.tool ?? into;
  }
  return { tool: into, args: changed };
}

/** Options that are given, each left out. */
export function leftOut(args: Arguments, names: readonly string[]): Edit[] {
  return names.filter((it) => args[it] !== undefined).map((argument) => ({ argument, cost: COSTS.option }));
}

/** Brings a number to the nearest that a policy lets through: its limit, or the number beside it where it says `<` or `>`. */
export function withinLimits(asked: Asked, argument: string): Edit[] {
  const given = asked.args[argument];
  if (typeof given !== "number") return [];
  const near = numbersOf(asked, argument).flatMap((it) => [it, it - 1, it + 1]);
  const byDistance = (a: number, b: number) => Math.abs(a - given) - Math.abs(b - given) || a - b;
  const values = [...new Set(near)].filter((it) => it !== given).sort(byDistance);
  return values.slice(0, MAX_LIMITS).map((value) => ({ argument, value, cost: COSTS.limit }));
}

export function stringsOf({ constants }: Asked, fact: string): string[] {
  return constants.flatMap((it) => (it.fact === fact && typeof it.value === "string" ? [it.value] : []));
}

function numbersOf({ constants }: Asked, fact: string): number[] {
  return constants.flatMap((it) => (it.fact === fact && typeof it.value === "number" ? [it.value] : []));
}
