import type { StoreConnection } from "./postgres-connection.ts";

const DAY_MS = 86_400_000;
/** So many days from today have their partition before there is a record of them: a reader who holds tables up for a day does no harm. */
const DAYS_AHEAD = 7;
/** When one could not be made; records of that day go to where those without a partition go. */
const RETRY_MS = 60_000;
/**
 * What a delivery may lose, in all, by asking for partitions that can't be had. Less than what the server waits for a reader, who holds up
 * all days alike; more than it takes to say that a day is too long ago, which says nothing of the others.
 */
const MAX_LOST_MS = 1_000;
/** A gateway whose clock runs wild does not make this one's memory grow. */
const MAX_KNOWN = 2_000;

/** The day of a record's time, in UTC: a partition's. Undefined for what no calendar has, or no computer had. */
export function dayOf(time: string): string | undefined {
  return Date.parse(time) >= 0 ? time.slice(0, 10) : undefined;
}

/** Which days have partitions, as far as one gateway knows. */
export class PartitionDays {
  readonly #schema: string;
  /** When it is worth to ask for one again, ms; Infinity: it is there. */
  readonly #askAtMs = new Map<string, number>();

  constructor(schema: string) {
    this.#schema = schema;
  }

  /** Has partitions made for these days and the next ones, where they are missing and can be had, until too much time is lost with asking. */
  async ensure(connection: StoreConnection, days: readonly (string | undefined)[], signal: AbortSignal): Promise<void> {
    if (this.#askAtMs.size > MAX_KNOWN) this.#askAtMs.clear();
    let lostMs = 0;
    for (const day of new Set(days)) {
      if (day === undefined) continue;
      const askedAtMs = performance.now();
      if (!(await this.#ensureDay(connection, day, signal))) lostMs += performance.now() - askedAtMs;
      if (lostMs > MAX_LOST_MS) return;
    }
    const nowMs = Date.now();
    for (let ahead = 0; ahead <= DAYS_AHEAD; ahead++) {
      const day = new Date(nowMs + ahead * DAY_MS).toISOString().slice(0, 10);
      // Not one after the other when readers hold tables up.
      if (!(await this.#ensureDay(connection, day, signal))) break;
    }
  }

  async #ensureDay(connection: StoreConnection, day: string, signal: AbortSignal): Promise<boolean> {
    const askAtMs = this.#askAtMs.get(day) ?? 0;
    if (askAtMs > performance.now()) return askAtMs === Number.POSITIVE_INFINITY;
    const ask = `SELECT ${this.#schema}.ensure_day($1) AS made`;
    const { rows } = await connection.query<{ made: boolean }>(ask, [day], signal);
    const made = rows[0]?.made === true;
    this.#askAtMs.set(day, made ? Number.POSITIVE_INFINITY : performance.now() + RETRY_MS);
    return made;
  }
}
