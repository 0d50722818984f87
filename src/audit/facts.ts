import type { Json } from "./record.ts";

export type Facts = Readonly<Record<string, Json>>;

/** Facts by name. What is no object, as none is that a gateway writes, stands under `facts`. */
export function factsIn(value: Json | undefined): Facts {
  if (value === undefined || value === null) return {};
  return typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : { facts: value };
}

/** A text that says something. */
export function textIn(facts: Facts, name: string): string | undefined {
  const value = facts[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function textsIn(facts: Facts, name: string): string[] {
  const value = facts[name];
  return Array.isArray(value) ? value.filter((it) => typeof it === "string") : [];
}

/** A whole number, as counts, ports and exit codes are. */
export function numberIn(facts: Facts, name: string): number | undefined {
  const value = facts[name];
  return typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
}

/** A number of a port that there can be. */
export function portIn(facts: Facts, name: string): number | undefined {
  const port = numberIn(facts, name);
  return port !== undefined && port >= 0 && port <= 65_535 ? port : undefined;
}

/** Without the members that are not there. */
export function present(members: { readonly [name: string]: Json | undefined }): { [name: string]: Json } {
  return Object.fromEntries(Object.entries(members).filter((entry): entry is [string, Json] => entry[1] !== undefined));
}
