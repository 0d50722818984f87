import { join } from "node:path";
import { timeAt } from "../extent.ts";
import { listChains, listSegments, readLines, segmentName } from "../files.ts";

const HOUR_MS = 3_600_000;
const WEEK_MS = 168 * HOUR_MS;
const TIME = /"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)","version":1\}$/;
/** What stands behind a line's time, and the time. */
const TIME_BYTES = 48;

/**
 * Whether a clock may be believed when it says that records are old. One that jumped, to 2040 say, would have everything removed: so something must
 * have been recorded by the same clock some time ago, a week where records are kept for long, and not more than four times as long. A computer that
 * was switched off for long, or whose clock has jumped, waits for so long. LIMIT: a clock that stays wrong for so long is believed, as no record tells it from one that is right.
 */
export async function isClockSettled(auditDirectory: string, nowMs: number, keptMs: number): Promise<boolean> {
  const leadMs = Math.min(WEEK_MS, keptMs / 2);
  const [fromMs, toMs] = [nowMs - 4 * leadMs, nowMs - leadMs];
  for (const chain of (await listChains(auditDirectory)).reverse()) {
    const directory = join(auditDirectory, chain);
    for (const segment of (await listSegments(directory)).reverse()) {
      const path = join(directory, segmentName(segment));
      const first = Date.parse((await timeAt(path, 0)) ?? "");
      if (first >= fromMs && first <= toMs) return true;
      // Younger as a whole, as far as clocks are kept: those before it may have been written then.
      if (first > toMs) continue;
      if (await hasRecordFrom(path, fromMs, toMs)) return true;
      break;
    }
  }
  return false;
}

async function hasRecordFrom(path: string, fromMs: number, toMs: number): Promise<boolean> {
  for await (const lines of readLines(path)) {
    for (const { bytes } of lines) {
      const [, time = ""] = TIME.exec(bytes.subarray(-TIME_BYTES).toString("latin1")) ?? [];
      const atMs = Date.parse(time);
      if (atMs >= fromMs && atMs <= toMs) return true;
    }
  }
  return false;
}
