import { z } from "zod";

/** More is no limit; in bytes it is still a number that Cedar and JavaScript have exactly. */
const MOST = 1_000_000_000;

const limit = z.int().min(1).max(MOST).optional();

/** Of a principal or a session, over sliding windows; what is left out is not limited. */
const limits = {
  callsPerMinute: limit,
  callsPerHour: limit,
  callsPerDay: limit,
  /** How long calls took, all of them together. */
  runSecondsPerHour: limit,
  runSecondsPerDay: limit,
  /** What the sandbox sends and receives. */
  egressMiBPerHour: limit,
  egressMiBPerDay: limit,
  /** Files of packages that enter the sandbox. */
  packagesPerHour: limit,
  packagesPerDay: limit,
};

/** How much may be used: a bundle's `profile.yaml`, at `budgets`. */
export const budgetsSchema = z.strictObject({
  /** All sessions together, those of other gateways of the same user too. */
  principal: z.strictObject({ ...limits, /** Open at once. */ sessions: limit }).prefault({}),
  session: z.strictObject(limits).prefault({}),
});
export type BudgetLimits = z.output<typeof budgetsSchema>;
