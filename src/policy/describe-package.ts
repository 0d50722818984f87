import { z } from "zod";
import { ECOSYSTEMS } from "./ecosystems/ecosystem.ts";
import { namingOf, purlOf } from "./ecosystems/naming.ts";
import { packageRequest } from "./package.ts";
import type { PolicyRequest, Principal } from "./request.ts";

/** What `installPackage` decides of each package, which no tool's arguments say: in a bundle's tests. */
export const PACKAGE = "package";

const flag = (initial: boolean) => z.boolean().default(initial);
const hours = z.int().min(0).max(1_000_000_000);
const words = z.array(z.string().min(1).max(512)).max(256).default([]);

/** The facts that a registry and the advisories would give; what is left out is what a well-known release has. */
const argumentsSchema = z.strictObject({
  ecosystem: z.enum(ECOSYSTEMS),
  name: z.string().min(1).max(512),
  version: z.string().min(1).max(256).default("1.0.0"),
  requested: flag(true),
  ageHours: hours.nullable().default(100_000),
  licenses: words.default(["MIT"]),
  knownMalicious: flag(false),
  knownVulnerable: flag(false),
  advisories: words,
  advisoriesAgeHours: hours.nullable().default(1),
  hasInstallScript: flag(false),
  buildsFromSource: flag(false),
  yanked: flag(false),
  verified: flag(true),
  similarTo: words,
  withinPin: flag(true),
  registry: z.string().max(300).default("registry.example.org:443"),
});

/** A would-be package, for bundles' tests and for whoever asks what would be permitted. */
export function describePackage(
  args: unknown,
  principal: Principal,
): { readonly request: PolicyRequest } | { readonly problem: string } {
  const parsed = argumentsSchema.safeParse(args ?? {});
  if (!parsed.success) return { problem: z.prettifyError(parsed.error).slice(0, 2_000) };
  const { ageHours, advisoriesAgeHours, ...facts } = parsed.data;
  const naming = namingOf(facts.ecosystem);
  const name = naming.readName(facts.name);
  const version = naming.readVersion(facts.version);
  if (name === undefined) return { problem: `name: is no name of ${facts.ecosystem}` };
  if (version === undefined) return { problem: `version: is no version of ${facts.ecosystem}` };
  const scope = naming.namespace(name).join("/");
  const request = packageRequest(principal, {
    ...facts,
    name,
    version,
    purl: purlOf(naming, name, version),
    ...(scope !== "" && { scope }),
    ...(ageHours !== null && { ageHours }),
    ...(advisoriesAgeHours !== null && { advisoriesAgeHours }),
  });
  return { request };
}
