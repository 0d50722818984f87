import type { AuditRecord } from "../audit/record.ts";
import type { Head } from "./chain-read.ts";
import { eventOf, factOf, textOf } from "./facts.ts";
import { line } from "./tally.ts";

/** Which policy was in force from a record on. */
export interface PolicyInForce extends Head {
  readonly gateway: string;
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  /** It came into force before the time that is asked for, and nothing on record ended it by then. */
  readonly atBeginning?: true;
}

export interface PoliciesSeen {
  /** Is given each record of a chain, in order. `counts`: it is of the time that is asked for. */
  see(record: AuditRecord, counts: boolean): void;
  all(): readonly PolicyInForce[];
}

/** Which policies of a chain were in force in a time. @param sinceMs milliseconds since 1970, when that time begins */
export function startPolicies(sinceMs = Number.NEGATIVE_INFINITY): PoliciesSeen {
  const loaded: PolicyInForce[] = [];
  let before: PolicyInForce | undefined;
  let gateway = "";
  let hasBegun = false;
  return {
    see: (record, counts) => {
      const policy = policyFrom(record);
      if (policy && counts) loaded.push(policy);
      if (hasBegun) return;
      // Gateways write a chain one after the other: where another writes, the one before has ended, whether or not it could say so.
      if (record.gateway !== gateway) before = undefined;
      gateway = record.gateway;
      hasBegun = Date.parse(record.time) >= sinceMs;
      if (hasBegun) return;
      if (policy) before = { ...policy, atBeginning: true };
      else if (eventOf(record, "gateway-stopped")) before = undefined;
    },
    all: () => (before ? [before, ...loaded] : loaded),
  };
}

/** A policy that comes into force with this record; `undefined` of another. */
function policyFrom(record: AuditRecord): PolicyInForce | undefined {
  const event = eventOf(record, "gateway-started", "policy-loaded");
  const bundle = event && factOf(event.facts, "bundle");
  const digest = textOf(bundle, "digest");
  if (digest === undefined) return undefined;
  const { chain, seq, hash, time, gateway } = record;
  const [name, version] = [textOf(bundle, "name") ?? "", textOf(bundle, "version") ?? ""];
  return {
    chain,
    seq,
    hash,
    time,
    gateway: line(gateway, 60),
    name: line(name, 200),
    version: line(version, 200),
    digest: line(digest, 100),
  };
}
