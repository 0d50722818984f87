import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import { enforcedPolicies } from "./bundle.ts";
import { isAbout } from "./connect-policy.ts";
import { decide } from "./decide.ts";
import type { Decision } from "./decision.ts";
import type { Policy } from "./layer.ts";
import type { Assumption, PastDecision } from "./past.ts";
import type { PolicyRequest } from "./request.ts";
import { readsUsage } from "./usage-read.ts";

/** Decisions that are remembered, so that what is asked again is not evaluated again. */
const MAX_REMEMBERED = 20_000;

/** A decision that would be another one today. */
export interface Change {
  readonly past: PastDecision;
  readonly now: Decision;
}

/** Grows while the changes are read. */
export interface SimulationTally {
  /** Decided, changed ones included. */
  decided: number;
  changed: number;
  /** Connections whose method and path the policy asks for, which the log does not have. Not decided. */
  withoutRequest: number;
  /** Decided as if nothing had been used, by a policy that asks what was. */
  withoutUsage: number;
  readonly assumed: Map<Assumption, number>;
}

export function emptyTally(): SimulationTally {
  return { decided: 0, changed: 0, withoutRequest: 0, withoutUsage: 0, assumed: new Map() };
}

/** Decides the past by a policy, and yields what changes, in its order. Memory is bounded. */
export async function* simulate(
  policy: Policy,
  past: AsyncIterable<PastDecision>,
  tally: SimulationTally,
): AsyncGenerator<Change> {
  const asksUsage = readsUsage(policy);
  const remembered = new Map<string, Decision>();
  for await (const it of past) {
    const { request, decided, assumed } = it;
    if (lacksRequest(policy, request)) {
      tally.withoutRequest += 1;
      continue;
    }
    if (asksUsage && request.usage === undefined) tally.withoutUsage += 1;
    for (const what of assumed) tally.assumed.set(what, (tally.assumed.get(what) ?? 0) + 1);
    // What nobody asks for would make the same request another one each time.
    const { usage, ...rest } = request;
    const asked = asksUsage && usage ? request : rest;
    const now = remembering(remembered, asked, () => decide(policy, asked));
    tally.decided += 1;
    if (now.outcome === decided) continue;
    tally.changed += 1;
    yield { past: it, now };
  }
}

/** Whether it is a connection as a whole, of which the policy would want to see the requests. */
function lacksRequest({ layers }: Policy, { resource, context }: PolicyRequest): boolean {
  if (resource.type !== "host" || context["method"] !== undefined) return false;
  return layers.some(({ bundle }) =>
    enforcedPolicies(bundle).some(({ connect }) => connect?.readsRequests && isAbout(connect, resource.host)),
  );
}

/** A decision is a function of the request and the policy, so that the request's digest will do for it. */
function remembering(remembered: Map<string, Decision>, request: PolicyRequest, make: () => Decision): Decision {
  const key = createHash("sha256")
    .update(canonicalize(request) ?? "")
    .digest("base64");
  const known = remembered.get(key);
  if (known) return known;
  const made = make();
  const [oldest] = remembered.keys();
  if (remembered.size >= MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
  remembered.set(key, made);
  return made;
}
