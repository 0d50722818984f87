import type { BundlePolicy } from "../policy/bundle.ts";
import type { DecidingPolicy, Decision } from "../policy/decision.ts";
import type { Policy } from "../policy/layer.ts";
import type { Budgets, Spender } from "./budgets.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Finds the policy that a decision names. */
export type FindPolicy = (decider: DecidingPolicy) => BundlePolicy | undefined;

export function policyFinder({ layers }: Policy): FindPolicy {
  return ({ id, layer }) => {
    const [place] = layer === undefined ? layers : layers.filter((it) => it.name === layer);
    return place?.bundle.policies.get(id);
  };
}

/**
 * When what was denied need not be denied any more, if nothing more is used meanwhile: `frees up at 14:05:00Z (in 12 minutes)`. Only where
 * every policy that decided depends on what was used, and time alone changes that. Where one doesn't say by which number it denies, that is
 * when its counter begins to fall.
 * @throws GatewayError BUDGETS_UNREADABLE
 */
export function reliefOf(
  { outcome, policies, problems }: Decision,
  find: FindPolicy,
  budgets: Pick<Budgets, "freesAt" | "nowMs">,
  of: Spender,
): string | undefined {
  if (outcome !== "deny" || policies.length === 0 || problems.length > 0) return undefined;
  const found = policies.map(find);
  const moments = found.map((it) => it && budgets.freesAt(it.usage, of, it.usageLimit));
  if (!moments.every((it) => it !== undefined)) return undefined;
  const atMs = Math.max(...moments);
  const begins = found.every((it) => it?.usageLimit !== undefined) ? "frees up" : "begins to free up";
  return `${begins} at ${timeText(atMs, budgets.nowMs())}`;
}

/** The day only where it is another one. */
function timeText(atMs: number, nowMs: number): string {
  const at = new Date(atMs).toISOString().replace(/\.\d+Z$/, "Z");
  const isToday = at.slice(0, 10) === new Date(nowMs).toISOString().slice(0, 10);
  return `${isToday ? at.slice(11) : at} (in ${durationText(Math.max(0, atMs - nowMs))})`;
}

/** Rounded up: who comes back then is not too early. */
function durationText(durationMs: number): string {
  const of = (unitMs: number, name: string) => {
    const count = Math.ceil(durationMs / unitMs);
    return `${count} ${name}${count === 1 ? "" : "s"}`;
  };
  if (durationMs <= 90 * SECOND_MS) return of(SECOND_MS, "second");
  return durationMs <= 90 * MINUTE_MS ? of(MINUTE_MS, "minute") : of(HOUR_MS, "hour");
}
