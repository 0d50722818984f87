import { z } from "zod";
import { ECOSYSTEMS, type EcosystemName } from "./ecosystems/ecosystem.ts";
import { namingOf } from "./ecosystems/naming.ts";
import { readHost } from "./host.ts";
import { readPackagePattern } from "./package-pattern.ts";

const MAX_HOURS = 876_000;
/** Most hijacked releases are found out within three days. */
export const MINIMUM_AGE_HOURS = 72;

const pattern = z.string().transform((text, context) => {
  const read = readPackagePattern(text);
  if ("pattern" in read) return { text, ...read.pattern };
  context.addIssue(`\`${text}\` ${read.problem}`);
  return z.NEVER;
});

const hours = z.int().min(0).max(MAX_HOURS);
const byEcosystem = <T extends z.ZodType>(value: T) => z.partialRecord(z.enum(ECOSYSTEMS), value);

/** A registry's root; a program's credentials never stand in it. */
const url = z.string().transform((text, context) => {
  const read = URL.parse(text);
  const fits =
    read && /^https?:$/.test(read.protocol) && `${read.username}${read.password}${read.search}${read.hash}` === "";
  if (fits && readHost(read.hostname) !== undefined && !read.hostname.endsWith("."))
    return read.href.endsWith("/") ? read.href : `${read.href}/`;
  context.addIssue(`\`${text}\` is no address of a registry: write \`https://packages.example.org/path/\``);
  return z.NEVER;
});

const registry = z.strictObject({
  url,
  /**
   * Names that are asked for here and nowhere else: `@acme/*`, `acme-*`, `org.acme:*`. Without it: all those that no other registry has
   * for itself. One such registry an ecosystem.
   */
  only: z
    .array(z.string().regex(/^[^*\s]+\*?$/, "must be a name, or the beginning of one with * at its end"))
    .min(1)
    .optional(),
  /** Where its files may lie besides, as `host` or `host:port`: links in metadata and redirects lead nowhere else. */
  files: z
    .array(
      z
        .string()
        .regex(/^[^:/\s]+(:\d{1,5})?$/, "must be a host, with its port where that is not the usual one")
        .refine((it) => readHost(it.replace(/:\d+$/, "")) !== undefined, "must be a host"),
    )
    .default([]),
  /** One of the profile's `secrets`: it is sent to this registry. */
  secret: z.string().optional(),
});
export type RegistrySource = z.output<typeof registry>;

/** Which packages may enter the sandbox: a bundle's `profile.yaml`, at `packages`. Without it there is no way to a registry but what `egress` grants. */
export const packagesSchema = z.strictObject({
  allow: z.array(pattern).default([]),
  /** Wins over `allow`. */
  deny: z.array(pattern).default([]),
  /** Younger ones, and those whose age nobody knows, are kept out. One number, or one for each ecosystem and `default` for the others. */
  minimumAgeHours: z
    .union([hours, z.strictObject({ default: hours.default(MINIMUM_AGE_HOURS), ...byAge() })])
    .default(MINIMUM_AGE_HOURS)
    .transform((it) => {
      if (typeof it === "number") return { usual: it, own: new Map<EcosystemName, number>() };
      const own = ECOSYSTEMS.flatMap((name): [EcosystemName, number][] => {
        const age = it[name];
        return age === undefined ? [] : [[name, age]];
      });
      return { usual: it.default, own: new Map(own) };
    }),
  /** The only versions of a package: `npm:lodash: ^4.17.21`, in the ecosystem's own words; of several ranges, those that lie in all. */
  pin: z
    .record(z.string(), z.union([z.string(), z.array(z.string()).min(1).max(64)]))
    .default({})
    .transform(readPins),
  /** Whether npm runs packages' own programs when it installs them: never, always, or for these (`npm rebuild` by `installPackage`). */
  installScripts: z
    .union([z.enum(["deny", "allow"]), z.array(z.string().refine((it) => namingOf("npm").readName(it) === it))])
    .default("deny"),
  /** SPDX ids; a package must offer one of them. Without it any licence will do, and none. */
  licenses: z.array(z.string().min(1).max(200)).min(1).optional(),
  /** Versions that an advisory is about; those known to be malicious are always kept out. */
  vulnerable: z.enum(["allow", "deny"]).default("allow"),
  /** Files for which the registry gives no digest. */
  unverified: z.enum(["allow", "deny"]).default("deny"),
  /** What would be built from its source, by its own program (pip: sdists). */
  buildsFromSource: z.enum(["allow", "deny"]).default("allow"),
  /** With older advisories, or none, nothing enters. */
  maximumAdvisoryAgeHours: hours.optional(),
  /** Of Debian archives, what there is to choose from; suites are those of the default image when absent. */
  apt: z
    .strictObject({
      suites: z
        .array(z.string().regex(/^[a-z][a-z0-9-]{0,63}$/, "must be a suite, such as trixie-updates"))
        .min(1)
        .optional(),
      components: z
        .array(z.string().regex(/^[a-z][a-z-]{0,63}$/, "must be a component, such as main"))
        .min(1)
        .default(["main"]),
    })
    .prefault({}),
  /** Without an entry: what this computer's own tool is configured for. */
  registries: byEcosystem(z.array(registry).min(1))
    .default({})
    .superRefine(refuseTwoDefaults)
    .superRefine(refuseMisspelt),
});
export type Packages = z.output<typeof packagesSchema>;

function byAge() {
  return Object.fromEntries(ECOSYSTEMS.map((it) => [it, hours.optional()])) as Record<
    EcosystemName,
    z.ZodOptional<typeof hours>
  >;
}

function refuseTwoDefaults(registries: Partial<Record<EcosystemName, RegistrySource[]>>, context: z.RefinementCtx) {
  for (const [ecosystem, sources] of Object.entries(registries)) {
    const [, second] = sources.flatMap((it, index) => (it.only ? [] : [index]));
    if (second === undefined || ecosystem === "apt") continue;
    const message = "a second registry for all names: which of two a package comes from must not be left to chance";
    context.addIssue({ code: "custom", path: [ecosystem, second], message: `${message}; say \`only\`` });
  }
}

/** What matches no name as it is spelt would leave the packages that are meant to another registry. */
function refuseMisspelt(registries: Partial<Record<EcosystemName, RegistrySource[]>>, context: z.RefinementCtx) {
  for (const ecosystem of ECOSYSTEMS) {
    for (const [index, { only = [] }] of (registries[ecosystem] ?? []).entries()) {
      for (const [at, text] of only.entries()) {
        if (couldMatch(ecosystem, text)) continue;
        const message = `\`${text}\` matches no name of ${ecosystem}: names are compared in their one spelling`;
        context.addIssue({ code: "custom", path: [ecosystem, index, "only", at], message });
      }
    }
  }
}

/** Whether it is a name, or the beginning of some. */
function couldMatch(ecosystem: EcosystemName, text: string): boolean {
  const ends = text.endsWith("*") ? ["", "x", "/x", ":x", "x/x", "x:x"] : [""];
  const names = ends.map((it) => text.replace(/\*$/, "") + it);
  return names.some((it) => namingOf(ecosystem).readName(it) === it);
}

/** Ranges by package, all of which a version must lie in. */
export type Pins = ReadonlyMap<string, readonly string[]>;

/** A package that is named twice, in two spellings, is bound by both. */
function readPins(pins: Readonly<Record<string, string | readonly string[]>>, context: z.RefinementCtx): Pins {
  const read = Object.entries(pins).flatMap(([text, stated]): [string, string][] => {
    const found = readPackagePattern(text);
    if ("problem" in found || /\*$|.@/.test(text.slice(text.indexOf(":") + 1))) {
      const problem = "problem" in found ? found.problem : "must be one package, without a version";
      context.addIssue({ code: "custom", path: [text], message: `\`${text}\` ${problem}` });
      return [];
    }
    const ranges = [stated].flat();
    for (const range of ranges) {
      if (namingOf(found.pattern.ecosystem).isRange(range)) continue;
      context.addIssue({ code: "custom", path: [text], message: `\`${range}\` is no range of versions` });
    }
    return ranges.map((range) => [found.pattern.purl, range]);
  });
  const byPackage = Map.groupBy(read, ([purl]) => purl);
  return new Map([...byPackage].map(([purl, pairs]) => [purl, pairs.map(([, range]) => range)]));
}
