import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { abortable, deadline } from "../../lib/deadline.ts";
import { isHeld } from "../chain.ts";
import { listChains, listSegments } from "../files.ts";
import { readHead } from "../head.ts";
import { type Batch, DeliveryFailed, type Sink } from "../sinks/sink.ts";
import { waitMs } from "./backoff.ts";
import { type Cursor, confirmed, type Place, writeCursor } from "./cursor.ts";
import type { Health } from "./health.ts";
import { type Damage, damaged, type NextBatch, nextBatch } from "./next-batch.ts";
import { endsAt, isAt, problemAt } from "./standing.ts";
import { Turn } from "./turns.ts";

/** What a driver may take to let go of a delivery that was aborted. */
const LET_GO_MS = 5_000;

export interface VoyageOptions {
  readonly auditDirectory: string;
  /** The sink's own. */
  readonly directory: string;
  readonly cursor: Cursor;
  readonly sink: Sink;
  readonly health: Health;
  readonly deliveryMs: number;
  /** Aborts what is under way. */
  readonly signal: AbortSignal;
}

/** Shipping to a sink that is open, from a cursor on: all chains of the log, a batch of each in turn. */
export class Voyage {
  readonly #options: VoyageOptions;
  readonly #turns = new Map<string, Turn>();
  #cursor: Cursor;
  /** The receiver has asked to be left alone until then. */
  #quietUntilMs = 0;

  constructor(options: VoyageOptions) {
    this.#options = options;
    this.#cursor = options.cursor;
  }

  get cursor(): Cursor {
    return this.#cursor;
  }

  /** Deliveries in a row that failed, of the chain that has most. */
  get failures(): number {
    return Math.max(0, ...[...this.#turns.values()].map((it) => it.failures));
  }

  /** Of which nothing more can be shipped. */
  get stopped(): { chain: string; problem: string }[] {
    return [...this.#turns].flatMap(([chain, { damage }]) =>
      damage === undefined ? [] : [{ chain, problem: damage }],
    );
  }

  /** Whether something is to be tried again soon. */
  get isUnsettled(): boolean {
    return [...this.#turns.values()].some((it) => it.failures > 0 || it.isSuspect);
  }

  /** Nothing is waited for in the next round, but what the receiver has asked for. */
  hurry(): void {
    for (const turn of this.#turns.values()) turn.hurry();
  }

  /**
   * Delivers a batch of each chain that has one; says whether any was confirmed. A chain that can't be read holds up no other.
   * @throws when the cursor can't be written, or the log's directory not be read
   */
  async round(): Promise<boolean> {
    const { auditDirectory, signal } = this.#options;
    const chains = await listChains(auditDirectory);
    for (const [chain, place] of this.#cursor) {
      if (!chains.includes(chain))
        this.#turn(chain).damaged(`${chain}, of which ${confirmed(place)} records were shipped, is missing`);
    }
    // Gone before anything of it was shipped.
    for (const chain of this.#turns.keys()) {
      if (!chains.includes(chain) && !this.#cursor.has(chain)) this.#turns.delete(chain);
    }
    let moved = false;
    for (const chain of chains) {
      if (signal.aborted) break;
      const now = performance.now();
      if (now < this.#quietUntilMs || !this.#turn(chain).mayTry(now)) continue;
      if (await this.#take(chain)) moved = true;
    }
    return moved;
  }

  #turn(chain: string): Turn {
    const known = this.#turns.get(chain);
    if (known) return known;
    const turn = new Turn();
    this.#turns.set(chain, turn);
    return turn;
  }

  async #take(chain: string): Promise<boolean> {
    const turn = this.#turn(chain);
    let next: NextBatch | Damage | "sound" | undefined;
    try {
      next = await this.#next(chain, turn);
    } catch (error) {
      turn.failed(turn.repeat, undefined);
      this.#options.health.failed(error);
      return false;
    }
    if (next === undefined || next === "sound") {
      turn.succeeded();
      if (next === "sound") turn.sound();
      return false;
    }
    if ("damage" in next) {
      turn.damaged(next.damage);
      return false;
    }
    turn.sound();
    const { batch, place } = next;
    try {
      await this.#deliver(batch);
    } catch (error) {
      if (!this.#options.signal.aborted) this.#failed(error, turn, batch.entries.length);
      return false;
    }
    turn.delivered();
    this.#options.health.succeeded();
    await this.#move(chain, place);
    return true;
  }

  /** A cursor moves only once it is on disk: whatever happens in between, the batch is shipped twice rather than never. */
  async #move(chain: string, place: Place): Promise<void> {
    const cursor = new Map(this.#cursor).set(chain, place);
    await writeCursor(this.#options.directory, cursor);
    this.#cursor = cursor;
  }

  /** `"sound"`: there is nothing to ship, nor damage; undefined: as far as was looked, which is not so far each time. */
  async #next(chain: string, turn: Turn): Promise<NextBatch | Damage | "sound" | undefined> {
    const { auditDirectory, sink } = this.#options;
    const directory = join(auditDirectory, chain);
    const after = this.#cursor.get(chain);
    const head = await readHead(directory);
    if (typeof head === "string") {
      const isNew = !after && (await listSegments(directory)).length === 0;
      return isNew ? "sound" : { damage: `${chain}/head is ${head}` };
    }
    const max = { ...sink.maxBatch, records: turn.repeat ?? Math.min(turn.most, sink.maxBatch.records) };
    const options = { auditDirectory, chain, after, max };
    // What the head does not name may be in no file tomorrow: a group that could not be synced is cut off again.
    if (head.seq > (after?.seq ?? -1)) return await nextBatch({ ...options, upToSeq: head.seq });
    const mayCheckEnd = turn.mayCheckEnd(performance.now());
    const isAtEnd = mayCheckEnd && (await endsAt(directory, after));
    // A log that was put back from an older copy has its gateway as any other.
    if (after && (!isAt(head, after) || turn.isDoubtful || (mayCheckEnd && !isAtEnd))) {
      const changed = await problemAt(directory, after);
      if (changed !== undefined) return damaged(chain, changed);
    }
    if (isAtEnd) return "sound";
    if (!mayCheckEnd || isHeld(directory, 0)) return undefined;
    // A gateway that died, or a computer that lost its power, may have left the head behind the log: that is how the next one finds it.
    return (await nextBatch({ ...options, upToSeq: Number.POSITIVE_INFINITY })) ?? "sound";
  }

  #failed(error: unknown, turn: Turn, records: number): void {
    const retryAfterMs = error instanceof DeliveryFailed ? error.retryAfterMs : undefined;
    if (error instanceof DeliveryFailed && error.isLate) turn.late(records);
    else turn.failed(records, retryAfterMs);
    if (retryAfterMs !== undefined) this.#quietUntilMs = performance.now() + waitMs(1, retryAfterMs, 0);
    this.#options.health.failed(error);
  }

  async #deliver(batch: Batch): Promise<void> {
    const { sink, deliveryMs, signal } = this.#options;
    const limit = deadline(deliveryMs, signal);
    const delivering = sink.deliver(batch, limit);
    try {
      await abortable(delivering, limit);
    } catch (error) {
      if (!limit.aborted) throw error;
      // There are never two deliveries at a time.
      await settled(delivering, LET_GO_MS, signal);
      const late = `\`${sink.target}\` did not confirm within ${deliveryMs / 1000} s`;
      throw new DeliveryFailed(late, { isLate: true, cause: error });
    }
  }
}

async function settled(promise: Promise<unknown>, withinMs: number, signal: AbortSignal): Promise<void> {
  const enough = new AbortController();
  const patience = sleep(withinMs, undefined, { signal: AbortSignal.any([signal, enough.signal]) });
  await Promise.race([promise, patience]).catch(() => undefined);
  enough.abort();
}
