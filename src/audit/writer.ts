import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import { bodyText } from "./body.ts";
import { type CallContext, contextOf, interrupted, opened, segmentStarted, trackCalls } from "./calls.ts";
import type { HeldChain } from "./chain.ts";
import { segmentName } from "./files.ts";
import type { Head } from "./head.ts";
import { type Position, sealLine } from "./line.ts";
import type { Checkpoints } from "./proof/checkpoints.ts";
import { Queue, type Queued } from "./queue.ts";
import type { AuditWriter, RecordBody } from "./record.ts";
import type { Recovered, Torn } from "./recovery.ts";
import type { Redactor } from "./redact-body.ts";
import { Segment } from "./segment.ts";

/** A segment that was begun so long ago is followed by another, however small it is: only whole segments can be removed for their age. */
const SEGMENT_MS = 30 * 86_400_000;
/** How long a record may wait for the checkpoint that it is to have. */
const SIGNED_MS = 10_000;
/** Permitted calls without an outcome: a segment's first record has room for so many ids. */
const MAX_OPEN_CALLS = 4_096;

export interface ChainWriterOptions {
  readonly chain: HeldChain;
  readonly gateway: string;
  readonly redactor: Redactor;
  readonly segmentBytes: number;
  readonly found: Recovered;
  readonly head: Head;
  /** The segment that `found` names; disposed of with the writer. */
  readonly segment: Segment;
  /** Where the chain is signed; disposed of with the writer. */
  readonly checkpoints?: Checkpoints;
}

/**
 * Writes one chain by group commit: the appends that are waiting are written together and synced once, and none resolves
 * before that. A group that can't be written rejects as a whole and leaves the chain where it was; the next one tries anew.
 */
export class ChainWriter implements AuditWriter, AsyncDisposable {
  readonly #options: ChainWriterOptions;
  #segment: Segment;
  #segmentNumber: number;
  /** When its first record was written; undefined while it has none. */
  #begunMs: number | undefined;
  #position: Position;
  /** Whether the head says `#position`. */
  #headCurrent = false;
  readonly #openCalls: Map<string, CallContext>;
  /** Which segment says up to where the chain's beginning was removed. */
  #sealedIn: number | undefined;
  /** Calls whose outcome was refused while the log could not be written; the next group records them as interrupted. */
  readonly #unrecorded = new Map<string, CallContext>();
  readonly #queue = new Queue();
  #running: Promise<void> | undefined;
  /** A checkpoint is to be written, whether records are waiting or not. */
  #checkpointDue = false;
  #closed = false;

  constructor(options: ChainWriterOptions) {
    const { found, segment } = options;
    this.#options = options;
    this.#segment = segment;
    this.#segmentNumber = found.segment;
    this.#position = found.position;
    this.#openCalls = new Map(found.openCalls);
    this.#sealedIn = found.sealedIn;
    this.#begunMs = found.begunMs;
    if (options.checkpoints) options.checkpoints.onDue = () => this.#checkpoint();
  }

  /** @throws GatewayError AUDIT_UNWRITABLE, SHUTTING_DOWN; INTERNAL for what is no `RecordBody` */
  async append(body: RecordBody): Promise<void> {
    // What there is room for is queued at once: a log that is closed right behind it still has it.
    while (this.#queue.isFull) await this.#queue.room();
    if (this.#closed) throw new GatewayError("SHUTTING_DOWN");
    if (opened(body) !== undefined) this.#admit();
    const text = this.#textOf(body);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.add({ body, text, time: new Date().toISOString(), resolve, reject });
    this.#running ??= this.#run();
    await promise;
  }

  /**
   * As `append`; resolves when a checkpoint covers the record as well, and that is remembered.
   * @throws also GatewayError INTERNAL when nothing signs this chain
   */
  async appendSigned(body: RecordBody): Promise<void> {
    const { checkpoints } = this.#options;
    if (!checkpoints) throw new GatewayError("INTERNAL", "a chain that nothing signs");
    await this.append(body);
    // The record is among these, whatever has been written behind it by now; a checkpoint at the very end does not cover itself.
    const isCovered = checkpoints.uncovered === 0;
    const covered = checkpoints.covers(isCovered ? this.#position.seq : this.#position.seq + 1);
    if (!isCovered) {
      checkpoints.demand();
      this.#checkpoint();
    }
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(unsigned()), SIGNED_MS);
    try {
      await abortable(covered, late.signal);
    } catch (error) {
      throw unwritable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Writes down what was found at the start: the first records of this gateway in the chain. */
  async recordRecovery(torn: Torn | undefined, openCalls: ReadonlyMap<string, CallContext>): Promise<void> {
    const event = torn && ({ kind: "event", event: "log-recovered", facts: { ...torn } } as const);
    const reason = "the gateway ended before the call did";
    const outcomes = [...openCalls].map(([callId, context]) => interrupted(callId, reason, context));
    await Promise.all([...(event ? [event] : []), ...outcomes].map((body) => this.append(body)));
    if (!this.#headCurrent) await this.#writeHead();
    await this.#options.head.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#running;
    const { checkpoints } = this.#options;
    if (checkpoints && checkpoints.uncovered > 0) {
      checkpoints.demand();
      this.#checkpoint();
      await this.#running;
    }
    checkpoints?.[Symbol.dispose]();
    try {
      await this.#options.head.sync();
      await this.#noteClose();
    } finally {
      await this.#segment[Symbol.asyncDispose]();
    }
  }

  /** Where it can't be noted, the chain is as a gateway that died leaves it. */
  async #noteClose(): Promise<void> {
    try {
      // What a failed append left would be taken for what somebody added.
      await this.#segment.settle();
      await this.#options.checkpoints?.close(this.#position.hash);
    } catch {
      return;
    }
  }

  #admit(): void {
    if (this.#openCalls.size + this.#queue.length < MAX_OPEN_CALLS) return;
    throw new GatewayError(
      "AUDIT_UNWRITABLE",
      `the audit log takes no more calls: ${MAX_OPEN_CALLS} have no outcome yet`,
    );
  }

  #textOf(body: RecordBody): string {
    try {
      return bodyText(body, this.#options.redactor);
    } catch (error) {
      // What it says of itself may be what is wrong with it.
      if (body.kind === "outcome") this.#unrecorded.set(body.callId, this.#openCalls.get(body.callId) ?? {});
      throw error;
    }
  }

  #checkpoint(): void {
    this.#checkpointDue = true;
    this.#running ??= this.#run();
  }

  /** Commits group after group until the queue is empty; never rejects. */
  async #run(): Promise<void> {
    while (this.#queue.length > 0 || this.#checkpointDue) {
      // What is appended in the same turn of the event loop belongs to the same group.
      await setImmediate();
      const group = this.#queue.takeGroup();
      this.#checkpointDue = false;
      try {
        await this.#commit(group);
        for (const { resolve } of group) resolve();
        await this.#commitCheckpoint();
      } catch (error) {
        const failure = unwritable(error);
        for (const { body, reject } of group) {
          if (body.kind === "outcome") this.#unrecorded.set(body.callId, contextOf(body));
          reject(failure);
        }
        this.#options.checkpoints?.postpone(failure);
      }
      this.#queue.resume();
    }
    this.#running = undefined;
  }

  async #commit(group: readonly Queued[]): Promise<void> {
    // The checkpoint that a timer asked for may have come behind the group before.
    if (group.length === 0 && this.#options.checkpoints?.uncovered === 0) return;
    if (!this.#headCurrent) await this.#writeHead();
    if (this.#segment.bytes >= this.#options.segmentBytes || this.#isOld()) await this.#startSegment();
    const records = [...this.#ownRecords(group[0]?.time ?? new Date().toISOString()), ...group];
    if (records.length === 0) return;
    const lines = await this.#write(records);
    this.#begunMs ??= Date.now();
    this.#options.checkpoints?.accept(lines);
    this.#unrecorded.clear();
    for (const { body } of records) {
      trackCalls(this.#openCalls, body);
      if (body.kind === "event" && body.event === "log-truncated") this.#sealedIn = this.#segmentNumber;
    }
  }

  /**
   * Signs what is on disk, when that is due. The records that it covers are acknowledged whether or not it can be written; until it is, each
   * group is followed by another try.
   */
  async #commitCheckpoint(): Promise<void> {
    const { checkpoints, segmentBytes } = this.#options;
    if (!checkpoints?.isDue(this.#segment.bytes >= segmentBytes)) return;
    try {
      if (!this.#headCurrent) await this.#writeHead();
      const text = bodyText(await checkpoints.sign());
      const [line = ""] = await this.#write([{ text, time: new Date().toISOString() }]);
      checkpoints.written(line);
    } catch (error) {
      checkpoints.postpone(error);
    }
  }

  /** @returns the lines, which are on disk */
  async #write(records: readonly { readonly text: string; readonly time: string }[]): Promise<readonly string[]> {
    const { chain, gateway } = this.#options;
    let position = this.#position;
    const lines = records.map(({ text, time }) => {
      const sealed = sealLine({ chain: chain.id, gateway, time }, position, text);
      position = sealed.position;
      return sealed.line;
    });
    await this.#segment.append(Buffer.from(lines.join("")), Buffer.from(lines.at(-1) ?? ""));
    this.#position = position;
    this.#headCurrent = false;
    // They are on disk whether or not the head can be written; if it can't, the next group is refused until it can.
    await this.#writeHead().catch(() => undefined);
    return lines;
  }

  /** Records that the writer itself puts before a group's, with the time of its first. */
  #ownRecords(time: string): { body: RecordBody; text: string; time: string }[] {
    const bodies: RecordBody[] = [];
    const { checkpoints } = this.#options;
    if (this.#segmentNumber > 1 && this.#segment.bytes === 0)
      bodies.push(segmentStarted(this.#openCalls, checkpoints?.treeFacts(), this.#sealedIn));
    const introduction = checkpoints?.introduction();
    if (introduction) bodies.push(introduction);
    for (const [callId, context] of this.#unrecorded) {
      bodies.push(interrupted(callId, "its outcome could not be written", context));
    }
    return bodies.map((body) => ({ body, text: bodyText(body, this.#options.redactor), time }));
  }

  #isOld(): boolean {
    return this.#segment.bytes > 0 && this.#begunMs !== undefined && Date.now() - this.#begunMs > SEGMENT_MS;
  }

  async #startSegment(): Promise<void> {
    const { chain, head } = this.#options;
    await this.#segment.settle();
    // A segment is begun only when the head of the one before is on disk: no crash leaves the head further behind.
    await head.sync();
    const next = await Segment.create(join(chain.directory, segmentName(this.#segmentNumber + 1)));
    const full = this.#segment;
    this.#segment = next;
    this.#segmentNumber += 1;
    this.#begunMs = undefined;
    await full[Symbol.asyncDispose]();
  }

  async #writeHead(): Promise<void> {
    await this.#options.head.write(this.#position);
    this.#headCurrent = true;
  }
}

function unsigned(): GatewayError {
  return new GatewayError("AUDIT_UNWRITABLE", `no checkpoint could be written within ${SIGNED_MS / 1_000} s`);
}

/** The error as a `GatewayError`: itself, or AUDIT_UNWRITABLE with the operating system's code for it. */
export function unwritable(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
  return new GatewayError("AUDIT_UNWRITABLE", `the audit log cannot be written${code}`, { cause: error });
}
