import { GatewayError } from "../../errors.ts";
import { ECOSYSTEMS, type Naming } from "../../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../../policy/ecosystems/naming.ts";

/** One version of a package, as a person names it. */
export interface PurlSubject {
  readonly naming: Naming;
  readonly name: string;
  readonly version: string;
}

const PURL = /^pkg:\/*([a-z]+)\/([^@?#]+)@([^@?#]+)(?:[?#].*)?$/;

/**
 * Reads a package URL with a version (github.com/package-url/purl-spec); qualifiers are passed over.
 * @throws GatewayError INVALID_ARGUMENTS, with an example
 */
export function readPurl(text: string): PurlSubject {
  const [, type, path, rawVersion] = PURL.exec(text) ?? [];
  const invalid = (why: string) =>
    new GatewayError("INVALID_ARGUMENTS", `${why}: give one such as pkg:npm/lodash@4.17.20`);
  if (type === undefined || path === undefined || rawVersion === undefined)
    throw invalid("this is no package URL with a version");
  const parts = path.split("/").map((it) => decode(it, invalid));
  for (const naming of ECOSYSTEMS.map(namingOf)) {
    const [own, ...vendor] = naming.purlType.split("/");
    if (own !== type || vendor.some((it, index) => it !== parts[index])) continue;
    const rest = parts.slice(vendor.length);
    // Maven writes a colon where purls have a slash.
    const name = naming.readName(rest.join("/")) ?? naming.readName(rest.join(":"));
    if (name === undefined) throw invalid(`no package of ${naming.ecosystem} has this name`);
    const version = naming.readVersion(decode(rawVersion, invalid));
    if (version === undefined) throw invalid(`no package of ${naming.ecosystem} has this version`);
    return { naming, name, version };
  }
  const known = ECOSYSTEMS.map((it) => `pkg:${namingOf(it).purlType}`).join(", ");
  throw invalid(`of this kind of package nothing is known, only of ${known}`);
}

function decode(text: string, invalid: (why: string) => GatewayError): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid("this package URL has a `%` that encodes nothing");
  }
}
