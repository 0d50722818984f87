import type { Problem } from "../policy/bundle.ts";
import type { readYaml } from "../policy/yaml.ts";

/** Says what is wrong with the value at a path of a file, and what to do. */
export type Tell = (path: readonly PropertyKey[], message: string, fix: string) => void;

type PlaceOf = Extract<ReturnType<typeof readYaml>, { placeOf: unknown }>["placeOf"];

/** Collects what is told, each with its place in the file. */
export function collector(file: string, placeOf: PlaceOf): { readonly tell: Tell; readonly problems: Problem[] } {
  const problems: Problem[] = [];
  const tell: Tell = (path, message, fix) => problems.push({ file, ...placeOf(path), message, fix });
  return { tell, problems };
}

/** For a fix: `a`, `b` and `c`. */
export function listed(names: readonly string[]): string {
  const quoted = names.map((it) => `\`${it}\``);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} and ${quoted.at(-1)}`;
}
