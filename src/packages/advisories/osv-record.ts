import { z } from "zod";
import { GatewayError } from "../../errors.ts";

/** What is used of an OSV record (ossf.github.io/osv-schema): which packages it is about, and which of their versions. */
export interface OsvRecord {
  readonly id: string;
  /** RFC 3339, as it stands there; of two versions of a record the later one counts. */
  readonly modified: string;
  readonly malicious: boolean;
  readonly withdrawn: boolean;
  readonly affected: readonly OsvAffected[];
}

export interface OsvAffected {
  /** Without suffix: `npm`, `Debian`. */
  readonly ecosystem: string;
  readonly name: string;
  readonly part: Part;
}

/** A part of a package's versions. */
export interface Part {
  /** The suffix of the ecosystem: `12` of `Debian:12`. */
  readonly release?: string | undefined;
  readonly versions: readonly string[];
  /** Each the events of one range. */
  readonly ranges: readonly (readonly RangeEvent[])[];
  /** Every version: what the record says can't be evaluated, or there is nothing to evaluate. */
  readonly all: boolean;
}

export type RangeEvent = readonly [kind: (typeof KINDS)[number], version: string];

const KINDS = ["introduced", "fixed", "last_affected", "limit"] as const;
const MALICIOUS = "MAL-";

/** Records have many fields that are not used, and new ones may come: what is not named here is let be. */
const rangeSchema = z.object({
  type: z.enum(["SEMVER", "ECOSYSTEM", "GIT"]),
  events: z.array(
    z
      .strictObject(Object.fromEntries(KINDS.map((it) => [it, z.string().min(1).optional()])))
      .refine((it) => Object.keys(it).length === 1),
  ),
});

const recordSchema = z.object({
  // Ids end up in facts, in logs and on screens.
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.:_+-]{0,127}$/),
  modified: z.string().default(""),
  withdrawn: z.string().nullish(),
  aliases: z.array(z.string()).nullish(),
  affected: z
    .array(
      z.object({
        package: z.object({ ecosystem: z.string().min(1), name: z.string().min(1) }).nullish(),
        versions: z.unknown().optional(),
        ranges: z.unknown().optional(),
      }),
    )
    .nullish(),
});

const versionsSchema = z.array(z.string()).nullish();
const rangesSchema = z.array(rangeSchema).nullish();

/** How a part is kept. */
export const partsSchema = z.array(
  z.strictObject({
    release: z.string().optional(),
    versions: z.array(z.string()),
    ranges: z.array(z.array(z.tuple([z.enum(KINDS), z.string()]))),
    all: z.boolean(),
  }),
);

/** @throws GatewayError ADVISORIES_INVALID for what is no record, or doesn't say what it is about */
export function readOsvRecord(text: string): OsvRecord {
  const { id, modified, withdrawn, aliases, affected } = parse(text);
  const packages = (affected ?? []).map((it) => {
    const [ecosystem = "", ...suffix] = it.package?.ecosystem.split(":") ?? [];
    const release = suffix.length > 0 ? { release: suffix.join(":") } : {};
    return { ecosystem, name: it.package?.name ?? "", part: { ...release, ...readPart(it.versions, it.ranges) } };
  });
  return {
    id,
    modified,
    malicious: [id, ...(aliases ?? [])].some((it) => it.startsWith(MALICIOUS)),
    withdrawn: typeof withdrawn === "string",
    // Without a package it is about commits of a repository.
    affected: packages.filter((it) => it.ecosystem !== ""),
  };
}

function parse(text: string): z.infer<typeof recordSchema> {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new GatewayError("ADVISORIES_INVALID", "this is no OSV record", { cause });
  }
}

/** Versions that can't be understood are all versions. Ranges of commits are no versions, and count only where there is nothing else. */
function readPart(givenVersions: unknown, givenRanges: unknown): Omit<Part, "release"> {
  const versions = versionsSchema.safeParse(givenVersions);
  const ranges = rangesSchema.safeParse(givenRanges);
  if (!versions.success || !ranges.success) return { versions: [], ranges: [], all: true };
  const evaluable = (ranges.data ?? []).filter((it) => it.type !== "GIT");
  const listed = versions.data ?? [];
  return {
    versions: listed,
    ranges: evaluable.map((it) => it.events.map(readEvent)),
    all: listed.length === 0 && evaluable.length === 0,
  };
}

function readEvent(event: Readonly<Record<string, string | undefined>>): RangeEvent {
  const [kind = KINDS[0]] = KINDS.filter((it) => event[it] !== undefined);
  return [kind, event[kind] ?? "0"];
}
