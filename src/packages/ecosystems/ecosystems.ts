import type { EcosystemName } from "../../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../../policy/ecosystems/naming.ts";
import type { Packages } from "../../policy/packages.ts";
import type { Registry } from "../registry.ts";
import { createAptRegistry } from "./apt.ts";
import { cargoRegistry } from "./cargo.ts";
import { createGoRegistry } from "./go.ts";
import { mavenRegistry } from "./maven.ts";
import { createNpmRegistry } from "./npm.ts";
import { pipRegistry } from "./pip.ts";

/** What registries go by that the profile doesn't say. */
export interface RegistryFacts {
  /** Go's checksum database. */
  readonly sumdb?: string | undefined;
  /** Debian's release, of which the default image is. */
  readonly suite: string;
  /** Of the sandbox, as Debian names it. */
  readonly architecture: string;
  /** Whether policy could permit anything of it: of others no registry answers, nor is any asked. */
  readonly mayPermit: (ecosystem: EcosystemName) => boolean;
}

/** The registry of every ecosystem that policy permits. Adding one is a file, and a line here. */
export function packageRegistries(
  { installScripts, apt }: Pick<Packages, "installScripts" | "apt">,
  { sumdb, suite, architecture, mayPermit }: RegistryFacts,
): ReadonlyMap<EcosystemName, Registry> {
  const suites = apt.suites ?? [suite, `${suite}-updates`, `${suite}-security`];
  const all: readonly [EcosystemName, Registry][] = [
    ["pip", pipRegistry],
    ["npm", createNpmRegistry(namingOf("npm"), { runsScripts: installScripts === "allow" })],
    ["apt", createAptRegistry({ naming: namingOf("apt"), suites, components: apt.components, architecture })],
    ["cargo", cargoRegistry],
    ["go", createGoRegistry({ naming: namingOf("go"), ...(sumdb !== undefined && { sumdb }) })],
    ["maven", mavenRegistry],
  ];
  return new Map(all.filter(([ecosystem]) => mayPermit(ecosystem)));
}
