import { isIP } from "node:net";
import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { ConnectPolicy } from "./bundle.ts";
import { hostAncestors } from "./host.ts";
import { isPublicSuffix } from "./host-pattern.ts";
import { isNode, nodesOf } from "./literals.ts";

/** What a policy that can apply to connections says about them before there is one. */
export function connectPolicy(policy: PolicyJson): ConnectPolicy {
  return { hosts: hostsOf(policy), readsRequests: nodesOf(policy.conditions).some(isAboutRequest) };
}

function hostsOf({ resource, conditions }: PolicyJson): ConnectPolicy["hosts"] {
  if ("entity" in resource && (resource.op === "==" || resource.op === "in")) {
    const { entity } = resource;
    const id = "id" in entity ? entity.id : entity.__entity.id;
    return { kind: resource.op === "in" ? "in" : "is", host: id };
  }
  return { kind: conditions.some(({ kind, body }) => kind === "when" && demandsRange(body)) ? "addresses" : "all" };
}

/** `context.method`, `context has path`: Cedar's JSON has both as an object with the attribute's name. */
function isAboutRequest(node: Readonly<Record<string, unknown>>): boolean {
  return [node["."], node["has"]].some((it) => isNode(it) && (it["attr"] === "method" || it["attr"] === "path"));
}

/** What is wrong with a permit of connections that names no hosts, or those of many owners. */
export function overBroad(policy: PolicyJson, { hosts }: ConnectPolicy): { message: string; fix: string } | undefined {
  if (policy.effect !== "permit" || hosts.kind === "addresses") return undefined;
  if (hosts.kind === "all") {
    const message = "it permits connections to every host";
    const fix =
      'name the hosts in its head (`resource == Glovebox::Host::"…"` or `resource in …`), or leave `connect` out of its actions, as `resource is Glovebox::Session` does';
    return { message, fix };
  }
  if (hosts.kind === "is" || !isPublicSuffix(hosts.host)) return undefined;
  return {
    message: `\`${hosts.host}\` is a public suffix: it would be hosts of many owners`,
    fix: "name a domain below it",
  };
}

/** Whether a condition holds for nothing but addresses in some range, and so for no name. */
function demandsRange(condition: unknown): boolean {
  if (!isNode(condition)) return false;
  const { "&&": both, "||": either } = condition;
  if (isNode(both)) return demandsRange(both["left"]) || demandsRange(both["right"]);
  if (isNode(either)) return demandsRange(either["left"]) && demandsRange(either["right"]);
  const { isInRange: operands } = condition;
  return Array.isArray(operands) && isAddress(operands[0]);
}

/** `context.address`. */
function isAddress(node: unknown): boolean {
  if (!isNode(node) || !isNode(node["."])) return false;
  const { left, attr } = node["."];
  return attr === "address" && isNode(left) && left["Var"] === "context";
}

/** Whether the policy can be about this host, in its one spelling. */
export function isAbout({ hosts }: ConnectPolicy, host: string): boolean {
  if (hosts.kind === "all") return true;
  if (hosts.kind === "addresses") return isIP(host) !== 0;
  if (hosts.host === host) return true;
  return hosts.kind === "in" && hostAncestors(host).includes(hosts.host);
}
