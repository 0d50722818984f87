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
}

/** A policy that comes into force with this record; `undefined` of another. */
export function policyFrom(record: AuditRecord): PolicyInForce | undefined {
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
