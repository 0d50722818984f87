/** Of calls. */
export interface Tally {
  readonly calls: number;
  /** By policy; not those that a person refused. */
  readonly denied: number;
  /** Those that policy left to a person, whatever the answer was. */
  readonly asked: number;
  /** Those whose arguments did not fit. */
  readonly invalid: number;
  /** Those that ended with an error. */
  readonly errors: number;
  readonly interrupted: number;
  /** Of those that ended by themselves; absent when none did. */
  readonly medianMs?: number;
  readonly p95Ms?: number;
}

interface Call {
  readonly decided: unknown;
  /** Null while it has not ended. */
  readonly status: unknown;
  readonly durationMs: number;
}

/** A tally in the making. */
export interface Counts {
  calls: number;
  denied: number;
  asked: number;
  invalid: number;
  errors: number;
  interrupted: number;
  readonly durationsMs: number[];
}

export function emptyCounts(): Counts {
  return { calls: 0, denied: 0, asked: 0, invalid: 0, errors: 0, interrupted: 0, durationsMs: [] };
}

export function addCall(counts: Counts, { decided, status, durationMs }: Call): void {
  counts.calls += 1;
  if (decided === "deny") counts.denied += 1;
  if (decided === "ask") counts.asked += 1;
  if (decided === "invalid") counts.invalid += 1;
  if (status === "error") counts.errors += 1;
  if (status === "interrupted") counts.interrupted += 1;
  if (status === "ok" || status === "error") counts.durationsMs.push(durationMs);
}

export function tallyOf({ durationsMs, ...counts }: Counts): Tally {
  const sorted = Float64Array.from(durationsMs).sort();
  const [medianMs, p95Ms] = [percentile(sorted, 0.5), percentile(sorted, 0.95)];
  return { ...counts, ...(medianMs !== undefined && p95Ms !== undefined && { medianMs, p95Ms }) };
}

/** The smallest value that at least this share of the values does not exceed. */
function percentile(sorted: Float64Array, share: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}
