import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../config.ts";
import { ECOSYSTEMS, type EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { similarTo } from "../policy/ecosystems/similar.ts";

/** Names that are remembered: a registry describes hundreds of versions of each. */
const MAX_REMEMBERED = 10_000;

export type SimilarTo = (ecosystem: EcosystemName, name: string) => readonly string[];

/** Popular names that are one edit away, by the lists that ship with the gateway. */
export async function readSimilar(): Promise<SimilarTo> {
  const read = ECOSYSTEMS.map(async (it) => [it, await popularNames(it)] as const);
  const lists = new Map(await Promise.all(read));
  const remembered = new Map<string, readonly string[]>();
  return (ecosystem, name) => {
    const key = `${ecosystem}:${name}`;
    const known = remembered.get(key) ?? similarTo(name, lists.get(ecosystem) ?? []);
    if (remembered.size < MAX_REMEMBERED) remembered.set(key, known);
    return known;
  };
}

/** An ecosystem's names that are often meant, and so often imitated: `policies/popular/<ecosystem>.txt`, `#` to the end of a line is a comment. */
export async function popularNames(ecosystem: EcosystemName): Promise<readonly string[]> {
  const text = await readFile(join(PACKAGE_ROOT, "policies", "popular", `${ecosystem}.txt`), "utf8");
  const names = text.split("\n").flatMap((it) => it.replace(/#.*/, "").split(/\s+/));
  return [...new Set(names.filter((it) => it !== ""))];
}
