import {
  type CedarValueJson,
  type EntityJson,
  preparseSchema,
  statefulIsAuthorized,
} from "@cedar-policy/cedar-wasm/nodejs";
import { GatewayError } from "../errors.ts";
import type { Bundle } from "./bundle.ts";
import type { DecidingPolicy, Decision } from "./decision.ts";
import { namingOf, samePurl } from "./ecosystems/naming.ts";
import { normalisePath, pathAncestors } from "./facts.ts";
import { hostAncestors, readHost } from "./host.ts";
import { type PackageFacts, purlAncestors } from "./package.ts";
import type { Fact, PolicyRequest, Resource } from "./request.ts";
import { ADDRESS_FACTS, PATH_FACTS, SCHEMA } from "./schema.ts";

/** Name under which Cedar keeps the parsed schema of this thread. */
export const SCHEMA_NAME = "glovebox";

/** Parses the schema once a thread; safe to repeat. */
export function prepareSchema(): void {
  preparseSchema(SCHEMA_NAME, SCHEMA);
}

/**
 * Decides a request by a bundle: a pure function of both, without clock or I/O. Cedar denies by default and lets a forbid override
 * every permit; it also *skips* a policy that fails to evaluate, so that here any error, warning or exception denies.
 */
export function evaluate(bundle: Bundle, request: PolicyRequest): Decision {
  const { identity } = bundle;
  const refused = (problems: readonly string[]): Decision => ({
    outcome: "deny",
    policies: [],
    problems,
    bundle: identity,
  });
  try {
    const answer = statefulIsAuthorized({ ...cedarRequest(request), preparsedPolicySetId: bundle.preparsed });
    if (answer.type === "failure") return refused(answer.errors.map((it) => it.message));
    const { decision, diagnostics } = answer.response;
    const problems = [
      ...diagnostics.errors.map((it) => `${it.policyId}: ${it.error.message}`),
      ...answer.warnings.map((it) => it.message),
    ];
    if (problems.length > 0) return refused(problems);
    const policies = diagnostics.reason.toSorted().map((id) => deciding(bundle, id));
    return { outcome: decision === "allow" ? "permit" : "deny", policies, problems: [], bundle: identity };
  } catch (error) {
    return refused([`policy evaluation failed: ${error instanceof Error ? error.message : String(error)}`]);
  }
}

/** Whether a request for this tool could be permitted; `false` is certain, and the tool need not be shown. */
export function canEverPermit(bundle: Bundle, action: string): boolean {
  const applicable = [...bundle.policies.values()].filter((it) => it.actions.has(action));
  const always = applicable.some((it) => it.effect === "forbid" && it.unconditional);
  return !always && applicable.some((it) => it.effect === "permit");
}

function deciding(bundle: Bundle, id: string): DecidingPolicy {
  const policy = bundle.policies.get(id);
  const { effect = "forbid", reason } = policy ?? {};
  return { id, effect, ...(reason === undefined ? {} : { reason }) };
}

function cedarRequest({ principal, action, resource, context }: PolicyRequest) {
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
  };
  entities.push({ uid: who, attrs, parents: [] });
  const facts = Object.entries(context).map(([name, fact]): [string, CedarValueJson] => {
    const type = PATH_FACTS.get(name);
    if (type) return [name, { __entity: path(String(fact), type) }];
    if (ADDRESS_FACTS.has(name)) return [name, { __extn: { fn: "ip", arg: String(fact) } }];
    return [name, cedarValue(fact)];
  });
  return {
    principal: who,
    action: { type: "Glovebox::Action", id: action },
    resource: acted(resource),
    context: Object.fromEntries(facts),
    entities,
    preparsedSchemaName: SCHEMA_NAME,
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
