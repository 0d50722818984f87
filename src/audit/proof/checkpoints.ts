import { GatewayError } from "../../errors.ts";
import type { EventBody } from "../record.ts";
import { checkpointText, originOf, parseCheckpoint } from "./checkpoint.ts";
import { parseNote } from "./note.ts";
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
  /** In place of 60 s. */
  readonly everyMs?: number;
}

/** A group of records as it is put together: nothing of it counts before `accept`. */
export interface Draft {
  tree: Tree;
  uncovered: number;
  /** The checkpoint among them. */
  note?: string;
}

/** Keeps the tree over a chain's lines, and says when a checkpoint is due and what it is. */
export class Checkpoints implements AsyncDisposable {
  readonly #options: CheckpointsOptions;
  #tree: Tree;
  #uncovered: number;
  /** Whether this gateway has said in the chain whose key it signs with. */
  #named = false;
  #overdue = false;
  #timer: NodeJS.Timeout | undefined;
  #remembering: Promise<void> = Promise.resolve();
  /** Covered by a checkpoint that is remembered. */
  #remembered = 0;
  #waiting: { readonly size: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  /** Called when a checkpoint is due and no record may come for a while. */
  onDue: () => void = () => undefined;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#tree = options.tree;
    this.#uncovered = options.uncovered;
  }

  get uncovered(): number {
    return this.#uncovered;
  }

  draft(): Draft {
    return { tree: this.#tree, uncovered: this.#uncovered };
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

  /** @param line with its newline */
  add(draft: Draft, line: string): void {
    draft.tree = grown(draft.tree, leafHash(Buffer.from(line.slice(0, -1))));
    draft.uncovered += 1;
  }

  isDue(draft: Draft): boolean {
    return draft.uncovered > 0 && (this.#overdue || draft.uncovered >= CHECKPOINT_RECORDS);
  }

  /** The next record of the draft: it covers all before it. */
  sign(draft: Draft): EventBody {
    const { signer, chain } = this.#options;
    const { size } = draft.tree;
    const note = signer.sign(
      checkpointText({ origin: originOf(signer.key.name, chain), size, root: rootOf(draft.tree) }),
    );
    draft.note = note;
    return { kind: "event", event: "checkpoint", facts: { note } };
  }

  /** The draft is on disk. */
  accept({ tree, uncovered, note }: Draft): void {
    this.#tree = tree;
    this.#named = true;
    // The checkpoint's own record is for the next one to cover, and by itself no reason for one.
    this.#uncovered = note === undefined ? uncovered : 0;
    if (note !== undefined) {
      this.#overdue = false;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#remember(note);
    }
    this.#arm();
  }

  /** Asks for a checkpoint with the next group. */
  demand(): void {
    this.#overdue = true;
  }

  /**
   * Resolves when a checkpoint of so many records at least is on disk, and remembered apart from the log.
   * @throws what the memory can't be written for; GatewayError SHUTTING_DOWN
   */
  async remembers(size: number): Promise<void> {
    if (size <= this.#remembered) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ size, resolve, reject });
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.#remembering;
    for (const { reject } of this.#waiting.splice(0)) reject(new GatewayError("SHUTTING_DOWN"));
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

  /** In the background: when it fails, the next start has more of the log to read, and nothing else is lost. */
  #remember(note: string): void {
    const { signer, chain } = this.#options;
    this.#remembering = this.#remembering
      .then(() => signer.remember(chain, note))
      .then(
        () => this.#hasRemembered(parseCheckpoint(parseNote(note)?.text ?? "")?.size ?? 0),
        (error: unknown) => {
          for (const { reject } of this.#waiting.splice(0)) reject(error);
        },
      );
  }

  #hasRemembered(size: number): void {
    this.#remembered = size;
    for (const it of this.#waiting) if (it.size <= size) it.resolve();
    this.#waiting = this.#waiting.filter((it) => it.size > size);
  }
}
