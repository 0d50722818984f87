import { type BundlePolicy, enforcedPolicies } from "../policy/bundle.ts";
import { type Connection, connectRequest } from "../policy/connect.ts";
import { isAbout } from "../policy/connect-policy.ts";
import type { Decision } from "../policy/decision.ts";
import type { Policy, PolicyLayer } from "../policy/layer.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import { type Verdict, verdictOf } from "../policy/verdict.ts";

/** Where a connection leads, in its one spelling. */
export type Target = Pick<Connection, "host" | "port" | "scheme">;

export interface GatePorts {
  /** What is in force now. */
  readonly policy: () => Pick<Policy, "layers">;
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
  /** Hosts that policy permits, as it names them. */
  readonly grants: readonly string[];
  /** Of a connection whose requests are not read. */
  connection(target: Target): Verdict;
  request(target: Target, request: NonNullable<Connection["request"]>): Verdict;
}

export function createGate({ policy, decide, principal, hasSecret }: GatePorts): Gate {
  const ask = (connection: Connection) => {
    const request = connectRequest(principal, connection);
    return verdictOf(request, decide(request));
  };
  return {
    readsRequests: (host) =>
      hasSecret(host) ||
      policy().layers.some((layer) =>
        policiesOf(layer).some(({ connect }) => connect?.readsRequests && isAbout(connect, host)),
      ),
    mayPermit: (host) => policy().layers.every((layer) => mayPermit(layer, host)),
    get grants() {
      return grantsOf(policy());
    },
    connection: ask,
    request: (target, request) => ask({ ...target, request }),
  };
}

/**
 * Hosts to which policy permits connections, as it names them; conditions may narrow that. Of several layers: what one of them names and none
 * of the others rules out.
 */
export function grantsOf({ layers }: Pick<Policy, "layers">): string[] {
  const names = layers.map((layer) => [...new Set(policiesOf(layer).flatMap(grantOf))]);
  const all = [...new Set(names.flat())].filter((it) => it !== ANY_HOST);
  const named = all.filter((name) => layers.every((layer, index) => fits(layer, names[index] ?? [], name)));
  const isAny = layers.length > 0 && names.every((it) => it.includes(ANY_HOST));
  return isAny ? [ANY_HOST, ...named] : named;
}

/** Whether TLS to any host ends at the proxy because a policy reads requests. */
export function readsAnyRequests({ layers }: Pick<Policy, "layers">): boolean {
  return layers.some((layer) => policiesOf(layer).some(({ connect }) => connect?.readsRequests));
}

const ANY_HOST = "any host";

/** Whether a layer permits all that another one's grant names. */
function fits(layer: PolicyLayer, own: readonly string[], name: string): boolean {
  if (own.includes(name) || own.includes(ANY_HOST)) return true;
  const host = name.replace(/^\*\./, "");
  return policiesOf(layer).some(
    ({ effect, connect }) => effect === "permit" && connect?.hosts.kind === "in" && isAbout(connect, host),
  );
}

function mayPermit(layer: PolicyLayer, host: string): boolean {
  return policiesOf(layer).some(({ connect, effect }) => effect === "permit" && connect && isAbout(connect, host));
}

function policiesOf({ bundle }: PolicyLayer): readonly BundlePolicy[] {
  return enforcedPolicies(bundle);
}

function grantOf({ effect, connect, id }: BundlePolicy): string[] {
  if (effect !== "permit" || !connect) return [];
  const { hosts } = connect;
  if (hosts.kind === "all") return [ANY_HOST];
  if (hosts.kind === "addresses") return [`addresses, by ${id}`];
  return [hosts.kind === "is" ? hosts.host : `*.${hosts.host}`];
}
