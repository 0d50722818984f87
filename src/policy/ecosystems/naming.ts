import { PackageURL } from "packageurl-js";
import { aptNaming } from "./apt.ts";
import { cargoNaming } from "./cargo.ts";
import type { EcosystemName, Naming } from "./ecosystem.ts";
import { goNaming } from "./go.ts";
import { mavenNaming } from "./maven.ts";
import { npmNaming } from "./npm.ts";
import { pipNaming } from "./pip.ts";

const NAMINGS: Readonly<Record<EcosystemName, Naming>> = {
  pip: pipNaming,
  npm: npmNaming,
  apt: aptNaming,
  cargo: cargoNaming,
  go: goNaming,
  maven: mavenNaming,
};

export function namingOf(ecosystem: EcosystemName): Naming {
  return NAMINGS[ecosystem];
}

/** A package, or one version of it, as github.com/package-url/purl-spec spells it; name and version have been read. */
export function purlOf(naming: Naming, name: string, version?: string): string {
  const [type = "", ...vendor] = naming.purlType.split("/");
  const above = naming.namespace(name);
  const last = name.slice(above.reduce((chars, it) => chars + it.length + 1, 0));
  const namespace = [...vendor, ...above].join("/");
  const purl = new PackageURL(type, namespace || undefined, last, version);
  // The library writes npm's names in lower case; but `JSONStream` and `jsonstream` are two packages.
  purl.name = last;
  purl.namespace = namespace || undefined;
  return purl.toString();
}

/** The same for all spellings of a package, or of one version of it: by this policies and pins mean it. */
export function samePurl(naming: Naming, name: string, version?: string): string {
  const same = version === undefined ? undefined : (naming.sameVersion?.(version) ?? version);
  return purlOf(naming, naming.sameName?.(name) ?? name, same);
}
