import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../policy/ecosystems/naming.ts";
import type { Packages } from "../policy/packages.ts";
import { cargoRegistry } from "./cargo.ts";
import { createGoRegistry } from "./go.ts";
import { mavenRegistry } from "./maven.ts";
import { createNpmRegistry } from "./npm.ts";
import { pipRegistry } from "./pip.ts";
import type { Registry } from "./registry.ts";

/**
 * Every ecosystem's registry. Adding one is a file, and a line here.
 * @param sumdb Go's checksum database
 */
export function packageRegistries(
  { installScripts }: Pick<Packages, "installScripts">,
  sumdb: string | undefined,
): ReadonlyMap<EcosystemName, Registry> {
  return new Map<EcosystemName, Registry>([
    ["pip", pipRegistry],
    ["npm", createNpmRegistry(namingOf("npm"), { runsScripts: installScripts === "allow" })],
    ["cargo", cargoRegistry],
    ["go", createGoRegistry({ naming: namingOf("go"), ...(sumdb !== undefined && { sumdb }) })],
    ["maven", mavenRegistry],
  ]);
}
