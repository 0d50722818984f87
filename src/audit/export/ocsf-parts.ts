import { isIP } from "node:net";
import type { DecidingPolicy } from "../../policy/decision.ts";
import type { Principal } from "../../policy/request.ts";
import { type Facts, present, textIn, textsIn } from "../facts.ts";
import type { AuditRecord, IntentBody, Json } from "../record.ts";
import type { KnownSession } from "./recollection.ts";

type Part = { readonly [name: string]: Json };

/** OCSF's `user.type_id`: a person's account. */
const USER = 1;
/** OCSF's `type_id` of devices and endpoints: a virtual machine. */
const VIRTUAL = 6;
/** OCSF's `ip_t` has no more characters. */
const MAX_ADDRESS_CHARS = 40;

export function userOf(id: string): Part {
  return { type: "User", type_id: USER, uid: id };
}

/** Who calls, through which MCP client, in which session. */
export function callerOf({ id, client }: Principal, sessionId?: string): Part {
  return present({
    app_name: client.name === "" ? undefined : client.name,
    app_uid: [client.name, client.version].filter((it) => it !== "").join("/") || undefined,
    session: sessionId === undefined ? undefined : { uid: sessionId },
    user: userOf(id),
  });
}

/** Of what a gateway does by itself, or for somebody of whom the log has not told yet. */
export function gatewayOf({ gateway }: AuditRecord, sessionId?: string): Part {
  return present({
    app_name: "Glovebox",
    app_uid: gateway,
    session: sessionId === undefined ? undefined : { uid: sessionId },
  });
}

export function actorIn(record: AuditRecord, known: KnownSession | undefined): Part {
  const { sessionId } = record.body;
  return known?.owner ? callerOf(known.owner, sessionId) : gatewayOf(record, sessionId);
}

/** The sandbox as a device: what an agent did, it did there, and not on the computer that the gateway runs on. */
export function sandboxOf(sessionId: string | undefined, known: KnownSession | undefined): Part {
  const { machineId, engine, engineVersion, bootId, kernelRelease } = known ?? {};
  const hypervisor = [engine, engineVersion].filter((it) => it !== undefined).join(" ");
  return present({
    boot_uid: bootId,
    hypervisor: hypervisor === "" ? undefined : hypervisor,
    instance_uid: machineId,
    name: "Glovebox sandbox",
    os: kernelRelease === undefined ? undefined : { kernel_release: kernelRelease, name: "Linux", ...LINUX },
    type: "Virtual",
    type_id: VIRTUAL,
    uid: sessionId,
  });
}

const LINUX = { type: "Linux", type_id: 200 };

export function sandboxEndpoint(sessionId: string | undefined, port?: number): Part {
  return present({ name: "Glovebox sandbox", port, type: "Virtual", type_id: VIRTUAL, uid: sessionId });
}

/** Where a connection goes; a host that is an address is told as one. */
export function endpointOf(host: string | undefined, port: number | undefined, address?: string): Part {
  const ip = [address, host].find((it) => it !== undefined && isAddress(it));
  const hostname = host === undefined || isAddress(host) ? undefined : host;
  const named = ip === undefined && hostname === undefined ? "unknown" : undefined;
  return present({ hostname, ip, name: named, port });
}

function isAddress(text: string): boolean {
  return text.length <= MAX_ADDRESS_CHARS && !text.includes("%") && isIP(text) !== 0;
}

/** The bundle that was in force. */
export function bundlePolicy({ name, version, digest }: Omit<IntentBody["bundle"], "layers">): Part {
  return { is_applied: true, name, type: "Glovebox policy bundle", uid: digest, version };
}

/** What each policy said that took part, those in shadow mode too: these were not applied. */
export function authorizationsOf({ policies, shadow }: Pick<IntentBody, "policies" | "shadow">): Part[] {
  const due = (shadow ?? []).flatMap((it) =>
    it.policies.map((policy) => ({ decision: `would ${it.would}`, policy: rule(policy, false) })),
  );
  return [...policies.map((it) => ({ decision: it.effect, policy: rule(it, true) })), ...due];
}

function rule({ id, reason, layer }: DecidingPolicy, isApplied: boolean): Part {
  return present({
    desc: reason,
    group: layer === undefined ? undefined : { name: layer, type: "layer" },
    is_applied: isApplied,
    type: "Cedar policy",
    uid: id,
  });
}

/** The first of the policies by which a connection or package was decided; the rest stand in `unmapped`. */
export function firewallRule(facts: Facts): Part | undefined {
  const [first] = textsIn(facts, "policies");
  return first === undefined ? undefined : { type: "Cedar policy", uid: first };
}

/** What the events of one call, or else of one session, have in common. */
export function correlationOf({ body }: AuditRecord, facts: Facts): string | undefined {
  const calls = textsIn(facts, "calls");
  return body.callId ?? (calls.length === 1 ? calls[0] : body.sessionId);
}

/** The digest that a record has of a content: SHA-256, or a keyed one, which no receiver can compare but with another of the same gateway's. */
export function contentHash(facts: Facts): Part | undefined {
  const keyed = textIn(facts, "hmacSha256");
  if (keyed === undefined || !/^[0-9a-f]{64}$/.test(keyed)) return sha256Of(textIn(facts, "sha256"));
  return { algorithm: "HMAC-SHA-256", algorithm_id: 99, value: keyed };
}

export function sha256Of(value: string | undefined): Part | undefined {
  return value !== undefined && /^[0-9a-f]{64}$/.test(value)
    ? { algorithm: "SHA-256", algorithm_id: 3, value }
    : undefined;
}
