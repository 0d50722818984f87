import { z } from "zod";
import { ECOSYSTEMS } from "./ecosystems/ecosystem.ts";
import { BY_CEDAR, each, type MergeNode, outermost, rule, section, strictest } from "./merge-rule.ts";
import { type Packages, packagesSchema } from "./packages.ts";

/** SPDX's word for having no licence: what admits it alone admits no package. */
const NO_LICENSE = "NONE";

const { minimumAgeHours, vulnerable, unverified, buildsFromSource, apt, installScripts } = packagesSchema.shape;
const list = z.array(z.string());
const ranges = z.union([z.string().transform((it) => [it]), list]);

/** What a layer that states `packages` forbids although it does not say so: its policies are made with it. */
export const IMPLIED = (() => {
  const { minimumAgeHours, vulnerable, unverified, buildsFromSource } = packagesSchema.parse({});
  return { minimumAgeHours: writeAges(minimumAgeHours), vulnerable, unverified, buildsFromSource };
})();

/** `packages` of a profile. Those for which a layer has Cedar policies of its own are merged so that people can see what they come to. */
export const PACKAGES = section({
  allow: BY_CEDAR,
  deny: rule(list, (outer, inner) => ({ value: [...new Set([...outer, ...inner])] })),
  minimumAgeHours: rule(minimumAgeHours, (outer, inner) => ({ value: oldest(outer, inner) }), writeAges),
  // A version has to lie in all of them.
  pin: each(rule(ranges, (outer, inner) => ({ value: [...new Set([...outer, ...inner])].toSorted() }))),
  installScripts: rule(installScripts.unwrap(), (outer, inner) => ({ value: fewest(outer, inner) })),
  licenses: rule(list, commonLicenses),
  vulnerable: strictest(vulnerable.unwrap(), ["allow", "deny"]),
  unverified: strictest(unverified.unwrap(), ["allow", "deny"]),
  buildsFromSource: strictest(buildsFromSource.unwrap(), ["allow", "deny"]),
  maximumAdvisoryAgeHours: rule(z.int(), (outer, inner) => ({ value: Math.min(outer, inner) })),
  apt: section({ suites: outermost(list), components: outermost(list) } satisfies Record<keyof AptSchema, MergeNode>),
  registries: each(outermost(z.array(z.unknown()))),
} satisfies Record<keyof Packages, MergeNode>);

type AptSchema = Required<z.output<typeof apt>>;
type Ages = Packages["minimumAgeHours"];
type Scripts = Packages["installScripts"];

/** In each ecosystem the higher age. */
function oldest(a: Ages, b: Ages): Ages {
  const usual = Math.max(a.usual, b.usual);
  const own = ECOSYSTEMS.filter((it) => a.own.has(it) || b.own.has(it)).map(
    (it) => [it, Math.max(a.own.get(it) ?? a.usual, b.own.get(it) ?? b.usual)] as const,
  );
  return { usual, own: new Map(own) };
}

function writeAges({ usual, own }: Ages) {
  const others = [...own].filter(([, hours]) => hours !== usual);
  return others.length === 0 ? usual : { default: usual, ...Object.fromEntries(others) };
}

function fewest(a: Scripts, b: Scripts): Scripts {
  if (a === "deny" || b === "deny") return "deny";
  if (a === "allow") return b;
  return b === "allow" ? a : a.filter((it) => b.includes(it));
}

function commonLicenses(outer: readonly string[], inner: readonly string[]) {
  const common = outer.filter((it) => inner.includes(it));
  if (common.length > 0) return { value: common };
  return {
    value: [NO_LICENSE],
    notes: ["no licence is admitted by all layers: where it has to be looked up, nothing is"],
  };
}
