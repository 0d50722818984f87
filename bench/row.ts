/** One line of the table: a measurement beside what it is compared with, taken in the same run. */
export interface Row {
  readonly name: string;
  readonly value: Spread;
  readonly unit: Unit;
  readonly baseline: string;
  readonly baselineValue: Spread;
  /** Of the medians: `value / baselineValue`. */
  readonly ratio: number;
}

export type Unit = "ms" | "tokens" | "records/s" | "calls/s" | "MB/s" | "MiB" | "sessions";

/** Percentiles of the samples. */
export interface Spread {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly samples: number;
}

export function row(
  name: string,
  values: readonly number[],
  unit: Unit,
  baseline: string,
  baselineValues: readonly number[],
): Row {
  const [value, baselineValue] = [spread(values), spread(baselineValues)];
  return { name, value, unit, baseline, baselineValue, ratio: value.p50 / baselineValue.p50 };
}

function spread(values: readonly number[]): Spread {
  return { p50: median(values), p95: percentile(values, 0.95), p99: percentile(values, 0.99), samples: values.length };
}

/** The middle of the sorted values; of an even count, the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The smallest value that at least this share of the values does not exceed. */
function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Milliseconds that `run` takes. */
export async function timed(run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await run();
  return performance.now() - startedMs;
}
