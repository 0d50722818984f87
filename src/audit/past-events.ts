import { z } from "zod";
import { connectRequest, NOT_GRANTED } from "../policy/connect.ts";
import { namingOf } from "../policy/ecosystems/naming.ts";
import { readHost } from "../policy/host.ts";
import { packageRequest } from "../policy/package.ts";
import type { PastDecision } from "../policy/past.ts";
import type { Principal } from "../policy/request.ts";
import { admittedSchema } from "./admitted.ts";
import type { EventBody } from "./record.ts";

/** Events that are decisions of policy. */
export const DECISIONS = ["connection-opened", "connection-refused", "package-admitted", "package-refused"] as const;
type DecisionEvent = (typeof DECISIONS)[number];

export type Past = Pick<PastDecision, "decided" | "policies" | "request" | "assumed">;
export type EventProblem = "malformed" | "not-policy" | "package-refused";

export function isDecision(event: EventBody["event"]): event is DecisionEvent {
  return DECISIONS.some((it) => it === event);
}

/** What was decided of a connection or a package, or why that can't be decided again. */
export function pastEvent(
  event: DecisionEvent,
  facts: unknown,
  { principal, atMs }: { readonly principal: Principal; readonly atMs: number },
): Past | { readonly problem: EventProblem } {
  switch (event) {
    case "connection-opened":
      return openedConnection(facts, principal);
    case "connection-refused":
      return refusedConnection(facts, principal);
    case "package-admitted":
      return admittedPackage(facts, principal, atMs);
    case "package-refused":
      // What policy saw of it is not on record.
      return { problem: "package-refused" };
  }
}

const targetSchema = z.looseObject({
  host: z.string().refine((it) => readHost(it)?.host === it),
  port: z.int().min(1).max(65_535),
});
const openedSchema = z.looseObject({
  scheme: z.enum(["http", "https"]),
  policies: z.array(z.string()),
  approvalId: z.string().optional(),
});
const refusedSchema = z.looseObject({ reason: z.string(), policies: z.array(z.string()) });

function openedConnection(facts: unknown, principal: Principal): ReturnType<typeof pastEvent> {
  const { data } = openedSchema.and(targetSchema).safeParse(facts);
  if (!data) return { problem: "malformed" };
  const { host, port, scheme, policies, approvalId } = data;
  const decided = approvalId === undefined ? "permit" : "ask";
  return { decided, policies, request: connectRequest(principal, { host, port, scheme }), assumed: [] };
}

/** Other things refuse as well: the floor under private addresses, requests that can be read in two ways. */
function refusedConnection(facts: unknown, principal: Principal): ReturnType<typeof pastEvent> {
  const refused = refusedSchema.safeParse(facts).data;
  if (!refused) return { problem: "malformed" };
  const { policies, reason } = refused;
  if (policies.length === 0 && !reason.startsWith(NOT_GRANTED)) return { problem: "not-policy" };
  const target = targetSchema.safeParse(facts).data;
  if (!target) return { problem: "malformed" };
  const { host, port } = target;
  const scheme = port === 80 ? "http" : "https";
  const request = connectRequest(principal, { host, port, scheme });
  return { decided: "deny", policies, request, assumed: ["scheme"] };
}

/** It was let in: what the record does not have was no obstacle then, and is taken to be none now. */
function admittedPackage(facts: unknown, principal: Principal, atMs: number): ReturnType<typeof pastEvent> {
  const { data } = admittedSchema.safeParse(facts);
  if (!data) return { problem: "malformed" };
  const { purl, ecosystem, name, version, requested, licenses, ageHours, registry, integrity, advisories } = data;
  const scope = namingOf(ecosystem).namespace(name).join("/");
  const request = packageRequest(principal, {
    purl,
    ecosystem,
    name,
    ...(scope !== "" && { scope }),
    version,
    requested,
    ...(ageHours !== undefined && { ageHours: Math.floor(ageHours) }),
    licenses,
    knownMalicious: false,
    knownVulnerable: false,
    advisories: [],
    ...(advisories && {
      advisoriesAgeHours: Math.max(0, Math.floor((atMs - Date.parse(advisories.importedAt)) / HOUR_MS)),
    }),
    hasInstallScript: false,
    buildsFromSource: false,
    yanked: false,
    verified: integrity !== undefined,
    similarTo: [],
    withinPin: true,
    registry,
  });
  const decided = data.approvalId === undefined ? "permit" : "ask";
  return { decided, policies: data.policies, request, assumed: ["package"] };
}

const HOUR_MS = 3_600_000;
