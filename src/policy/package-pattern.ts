import { ECOSYSTEMS, type EcosystemName } from "./ecosystems/ecosystem.ts";
import { namingOf, purlOf, samePurl } from "./ecosystems/naming.ts";
import { purlAncestors } from "./package.ts";

/** Packages that a line of a profile means. */
export interface PackagePattern {
  readonly ecosystem: EcosystemName;
  /** The Cedar entity: `pkg:npm`, `pkg:npm/%40acme`, `pkg:npm/left-pad`, or one version. */
  readonly purl: string;
}

type Read = { readonly pattern: PackagePattern } | { readonly problem: string };

const FORMS = "write `npm:*`, `npm:@acme/*`, `npm:left-pad` or `npm:left-pad@1.3.0`";

/** Reads `npm:*`, `npm:@acme/*` (all below it; for maven `maven:org.acme:*`), `pip:requests` or `pip:requests@2.31.0`. */
export function readPackagePattern(text: string): Read {
  const [, tool = "", rest = ""] = /^([a-z]+):(.+)$/s.exec(text) ?? [];
  const ecosystem = ECOSYSTEMS.find((it) => it === tool);
  if (ecosystem === undefined) return { problem: `names no package: ${FORMS}, with one of ${ECOSYSTEMS.join(", ")}` };
  const naming = namingOf(ecosystem);
  if (rest === "*") return { pattern: { ecosystem, purl: `pkg:${naming.purlType}` } };
  const below = /^(.+)[/:]\*$/.exec(rest)?.[1];
  if (below !== undefined) return readNamespace(ecosystem, below);
  const [, spelt = "", at] = /^(.[^@]*)(?:@(.+))?$/s.exec(rest) ?? [];
  const name = naming.readName(spelt);
  if (name === undefined) return { problem: `\`${spelt}\` is no name of a package: ${FORMS}` };
  const version = at === undefined ? undefined : naming.readVersion(at);
  if (at !== undefined && version === undefined)
    return { problem: `\`${at}\` is no version: name one exactly, or none` };
  if (name !== spelt || version !== at) {
    return { problem: `is spelt \`${ecosystem}:${name}${version === undefined ? "" : `@${version}`}\`` };
  }
  return { pattern: { ecosystem, purl: samePurl(naming, name, version) } };
}

/** By a package that would stand below it: namespaces have no grammar of their own. */
function readNamespace(ecosystem: EcosystemName, below: string): Read {
  const naming = namingOf(ecosystem);
  const name = naming.readName(`${below}${ecosystem === "maven" ? ":" : "/"}x`);
  if (name === undefined || naming.namespace(name).join("/") !== below) {
    return { problem: `nothing can lie below \`${below}\`: ${FORMS}` };
  }
  const [, namespace = ""] = purlAncestors(`${purlOf(naming, name)}@0`);
  return { pattern: { ecosystem, purl: namespace } };
}
