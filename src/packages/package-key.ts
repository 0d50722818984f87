import type { Naming } from "../policy/ecosystems/ecosystem.ts";

/** By what a package's advisories are found; `name` has been read. Crates that differ in case or in `-` and `_` alone are one. */
export function packageKey(naming: Naming, name: string): string {
  return naming.sameName?.(name) ?? name;
}
