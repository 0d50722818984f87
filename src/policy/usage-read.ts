import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Policy } from "./layer.ts";
import { isNode, type Node, nodesOf } from "./literals.ts";
import { USAGE_FACTS } from "./usage.ts";

const SESSION_FACTS = ["openSessions", "sessionIsOpen"] as const;

/**
 * The counters that a policy reads, as `principal.callsLastHour`, `session.egressBytesLastDay`, `openSessions` or `sessionIsOpen`. Those of
 * `principal.usage` are the principal's.
 */
export function usageRead({ conditions }: PolicyJson): string[] {
  return [...new Set(nodesOf(conditions).flatMap(counterOf))].sort();
}

/**
 * What the counter has to come to for the policy to apply, where that is `counter >= number` or `counter > number`, alone or with other
 * conditions that have to hold too, and it reads no other counter.
 */
export function usageLimit(policy: PolicyJson): number | undefined {
  if (usageRead(policy).length !== 1) return undefined;
  const limits = policy.conditions.flatMap(({ kind, body }) => (kind === "when" ? limitsIn(body) : []));
  return limits.length === 0 ? undefined : Math.max(...limits);
}

function limitsIn(condition: unknown): number[] {
  if (!isNode(condition)) return [];
  const { "&&": both, ">=": atLeast, ">": more } = condition;
  if (isNode(both)) return [...limitsIn(both["left"]), ...limitsIn(both["right"])];
  const compared = isNode(atLeast) ? atLeast : more;
  if (!isNode(compared) || !isNode(compared["left"]) || counterOf(compared["left"]).length === 0) return [];
  const number = isNode(compared["right"]) ? compared["right"]["Value"] : undefined;
  return typeof number === "number" ? [isNode(atLeast) ? number : number + 1] : [];
}

/** The counter that a node of Cedar's JSON reads, if it reads one. */
function counterOf(node: Node): string[] {
  const access = attribute(node);
  if (!access) return [];
  if (SESSION_FACTS.some((it) => it === access.attr) && isPrincipal(access.of)) return [String(access.attr)];
  const of = attribute(access.of);
  if (!of || !isPrincipal(of.of) || !USAGE_FACTS.some((it) => it === access.attr)) return [];
  return [`${of.attr === "session" ? "session" : "principal"}.${access.attr}`];
}

/** Cedar's JSON of `of.attr`. */
function attribute(node: unknown): { readonly of: unknown; readonly attr: unknown } | undefined {
  const access: Node[string] = isNode(node) ? node["."] : undefined;
  return isNode(access) ? { of: access["left"], attr: access["attr"] } : undefined;
}

function isPrincipal(node: unknown): boolean {
  return isNode(node) && node["Var"] === "principal";
}

/** Whether anything in force depends on what was used: else nobody needs budgets, and a call does without. */
export function readsUsage({ layers, shadows }: Pick<Policy, "layers" | "shadows">): boolean {
  return [...layers, ...shadows].some(({ bundle }) => [...bundle.policies.values()].some((it) => it.usage.length > 0));
}
