import type { DecidingPolicy, Decision } from "../policy/decision.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import type { Asked, SessionGrant } from "./approval.ts";
import { patternOf } from "./pattern.ts";

/** A grant ends with its session, and after so long at the latest. */
export const MAX_GRANT_MS = 8 * 60 * 60 * 1_000;

/** What a person allowed for the rest of a session, with all that it is bound to. */
export interface Grant extends SessionGrant {
  /** Of the question. */
  readonly digest: string;
  readonly sessionId: string;
  readonly principal: Principal;
  readonly action: string;
  /** Of the pattern. */
  readonly key: string;
  readonly askers: string;
  readonly expiresAtMs: number;
}

/** Whether a grant lets this through: everything but the pattern has to be the very same. Pure. */
export function covers(grant: Grant, asked: Asked, nowMs: number): boolean {
  const { request, decision, sessionId } = asked;
  return (
    nowMs < grant.expiresAtMs &&
    grant.sessionId === sessionId &&
    samePrincipal(grant.principal, request.principal) &&
    grant.action === request.action &&
    grant.askers === askersOf(decision) &&
    grant.key === patternOf(asked)?.key
  );
}

/** Whether nothing has changed in the layers that asked. */
export function stillAsks(grant: Grant, bundle: Decision["bundle"]): boolean {
  const layers = new Set(bundle.layers?.map(layerText) ?? [bundle.digest]);
  const asking: readonly (readonly [string, string])[] = JSON.parse(grant.askers);
  return asking.every(([, layer]) => layers.has(layer));
}

/** The grants of all sessions, those that have ended not among them. */
export class Grants {
  readonly #grants = new Map<string, Grant[]>();

  add(grant: Grant): void {
    const others = this.of(grant.sessionId, Date.parse(grant.grantedAt)).filter(
      (it) => it.key !== grant.key || it.askers !== grant.askers,
    );
    this.#grants.set(grant.sessionId, [...others, grant]);
  }

  covering(asked: Asked, nowMs: number): Grant | undefined {
    return this.of(asked.sessionId, nowMs).find((it) => covers(it, asked, nowMs));
  }

  of(sessionId: string, nowMs: number): readonly Grant[] {
    return (this.#grants.get(sessionId) ?? []).filter((it) => nowMs < it.expiresAtMs);
  }

  forget(sessionId: string): void {
    this.#grants.delete(sessionId);
  }
}

/** The grant that an answer gives; `undefined` where a request has no pattern. */
export function grantOf(
  asked: Asked,
  by: Pick<Grant, "approvalId" | "digest" | "approver"> & { readonly nowMs: number },
): Grant | undefined {
  const { request, decision, sessionId } = asked;
  const pattern = patternOf(asked);
  if (pattern === undefined) return undefined;
  const { nowMs, ...given } = by;
  const expiresAtMs = nowMs + MAX_GRANT_MS;
  return {
    ...given,
    sessionId,
    principal: request.principal,
    action: request.action,
    key: pattern.key,
    pattern: pattern.text,
    askers: askersOf(decision),
    grantedAt: new Date(nowMs).toISOString(),
    expiresAt: new Date(expiresAtMs).toISOString(),
    expiresAtMs,
  };
}

/** The policies that ask, each with what its layer is in force as: another version of it asks anew. */
function askersOf({ policies, bundle }: Decision): string {
  const layerOf = ({ layer }: DecidingPolicy) => {
    const known = bundle.layers?.find((it) => it.layer === layer);
    return known ? layerText(known) : bundle.digest;
  };
  return JSON.stringify(policies.map((it) => [it.id, layerOf(it)]).toSorted());
}

function layerText({ layer, digest }: { readonly layer: string; readonly digest: string }): string {
  return `${layer} ${digest}`;
}

function samePrincipal(a: PolicyRequest["principal"], b: Principal): boolean {
  return a.id === b.id && a.client.name === b.client.name && a.transport === b.transport;
}
