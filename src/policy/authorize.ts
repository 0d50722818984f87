import {
  type CedarValueJson,
  type EntityJson,
  preparseSchema,
  statefulIsAuthorized,
} from "@cedar-policy/cedar-wasm/nodejs";
import { GatewayError } from "../errors.ts";
import { messageOf } from "../lib/error.ts";
import { namingOf, samePurl } from "./ecosystems/naming.ts";
import { normalisePath, pathAncestors } from "./facts.ts";
import { hostAncestors, readHost } from "./host.ts";
import { NO_LAG } from "./logging.ts";
import { type PackageFacts, purlAncestors } from "./package.ts";
import type { Fact, PolicyRequest, Resource } from "./request.ts";
import { NO_USAGE } from "./usage.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Has Cedar parse the schema and keep it, for this thread; safe to repeat. */
export function prepareSchema({ name, schema }: Vocabulary): void {
  preparseSchema(name, schema);
}

/** Cedar's word on a set of policies. */
export interface CedarAnswer {
  readonly allowed: boolean;
  /** Ids of the policies that determined it, sorted. */
  readonly reasons: readonly string[];
  readonly problems: readonly string[];
}

export type CedarRequest = ReturnType<typeof cedarRequest>;

/** A request in Cedar's form. */
export function prepared(
  request: PolicyRequest,
  vocabulary: Vocabulary,
): { readonly request: CedarRequest } | { readonly problems: string[] } {
  try {
    return { request: cedarRequest(request, vocabulary) };
  } catch (error) {
    return { problems: [failureText(error)] };
  }
}

/** Of a set of parsed policies. Never throws: what goes wrong is a problem, and nothing is allowed. */
export function answerOf(set: string, request: CedarRequest): CedarAnswer {
  const failed = (problems: readonly string[]) => ({ allowed: false, reasons: [], problems });
  try {
    const answer = statefulIsAuthorized({ ...request, preparsedPolicySetId: set });
    if (answer.type === "failure") return failed(answer.errors.map((it) => it.message));
    const { decision, diagnostics } = answer.response;
    const problems = [
      ...diagnostics.errors.map((it) => `${it.policyId}: ${it.error.message}`),
      ...answer.warnings.map((it) => it.message),
    ];
    if (problems.length > 0) return failed(problems);
    return { allowed: decision === "allow", reasons: diagnostics.reason.toSorted(), problems };
  } catch (error) {
    return failed([failureText(error)]);
  }
}

function failureText(error: unknown): string {
  return `policy evaluation failed: ${messageOf(error)}`;
}

function cedarRequest(
  { principal, action, resource, context, usage = NO_USAGE, logging = NO_LAG }: PolicyRequest,
  { name: preparsedSchemaName, factTypes }: Vocabulary,
) {
  const types = factTypes(action);
  const entities: EntityJson[] = [];
  const entity = (type: "Path" | "MountPath" | "Host", id: string, ancestors: readonly string[]) => {
    const uid = { type: `Glovebox::${type}`, id };
    // All ancestors as direct parents: Cedar then needs no entity for each of them.
    const parents = ancestors.map((it) => ({ type: uid.type, id: it }));
    if (!entities.some((it) => "id" in it.uid && it.uid.id === id && it.uid.type === uid.type)) {
      entities.push({ uid, attrs: {}, parents });
    }
    return uid;
  };
  const path = (value: string, type: "Path" | "MountPath" = "Path") => {
    // INVARIANT: without it, `/workspace/../etc` would lie in /workspace. The caller denies.
    if (normalisePath(value, "/") !== value) throw new GatewayError("INTERNAL", "a path is not normalised");
    return entity(type, value, pathAncestors(value));
  };
  const packageEntity = ({ purl, ...attrs }: PackageFacts) => {
    const uid = { type: "Glovebox::Package", id: purl };
    const same = samePurl(namingOf(attrs.ecosystem), attrs.name, attrs.version);
    const above = same === purl ? purlAncestors(purl) : [...purlAncestors(purl), same, ...purlAncestors(same)];
    const parents = [...new Set(above)].map((id) => ({ type: uid.type, id }));
    entities.push({
      uid,
      attrs: Object.fromEntries(Object.entries(attrs).map(([k, v]) => [k, cedarValue(v)])),
      parents,
    });
    return uid;
  };
  const acted = (it: Resource) => {
    if (it.type === "path") return path(it.path);
    if (it.type === "session") return { type: "Glovebox::Session", id: it.id };
    if (it.type === "package") return packageEntity(it.facts);
    // INVARIANT: without it, `EXAMPLE.org` would be another host than the one that a forbid names. The caller denies.
    if (readHost(it.host)?.host !== it.host) throw new GatewayError("INTERNAL", "a host is not in its one spelling");
    return entity("Host", it.host, hostAncestors(it.host));
  };
  const who = { type: "Glovebox::Principal", id: principal.id };
  const attrs = {
    client: principal.client.name,
    clientVersion: principal.client.version,
    transport: principal.transport,
    usage: { ...usage.principal },
    session: { ...usage.session },
    openSessions: usage.openSessions,
    sessionIsOpen: usage.sessionIsOpen,
    logging: { ...logging },
  };
  entities.push({ uid: who, attrs, parents: [] });
  const facts = Object.entries(context).map(([name, fact]): [string, CedarValueJson] => {
    const type = types.get(name);
    if (type === undefined) return [name, cedarValue(fact)];
    if (type === "ipaddr") return [name, { __extn: { fn: "ip", arg: String(fact) } }];
    return [name, { __entity: path(String(fact), type) }];
  });
  return {
    principal: who,
    action: { type: "Glovebox::Action", id: action },
    resource: acted(resource),
    context: Object.fromEntries(facts),
    entities,
    preparsedSchemaName,
    validateRequest: true,
  };
}

function cedarValue(fact: Fact): CedarValueJson {
  if (typeof fact !== "object") return fact;
  if (isList(fact)) return fact.map(cedarValue);
  return Object.fromEntries(Object.entries(fact).map(([name, value]) => [name, cedarValue(value)]));
}

function isList(fact: object): fact is readonly Fact[] {
  return Array.isArray(fact);
}
