import type { z } from "zod";
import { fieldOf, type Value } from "../parameters.ts";
import type { Parameter } from "../skill.ts";
import { isStopWord, stem, stemsOf, wordsOf } from "./stem.ts";

/** Words of time, which say nothing elsewhere. */
export const TIMES: ReadonlySet<string> = new Set(["since", "after", "until", "before"]);
const DIRECTORIES: ReadonlySet<string> = new Set(["dir", "directory", "folder", "cwd"].map(stem));

/** A parameter that words can fill, with its own words as stems. */
export interface Slot {
  readonly parameter: Parameter;
  readonly names: readonly string[];
  readonly described: ReadonlySet<string>;
  /** What it is said to be, by itself or by what must look alike. */
  readonly said: ReadonlySet<string>;
  readonly field: z.ZodType<Value>;
  /** Whether it is a place for files, which a file isn't. */
  readonly isDirectory: boolean;
}

export function slotsOf(parameters: readonly Parameter[]): readonly Slot[] {
  return parameters.map((parameter) => {
    const { name, description, type } = parameter;
    const names = stemsOf(name);
    const described = wordsOf(description).filter((it) => !isStopWord(it) || TIMES.has(it));
    return {
      parameter,
      names,
      described: new Set(described.map(stem)),
      said: new Set(
        [parameter, ...alike(parameter, parameters)].flatMap((it) => stemsOf(`${it.name} ${it.description}`)),
      ),
      field: fieldOf(type),
      isDirectory: type.kind === "path" && names.some((it) => DIRECTORIES.has(it)),
    };
  });
}

/** Those with the same pattern: `to` is a commit where `from` is one. */
function alike({ type }: Parameter, all: readonly Parameter[]): readonly Parameter[] {
  if (type.kind !== "string" || type.pattern === undefined) return [];
  return all.filter((it) => it.type.kind === "string" && it.type.pattern === type.pattern);
}
