import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../config.ts";
import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";

/** What holds the lists that were read, so that each is read once. */
export type PopularLists = Map<EcosystemName, Promise<readonly string[]>>;

/** An ecosystem's names that are often meant, and so often imitated: `policies/popular/<ecosystem>.txt`, `#` to the end of a line is a comment. */
export function popularNames(ecosystem: EcosystemName, lists: PopularLists): Promise<readonly string[]> {
  const known = lists.get(ecosystem);
  if (known) return known;
  const reading = readNames(ecosystem);
  lists.set(ecosystem, reading);
  return reading;
}

async function readNames(ecosystem: EcosystemName): Promise<readonly string[]> {
  const text = await readFile(join(PACKAGE_ROOT, "policies", "popular", `${ecosystem}.txt`), "utf8");
  const names = text.split("\n").flatMap((it) => it.replace(/#.*/, "").split(/\s+/));
  return [...new Set(names.filter((it) => it !== ""))];
}
