import type { GatewayError } from "../errors.ts";
import type { RecordBody } from "./record.ts";

/** The most that is written and synced at once; UTF-16 code units. */
const GROUP_CHARS = 1024 * 1024;
/** Appends wait while so much is queued; UTF-16 code units. */
const QUEUE_CHARS = 8 * 1024 * 1024;

/** A record that waits to be written. */
export interface Queued {
  readonly body: RecordBody;
  readonly text: string;
  readonly time: string;
  readonly resolve: () => void;
  readonly reject: (error: GatewayError) => void;
}

/** Records that wait to be written, in their order, and appends that wait for room. */
export class Queue {
  readonly #queued: Queued[] = [];
  #chars = 0;
  readonly #waiting: (() => void)[] = [];

  get length(): number {
    return this.#queued.length;
  }

  get isFull(): boolean {
    return this.#chars >= QUEUE_CHARS;
  }

  /** Resolves when there may be room. */
  async room(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  add(queued: Queued): void {
    this.#queued.push(queued);
    this.#chars += queued.text.length;
  }

  /** Those that are written together next, at least one if there is any. */
  takeGroup(): Queued[] {
    let chars = 0;
    let count = 0;
    for (const { text } of this.#queued) {
      chars += text.length;
      if (count > 0 && chars > GROUP_CHARS) break;
      count += 1;
    }
    const group = this.#queued.splice(0, count);
    for (const { text } of group) this.#chars -= text.length;
    return group;
  }

  /** Who waits for room looks again. */
  resume(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}
