import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isMissing } from "../../lib/error.ts";
import { parseJson } from "../../lib/json.ts";
import { tryLock } from "../../lib/lock.ts";
import { type Cursor, confirmed, readCursor, replaceFile } from "./cursor.ts";
import { measureBacklog } from "./lag.ts";

/** Below a sink's folder. */
export const SHIP_LOCK_FILE = "lock";
const STATUS_FILE = "status.json";

const time = z.iso.datetime();
const told = z.string().max(4_000);
const reportSchema = z.strictObject({
  version: z.literal(1),
  pid: z.int().min(1),
  /** Left out while the sink could not be opened. */
  target: told.optional(),
  lastSuccess: time.optional(),
  lastError: z.strictObject({ message: told, time }).optional(),
  /** Deliveries in a row that failed, until now; 0: the last was confirmed. */
  failures: z.int().min(0),
  /** Chains of which nothing more can be shipped, and why. */
  stopped: z.array(z.strictObject({ chain: told, problem: told })).max(1_000),
  /** What a person should know besides. */
  notes: z.array(told).max(16),
});

/** What the process that ships says of itself. */
export type Report = z.infer<typeof reportSchema>;

export type SinkState = "current" | "unreached" | "behind" | "failing" | "stopped";

export interface SinkStatus {
  readonly name: string;
  /** To whom it delivers; undefined: nobody has shipped to it yet. */
  readonly target: string | undefined;
  /**
   * `stopped`: of a chain at least nothing more can be shipped until a person has looked at it. `failing`: the last delivery failed, and it is
   * tried again. `behind`: there are records that were not confirmed. `current`: there are none. `unreached`: there are none either, and
   * nothing was ever confirmed, so that nobody knows whether the receiver can be reached.
   */
  readonly state: SinkState;
  /** `seconds` is null where it is not known: records of a chain at least are damaged or gone, and may be missing in the other two. */
  readonly lag: { readonly records: number; readonly bytes: number; readonly seconds: number | null };
  /** Records that were confirmed, each counted once. */
  readonly delivered: number;
  readonly lastSuccess: string | undefined;
  readonly lastError: { readonly message: string; readonly time: string; readonly failures: number } | undefined;
  readonly stopped: readonly { readonly chain: string; readonly problem: string }[];
  readonly notes: readonly string[];
  /** The process that ships; undefined: none does. */
  readonly pid: number | undefined;
}

export async function writeReport(directory: string, report: Report): Promise<void> {
  await replaceFile(join(directory, STATUS_FILE), `${JSON.stringify(reportSchema.parse(report), null, 2)}\n`, "soon");
}

/** How a sink stands. The lag is measured in the log; of the rest, what whoever ships or shipped last has said. */
export async function statusOf(
  name: string,
  { directory, auditDirectory }: { readonly directory: string; readonly auditDirectory: string },
): Promise<SinkStatus> {
  const found = await readCursor(directory);
  const cursor: Cursor = found === "damaged" ? new Map() : found;
  const report = await readReport(directory);
  const { records, bytes, oldestMs, isUnknown } = await measureBacklog(auditDirectory, cursor);
  const seconds = oldestMs === undefined ? 0 : Math.max(0, (Date.now() - oldestMs) / 1000);
  const { target, lastSuccess, lastError, failures = 0, stopped = [], notes = [] } = report ?? {};
  const damaged =
    found === "damaged" ? ["its cursor is damaged: everything will be shipped again, with the same ids"] : [];
  const delivered = [...cursor.values()].reduce((sum, place) => sum + confirmed(place), 0);
  const isBehind = records > 0 || isUnknown;
  const isConfirmed = delivered > 0 || lastSuccess !== undefined;
  return {
    name,
    target,
    state: stateOf({ isBehind, isConfirmed, failures, stopped: stopped.length }),
    lag: { records, bytes, seconds: isUnknown ? null : seconds },
    delivered,
    lastSuccess,
    lastError: lastError && { ...lastError, failures },
    stopped,
    notes: [...notes, ...damaged],
    pid: isShipped(directory) ? report?.pid : undefined,
  };
}

interface Standing {
  readonly isBehind: boolean;
  readonly isConfirmed: boolean;
  readonly failures: number;
  readonly stopped: number;
}

function stateOf({ isBehind, isConfirmed, failures, stopped }: Standing): SinkState {
  if (stopped > 0) return "stopped";
  if (failures > 0) return "failing";
  if (isBehind) return "behind";
  return isConfirmed ? "current" : "unreached";
}

/** What can't be read is no reason to say nothing: it is written anew within a second of the next change. */
export async function readReport(directory: string): Promise<Report | undefined> {
  const text = await readFile(join(directory, STATUS_FILE), "utf8").catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  return text === undefined ? undefined : reportSchema.safeParse(parseJson(text)).data;
}

function isShipped(directory: string): boolean {
  try {
    using lock = tryLock(join(directory, SHIP_LOCK_FILE), 0);
    return lock === undefined;
  } catch {
    // There is no folder yet, or it is a read-only copy.
    return false;
  }
}
