import { InvalidArgumentError } from "commander";
import { z } from "zod";
import { GatewayError } from "../errors.ts";

const momentSchema = z.union([z.iso.date(), z.iso.datetime({ offset: true })]);
const UNIT_MS = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/**
 * A moment as a person types it: `2026-11-20`, which begins at 0:00 UTC, `2026-11-20T10:00Z`, or how long ago: `30m`, `2h`, `7d`, `4w`.
 * Milliseconds since 1970.
 * @throws InvalidArgumentError
 */
export function parseMoment(text: string): number {
  const [, count, unit = ""] = /^(\d{1,6})([mhdw])$/.exec(text) ?? [];
  if (count !== undefined) return Date.now() - Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  // Without seconds, too.
  const parsed = momentSchema.safeParse(text.replace(/^(\d{4}-\d\d-\d\dT\d\d:\d\d)(Z|[+-]\d\d:\d\d)$/, "$1:00$2"));
  if (parsed.success) return Date.parse(parsed.data);
  throw new InvalidArgumentError(
    "give a date (2026-11-21, which begins at 0:00 UTC), a time (2026-11-21T09:30Z) or how long ago (30m, 2h, 7d, 4w)",
  );
}

/**
 * For a span of time in which something can lie: what is asked for from `since` on and before `until` is else nothing, whatever the log has.
 * @throws GatewayError INVALID_ARGUMENTS
 */
export function requireSpan(since: number | undefined, until: number | undefined): void {
  if (since === undefined || until === undefined || since < until) return;
  throw new GatewayError("INVALID_ARGUMENTS", "--until has to be later than --since");
}
