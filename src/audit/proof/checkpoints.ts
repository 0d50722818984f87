import { GatewayError } from "../../errors.ts";
import type { EventBody } from "../record.ts";
import { checkpointText, originOf } from "./checkpoint.ts";
import type { Signer } from "./signer.ts";
import { grown, leafHash, rootOf, type Tree, treeFacts } from "./tree.ts";

/** A checkpoint follows when so many records have none yet. */
const CHECKPOINT_RECORDS = 1_000;
/** And, of fewer, after so long. */
const CHECKPOINT_MS = 60_000;

export interface CheckpointsOptions {
  readonly signer: Signer;
  readonly chain: string;
  /** Over the records that the chain has. */
  readonly tree: Tree;
  /** How many of them no checkpoint covers. */
  readonly uncovered: number;
  /** Of the last checkpoint that was signed. */
  readonly note: string;
  /** In place of 60 s. */
  readonly everyMs?: number;
}

/** Keeps the tree over a chain's lines, and says when a checkpoint is due and what it is. */
export class Checkpoints implements Disposable {
  readonly #options: CheckpointsOptions;
  #tree: Tree;
  #uncovered: number;
  /** Of the last checkpoint that was signed, as it is remembered. */
  #note: string;
  /** Whether this gateway has said in the chain whose key it signs with. */
  #named = false;
  #overdue = false;
  #timer: NodeJS.Timeout | undefined;
  /** Covered by a checkpoint that is on disk, and remembered. */
  #signed = 0;
  #waiting: { readonly size: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  /** Called when a checkpoint is due and no record may come for a while. */
  onDue: () => void = () => undefined;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#tree = options.tree;
    this.#uncovered = options.uncovered;
    this.#note = options.note;
  }

  /**
   * Before anything is appended: from now on it is remembered that this chain is signed, and not that it is closed.
   * @throws the file system's error
   */
  async begin(): Promise<void> {
    const { signer, chain } = this.#options;
    await signer.remember(chain, this.#note);
  }

  /**
   * Behind the last append: what stands in the chain behind this record from now on, no gateway has written.
   * @throws the file system's error; the chain is then as a gateway that died leaves it
   */
  async close(lastHash: string): Promise<void> {
    const { signer, chain } = this.#options;
    if (this.#uncovered === 0) await signer.remember(chain, this.#note, lastHash);
  }

  get uncovered(): number {
    return this.#uncovered;
  }

  /** What a segment's first record carries, so that a start reads one segment. */
  treeFacts(): ReturnType<typeof treeFacts> {
    return treeFacts(this.#tree);
  }

  /** Whose key it is, before the first records of this gateway. */
  introduction(): EventBody | undefined {
    if (this.#named) return undefined;
    const { key, rotations } = this.#options.signer;
    return { kind: "event", event: "audit-key", facts: { verifier: key.line, rotations } };
  }

  /** These lines are on disk, and no later one takes their place. @param lines with their newlines */
  accept(lines: readonly string[]): void {
    for (const line of lines) this.#grow(line);
    this.#named = true;
    this.#uncovered += lines.length;
    this.#arm();
  }

  isDue(isSegmentFull: boolean): boolean {
    return this.#uncovered > 0 && (isSegmentFull || this.#overdue || this.#uncovered >= CHECKPOINT_RECORDS);
  }

  /**
   * The next record: it covers all before it. INVARIANT: of what is on disk alone, so that no other root is ever signed for this size, and
   * on disk as remembered before anybody can have seen it, so that no later start signs one either.
   * @throws the file system's error when it can't be remembered
   */
  async sign(): Promise<EventBody> {
    const { signer, chain } = this.#options;
    const { size } = this.#tree;
    const note = signer.sign(
      checkpointText({ origin: originOf(signer.key.name, chain), size, root: rootOf(this.#tree) }),
    );
    await signer.remember(chain, note);
    this.#note = note;
    return { kind: "event", event: "checkpoint", facts: { note, tree: treeFacts(this.#tree) } };
  }

  /** The record that `sign` made is on disk. @param line with its newline */
  written(line: string): void {
    this.#signed = this.#tree.size;
    for (const it of this.#waiting) if (it.size <= this.#signed) it.resolve();
    this.#waiting = this.#waiting.filter((it) => it.size > this.#signed);
    this.#grow(line);
    // It is for the next one to cover, and by itself no reason for one.
    this.#uncovered = 0;
    this.#overdue = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Asks for a checkpoint with the next group. */
  demand(): void {
    this.#overdue = true;
  }

  /** One that was due could not be written: it is tried again with the next group, or after a while. */
  postpone(error: unknown): void {
    this.#overdue = true;
    this.#arm();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  /**
   * Resolves when a checkpoint of so many records at least is on disk, and remembered apart from the log.
   * @throws why it can't be written; GatewayError SHUTTING_DOWN
   */
  async covers(size: number): Promise<void> {
    if (size <= this.#signed) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ size, resolve, reject });
    await promise;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const { reject } of this.#waiting.splice(0)) reject(new GatewayError("SHUTTING_DOWN"));
  }

  #grow(line: string): void {
    this.#tree = grown(this.#tree, leafHash(Buffer.from(line.slice(0, -1))));
  }

  #arm(): void {
    if (this.#uncovered === 0 || this.#timer) return;
    const { everyMs = CHECKPOINT_MS } = this.#options;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#overdue = true;
      this.onDue();
    }, everyMs).unref();
  }
}
