import type { Bundle, BundlePolicy } from "../policy/bundle.ts";
import { type Connection, connectRequest } from "../policy/connect.ts";
import { isAbout } from "../policy/connect-policy.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";

/** Where a connection leads, in its one spelling. */
export type Target = Pick<Connection, "host" | "port" | "scheme">;

export interface Verdict {
  readonly permitted: boolean;
  /** Why not, in words; empty when it is. */
  readonly reason: string;
  /** Ids of the policies that decided; none when nothing grants it. */
  readonly policies: readonly string[];
}

export interface GatePorts {
  readonly bundle: Pick<Bundle, "policies">;
  readonly decide: (request: PolicyRequest) => Decision;
  readonly principal: Principal;
  /** Whether a secret is bound to a host. */
  readonly hasSecret: (host: string) => boolean;
}

/** Policy's word on one session's connections. */
export interface Gate {
  /** Whether its requests have to be read: TLS ends at the proxy. */
  readsRequests(host: string): boolean;
  /** Whether any request to it could be permitted. */
  mayPermit(host: string): boolean;
  /** Hosts that a policy permits, as it names them. */
  readonly grants: readonly string[];
  /** Of a connection whose requests are not read. */
  connection(target: Target): Verdict;
  request(target: Target, request: NonNullable<Connection["request"]>): Verdict;
}

export function createGate({ bundle, decide, principal, hasSecret }: GatePorts): Gate {
  const policies = [...bundle.policies.values()];
  const ask = (connection: Connection) => verdictOf(decide(connectRequest(principal, connection)));
  return {
    readsRequests: (host) =>
      hasSecret(host) || policies.some(({ connect }) => connect?.readsRequests && isAbout(connect, host)),
    mayPermit: (host) =>
      policies.some(({ connect, effect }) => effect === "permit" && connect && isAbout(connect, host)),
    grants: grantsOf(bundle),
    connection: ask,
    request: (target, request) => ask({ ...target, request }),
  };
}

/** Hosts that a policy permits connections to, as it names them; others may narrow that. */
export function grantsOf({ policies }: Pick<Bundle, "policies">): string[] {
  return [...new Set([...policies.values()].flatMap(grantOf))];
}

function grantOf({ effect, connect, id }: BundlePolicy): string[] {
  if (effect !== "permit" || !connect) return [];
  const { hosts } = connect;
  if (hosts.kind === "all" || hosts.kind === "addresses") return [`addresses, by ${id}`];
  return [hosts.kind === "is" ? hosts.host : `*.${hosts.host}`];
}

const NOT_GRANTED = "no policy grants it";

export function verdictOf({ outcome, policies, problems }: Decision): Verdict {
  const ids = policies.map((it) => it.id);
  if (outcome === "permit") return { permitted: true, reason: "", policies: ids };
  if (problems.length > 0)
    return { permitted: false, reason: `policy can't decide it: ${problems.join("; ")}`, policies: ids };
  const reasons = policies.map(({ id, reason }) => reason ?? id);
  return { permitted: false, reason: reasons.join("; ") || NOT_GRANTED, policies: ids };
}
