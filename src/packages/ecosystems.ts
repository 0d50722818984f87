import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../policy/ecosystems/naming.ts";
import type { Packages } from "../policy/packages.ts";
import { createNpmRegistry } from "./npm.ts";
import { pipRegistry } from "./pip.ts";
import type { Registry } from "./registry.ts";

/** Every ecosystem's registry. Adding one is a file, and a line here. */
export function packageRegistries({
  installScripts,
}: Pick<Packages, "installScripts">): ReadonlyMap<EcosystemName, Registry> {
  return new Map<EcosystemName, Registry>([
    ["pip", pipRegistry],
    ["npm", createNpmRegistry(namingOf("npm"), { runsScripts: installScripts === "allow" })],
  ]);
}
