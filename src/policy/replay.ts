import { z } from "zod";
import { ECOSYSTEMS } from "./ecosystems/ecosystem.ts";
import { argvFacts } from "./facts.ts";
import type { Fact, PolicyRequest, Principal } from "./request.ts";
import { USAGE_FACTS, type UsageFact } from "./usage.ts";

const EXEC = "exec";

/** Why a decision of the past can't be made again. */
export const UNREPLAYABLE = {
  "no-request": "the record does not say what policy saw: an older version of Glovebox wrote it",
  "too-large": "a part of what policy saw was too large for the log: there is a digest in its place",
  redacted: "a field that policy keeps out of the log is a part of what policy saw",
  malformed: "the record has what policy saw in a form that this version of Glovebox does not know",
} as const;
export type Unreplayable = keyof typeof UNREPLAYABLE;

/**
 * What policy saw besides the principal, for the intent, so that the decision can be made again. Without what follows from the rest:
 * `argvPrefixes`, whose size grows with the square of the argv's, is its longest member as `argv`. `usage` is kept only where a policy in
 * force reads usage. The log redacts it as everything else.
 */
export function recordedRequest(
  request: PolicyRequest,
  { usage }: { readonly usage: boolean },
): { readonly [name: string]: Fact } {
  const { action, resource } = request;
  return {
    action,
    resource: resource.type === "package" ? { ...resource, facts: { ...resource.facts } } : { ...resource },
    ...recordedContext(request),
    ...(usage && request.usage && { usage: { ...request.usage } }),
    ...(request.logging && { logging: { ...request.logging } }),
  };
}

function recordedContext({
  action,
  context,
}: PolicyRequest): Pick<PolicyRequest, "context"> & { argv?: readonly string[] } {
  // A skill's parameter may have any name.
  if (action !== EXEC) return { context: { ...context } };
  const { argvPrefixes, argv0, ...rest } = context;
  const argv = Array.isArray(argvPrefixes) ? longestOf(argvPrefixes) : undefined;
  const program = argv0 === undefined || argv?.[0] === argv0 ? {} : { argv0 };
  return { context: { ...rest, ...program }, ...(argv && { argv }) };
}

/** The request of a record as `recordedRequest` made and the log kept it, or why it can't be had. Trusts nothing about `recorded`. */
export function readRecorded(
  principal: Principal,
  recorded: unknown,
): PolicyRequest | { readonly problem: Unreplayable } {
  if (recorded === undefined) return { problem: "no-request" };
  const read = recordedSchema.safeParse(withStandIns(recorded));
  if (!read.success) return { problem: whyNot(recorded) };
  const { action, resource, context, argv, usage, logging } = read.data;
  // Of an empty argv, whose first argument is longer than any prefix, `argv0` stands in the context.
  const { argv0, argvPrefixes } = argvFacts(argv ?? []);
  const program = argv === undefined ? {} : { ...(argv.length > 0 && { argv0 }), argvPrefixes };
  const then = { ...(usage && { usage }), ...(logging && { logging }) };
  return { principal, action, resource, context: { ...context, ...program }, ...then };
}

/** The log puts the size and digest of what is too large in its place: see `audit/redact.ts`. */
const hex = z.string().regex(/^[0-9a-f]{64}$/);
const size = { bytes: z.int().min(0) };
const digestSchema = z.union([z.strictObject({ ...size, sha256: hex }), z.strictObject({ ...size, hmacSha256: hex })]);

/** By their names, digests that the log keys, of what is short or was not kept whole: see `audit/keyed.ts`. */
const KEYED = { hmacSha256: "sha256", scriptHmacSha256: "scriptSha256" } as const;

/** Whether policy saw a digest of which the record has a keyed one in its place. */
export function hasKeyedDigest(recorded: unknown): boolean {
  const context = z.object({ context: z.record(z.string(), z.unknown()) }).safeParse(recorded).data?.context ?? {};
  // A skill's parameter may have any name.
  return !("skill" in context) && Object.keys(KEYED).some((it) => it in context);
}

/** Where policy saw a digest, something that is none: no policy names it. */
function withStandIns(recorded: unknown): unknown {
  const record = z.looseObject({ context: z.record(z.string(), z.unknown()) }).safeParse(recorded).data;
  if (!record || !hasKeyedDigest(recorded)) return recorded;
  const context = Object.entries(record.context).map(([name, value]) =>
    name in KEYED && hex.safeParse(value).success
      ? [KEYED[name as keyof typeof KEYED], `hmac-sha256:${String(value)}`]
      : [name, value],
  );
  return { ...record, context: Object.fromEntries(context) };
}

function whyNot(recorded: unknown): Unreplayable {
  if (holdsDigest(recorded)) return "too-large";
  return JSON.stringify(recorded)?.includes('"[redacted:') ? "redacted" : "malformed";
}

const text = z.string();
const texts = z.array(text).readonly();
const usageSchema = z.strictObject(
  Object.fromEntries(USAGE_FACTS.map((it) => [it, z.int()])) as Record<UsageFact, z.ZodInt>,
);

const packageSchema = z.strictObject({
  purl: text,
  ecosystem: z.enum(ECOSYSTEMS),
  name: text,
  scope: text.exactOptional(),
  version: text,
  requested: z.boolean(),
  ageHours: z.int().exactOptional(),
  licenses: texts,
  knownMalicious: z.boolean(),
  knownVulnerable: z.boolean(),
  advisories: texts,
  advisoriesAgeHours: z.int().exactOptional(),
  hasInstallScript: z.boolean(),
  buildsFromSource: z.boolean(),
  yanked: z.boolean(),
  verified: z.boolean(),
  similarTo: texts,
  withinPin: z.boolean(),
  registry: text,
});

const fact: z.ZodType<Fact> = z.union([text, z.int(), z.boolean(), texts]);

/** As `skillFact` gives it. */
const skillSchema = z.strictObject({ name: text, version: text, digest: text, pinned: z.boolean(), signedBy: texts });

const recordedSchema = z
  .strictObject({
    action: text,
    resource: z.discriminatedUnion("type", [
      z.strictObject({ type: z.literal("session"), id: text }),
      z.strictObject({ type: z.literal("path"), path: text }),
      z.strictObject({ type: z.literal("host"), host: text }),
      z.strictObject({ type: z.literal("package"), facts: packageSchema }),
    ]),
    context: z.object({ skill: skillSchema.exactOptional() }).catchall(fact),
    argv: texts.exactOptional(),
    usage: z
      .strictObject({ principal: usageSchema, session: usageSchema, openSessions: z.int(), sessionIsOpen: z.boolean() })
      .exactOptional(),
    logging: z.strictObject({ lagRecords: z.int(), lagSeconds: z.int() }).exactOptional(),
  })
  // What follows from `argv` is never taken from a record: nothing would say that it is the JSON of an argv.
  .refine(({ action, context, argv }) => (action === EXEC ? !("argvPrefixes" in context) : argv === undefined));

function longestOf(prefixes: readonly Fact[]): readonly string[] {
  const last = prefixes.at(-1);
  return last === undefined ? [] : texts.parse(JSON.parse(text.parse(last)));
}

function holdsDigest(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return digestSchema.safeParse(value).success || Object.values(value).some(holdsDigest);
}
