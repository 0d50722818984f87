/** One line of the table: a measurement beside what it is compared with, taken in the same run. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: "ms" | "records/s" | "MB/s";
  readonly baseline: string;
  readonly baselineValue: number;
  /** `value / baselineValue`. */
  readonly ratio: number;
}

export function row(name: string, value: number, unit: Row["unit"], baseline: string, baselineValue: number): Row {
  return { name, value, unit, baseline, baselineValue, ratio: value / baselineValue };
}

/** The middle of the sorted values; of an even count, the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

/** Milliseconds that `run` takes. */
export async function timed(run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await run();
  return performance.now() - startedMs;
}
