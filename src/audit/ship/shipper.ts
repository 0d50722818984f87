import { chmodSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Lock, tryLock } from "../../lib/lock.ts";
import type { Sink } from "../sinks/sink.ts";
import { waitMs } from "./backoff.ts";
import { type Cursor, readCursor, setCursorAside } from "./cursor.ts";
import { createHealth, type Health, type SinkNews } from "./health.ts";
import { type Backlog, measureBacklog } from "./lag.ts";
import { type Report, readReport, SHIP_LOCK_FILE, writeReport } from "./status.ts";
import { Voyage } from "./voyage.ts";

/** How often the log is looked at for new records. */
const POLL_MS = 250;
/** Who only asks how a sink stands has its lock for a moment: who ships once tries so often, with so long in between. */
const ONCE_TRIES = 3;
const ONCE_RETRY_MS = 100;
/** How often who stands by looks whether the one that ships has died. */
const STAND_BY_MS = 3_000;
const REPORT_MS = 1_000;
const DELIVERY_MS = 60_000;
/** How long closing goes on shipping, and how long it waits then for what is under way to end. */
const DRAIN_MS = 2_000;
const END_MS = 500;
const MAX_NOTES = 8;
/** Chains whose damage the status names. */
const MAX_STOPPED = 1_000;
/** Failures in a row after which who ships once gives up. */
const MAX_FAILURES = 5;

export interface ShipperOptions {
  readonly auditDirectory: string;
  /** The sink's own, for its cursor, lock and status; made when missing. */
  readonly directory: string;
  readonly open: () => Promise<Sink>;
  /** Takes the values of secrets out of a text. */
  readonly hide: (text: string) => string;
  /** Told when an outage begins, and when it is over. */
  readonly tell: (news: SinkNews) => void;
  /** Ends by itself when the receiver has everything, after a few failures in a row, or when another process ships. */
  readonly once?: boolean;
  /** In place of what the sink says, or of 60 s. */
  readonly deliveryMs?: number;
}

export interface Lag {
  readonly records: number;
  readonly seconds: number;
}

/**
 * Ships the log to one sink: every chain, those of dead gateways and those yet to be made, each in its order and at least once, one batch
 * after the other. One process at a time does so for a folder; others stand by. What fails is tried again for ever. Memory is a batch,
 * whatever the backlog. Disposal goes on shipping for 2 s at most.
 */
export class Shipper implements AsyncDisposable {
  /** Resolves when shipping has ended; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: ShipperOptions;
  readonly #health: Health;
  /** Aborts when no more than what is there already is to be shipped. */
  readonly #ending = new AbortController();
  /** Aborts what is under way. */
  readonly #givingUp = new AbortController();
  #notes: string[] = [];
  #voyage: Voyage | undefined;
  #target: string | undefined;
  /** Times in a row that the sink could not be opened, or files not be read or written. */
  #ownFailures = 0;
  /** Failures in a row of who shipped before, until something is confirmed or there is nothing to deliver; undefined: not read yet. */
  #failuresBefore: number | undefined;
  #holdsLock = false;
  #backlog: Backlog | undefined;
  #reporting: Promise<void> = Promise.resolve();
  #told = "";

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#health = createHealth(options.hide);
    const ended = new AbortController();
    const ticking = this.#tick(ended.signal);
    this.ended = this.#run().finally(async () => {
      ended.abort();
      await ticking;
    });
  }

  /** What the receiver has not confirmed, as of a second ago, and the age of the oldest; undefined: not known, of one chain at least. */
  lag(): Lag | undefined {
    if (!this.#backlog || this.#backlog.isUnknown) return undefined;
    const { records, oldestMs } = this.#backlog;
    return { records, seconds: oldestMs === undefined ? 0 : Math.max(0, (Date.now() - oldestMs) / 1000) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    const over = new AbortController();
    const patience = async () => {
      await sleep(DRAIN_MS, undefined, { signal: over.signal });
      this.#givingUp.abort();
      await sleep(END_MS, undefined, { signal: over.signal });
    };
    await Promise.race([this.ended, patience().catch(() => undefined)]);
    over.abort();
    this.#givingUp.abort();
  }

  async #run(): Promise<void> {
    for (;;) {
      try {
        await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
        using lock = await this.#standBy();
        if (lock) await this.#ship();
        return;
      } catch (error) {
        await this.#failed(error);
        if (this.#ending.signal.aborted) return;
      }
    }
  }

  /** Undefined: another process ships, and this one is to end. */
  async #standBy(): Promise<Lock | undefined> {
    const path = join(this.#options.directory, SHIP_LOCK_FILE);
    for (let tries = 1; ; tries += 1) {
      const lock = tryLock(path, 0);
      if (lock) {
        // By name: closing a descriptor of the file would drop the lock.
        chmodSync(path, 0o600);
        return lock;
      }
      if (this.#ending.signal.aborted || (this.#options.once && tries >= ONCE_TRIES)) return undefined;
      // Not all of them at the same moment.
      await this.#pause(this.#options.once ? ONCE_RETRY_MS : STAND_BY_MS * (0.5 + Math.random() / 2));
    }
  }

  /** Until shipping is to end; the lock is held. @throws what is wrong with the sink, its folder or the log's, for another try */
  async #ship(): Promise<void> {
    const { open, auditDirectory, directory, deliveryMs: givenMs } = this.#options;
    this.#holdsLock = true;
    try {
      const before = await readReport(directory);
      this.#notes = before?.notes ?? [];
      this.#health.remember(before);
      this.#failuresBefore ??= before?.failures ?? 0;
      const cursor = await this.#loadCursor();
      const sink = await open();
      await using _ = { [Symbol.asyncDispose]: () => this.#dispose(sink) };
      this.#target = sink.target;
      const deliveryMs = givenMs ?? sink.deliveryMs ?? DELIVERY_MS;
      const signal = this.#givingUp.signal;
      const voyage = new Voyage({ auditDirectory, directory, cursor, sink, health: this.#health, deliveryMs, signal });
      this.#voyage = voyage;
      await this.#report();
      await this.#rounds(voyage);
    } finally {
      await this.#report().catch(() => undefined);
      this.#holdsLock = false;
    }
  }

  async #rounds(voyage: Voyage): Promise<void> {
    let isDraining = false;
    for (;;) {
      if (this.#ending.signal.aborted && !isDraining) {
        isDraining = true;
        voyage.hurry();
      }
      const moved = await voyage.round();
      this.#ownFailures = 0;
      if (moved || !(voyage.isUnsettled || this.#givingUp.signal.aborted)) this.#failuresBefore = 0;
      this.#review();
      if (this.#givingUp.signal.aborted || (isDraining && !moved)) return;
      // Not while other chains go on.
      if (this.#options.once && !moved && (!voyage.isUnsettled || voyage.failures >= MAX_FAILURES)) return;
      if (!moved) await this.#pause(POLL_MS);
    }
  }

  async #loadCursor(): Promise<Cursor> {
    const { directory } = this.#options;
    const found = await readCursor(directory);
    if (found !== "damaged") return found;
    await setCursorAside(directory);
    const when = new Date().toISOString();
    const note = `${when}: the cursor was damaged; everything is shipped again, with the same ids`;
    this.#notes = [...this.#notes, note].slice(-MAX_NOTES);
    return new Map();
  }

  /** A sink that can't be closed in time is left to the process's end. */
  async #dispose(sink: Sink): Promise<void> {
    const over = new AbortController();
    const patience = sleep(END_MS, undefined, { signal: over.signal });
    await Promise.race([sink[Symbol.asyncDispose](), patience]).catch(() => undefined);
    over.abort();
  }

  async #failed(error: unknown): Promise<void> {
    this.#ownFailures += 1;
    this.#health.failed(error);
    this.#review();
    if (this.#options.once && this.#ownFailures >= MAX_FAILURES) this.#ending.abort();
    await this.#pause(waitMs(this.#ownFailures));
  }

  #review(): void {
    const news = this.#health.review({
      failures: this.#failures,
      stopped: (this.#voyage?.stopped ?? []).map((it) => it.problem),
      target: this.#target,
    });
    if (news) this.#options.tell(news);
  }

  get #failures(): number {
    return Math.max(this.#ownFailures, this.#voyage?.failures ?? 0);
  }

  /** Keeps the lag and the status current until `signal` aborts. */
  async #tick(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const { auditDirectory, directory } = this.#options;
        const cursor = (this.#holdsLock && this.#voyage?.cursor) || (await readCursor(directory));
        this.#backlog = await measureBacklog(auditDirectory, cursor === "damaged" ? new Map() : cursor);
        if (this.#holdsLock) await this.#report();
      } catch {
        // A disk that is full, say: shipping itself finds out, and says so.
        this.#backlog = undefined;
      }
      await sleep(REPORT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Tells other processes what has changed; one report after the other. */
  #report(): Promise<void> {
    this.#reporting = this.#reporting.catch(() => undefined).then(() => this.#writeReport());
    return this.#reporting;
  }

  async #writeReport(): Promise<void> {
    const { lastSuccess, lastError } = this.#health;
    const report: Report = {
      version: 1,
      pid: process.pid,
      failures: this.#failures + (this.#failuresBefore ?? 0),
      stopped: (this.#voyage?.stopped ?? []).slice(0, MAX_STOPPED),
      notes: this.#notes,
      ...(this.#target !== undefined && { target: this.#target }),
      ...(lastSuccess !== undefined && { lastSuccess }),
      ...(lastError && { lastError }),
    };
    const text = JSON.stringify(report);
    if (text === this.#told) return;
    await writeReport(this.#options.directory, report);
    this.#told = text;
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#ending.signal }).catch(() => undefined);
  }
}
