import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { z } from "zod";
import type { Policy } from "./layer.ts";
import { isNode, nodesOf } from "./literals.ts";

/** How far the receivers of the audit log are behind it, when a request is decided: the slowest of them. */
export interface LoggingFacts {
  readonly lagRecords: number;
  /** Age of the oldest record that a receiver has not confirmed; whole seconds. */
  readonly lagSeconds: number;
}

/** Nothing is behind; what would-be calls are decided with. */
export const NO_LAG: LoggingFacts = { lagRecords: 0, lagSeconds: 0 };

/** More than any limit: where nobody receives the log, a policy that asks how far it is behind must not take that for "up to date". */
export const MOST_LAG = 1_000_000_000;
export const NOBODY_RECEIVES: LoggingFacts = { lagRecords: MOST_LAG, lagSeconds: MOST_LAG };

const most = z.int().min(1).max(MOST_LAG).optional();

/** A bundle's `profile.yaml`, at `logging`: how far the receivers may be behind before new calls are denied. */
export const loggingSchema = z.strictObject({ maxLagSeconds: most, maxLagRecords: most });
export type LoggingLimits = z.output<typeof loggingSchema>;

/** Whether a policy reads `principal.logging`. */
export function lagRead({ conditions }: PolicyJson): boolean {
  return nodesOf(conditions).some(({ ".": access }) => {
    if (!isNode(access) || access["attr"] !== "logging") return false;
    return isNode(access["left"]) && access["left"]["Var"] === "principal";
  });
}

/** Whether anything in force depends on it: else nobody has to ask. */
export function readsLag({ layers, shadows }: Pick<Policy, "layers" | "shadows">): boolean {
  return [...layers, ...shadows].some(({ bundle }) => [...bundle.policies.values()].some((it) => it.readsLag));
}
