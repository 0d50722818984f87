/** A contiguous piece of a stream. Cursors are byte positions in the whole stream, from 0. */
export interface Piece {
  readonly text: string;
  readonly nextCursor: number;
  /** Bytes between the cursor asked for and the piece's first: they were not kept. */
  readonly skippedBytes: number;
}

/** The beginning and the end of a stream. */
export interface Excerpt {
  readonly text: string;
  /** Bytes left out between the two, 0 when the text is the whole. */
  readonly cutBytes: number;
  /** Where what was left out begins. */
  readonly cutCursor: number;
  /** Where the excerpt ends. */
  readonly nextCursor: number;
}

/** A character of UTF-8 has at most four bytes: smaller reads could make no progress. */
const MIN_READ_BYTES = 4;
const INITIAL_BYTES = 4096;

/**
 * The first and the last bytes of one output stream, as many as `retainBytes` in all, and the count of all that came.
 * Text is UTF-8: a character is never split between two reads, invalid bytes read as U+FFFD.
 */
export class OutputBuffer {
  readonly #headBytes: number;
  readonly #tailBytes: number;
  /** Both grow by doubling up to their bounds; `#tail` is a ring once it has reached its own. */
  #head = Buffer.alloc(0);
  #tail = Buffer.alloc(0);
  #total = 0;
  #ended = false;

  constructor(retainBytes: number) {
    this.#headBytes = Math.max(MIN_READ_BYTES * 2, Math.floor(retainBytes / 2));
    this.#tailBytes = Math.max(MIN_READ_BYTES * 2, Math.ceil(retainBytes / 2));
  }

  /** All bytes that came, kept or not. */
  get totalBytes(): number {
    return this.#total;
  }

  /** Memory that the buffer occupies. */
  get occupiedBytes(): number {
    return this.#head.length + this.#tail.length;
  }

  append(chunk: Uint8Array): void {
    const toHead = Math.min(chunk.length, Math.max(0, this.#headBytes - this.#total));
    if (toHead > 0) {
      this.#head = grown(this.#head, this.#total + toHead, this.#headBytes);
      this.#head.set(chunk.subarray(0, toHead), this.#total);
    }
    const rest = chunk.subarray(toHead);
    if (rest.length > 0) this.#appendTail(rest, this.#total + toHead - this.#headBytes);
    this.#total += chunk.length;
  }

  #appendTail(chunk: Uint8Array, position: number): void {
    this.#tail = grown(this.#tail, position + chunk.length, this.#tailBytes);
    const kept = chunk.subarray(Math.max(0, chunk.length - this.#tailBytes));
    const at = (position + chunk.length - kept.length) % this.#tailBytes;
    const untilWrap = Math.min(kept.length, this.#tailBytes - at);
    this.#tail.set(kept.subarray(0, untilWrap), at);
    this.#tail.set(kept.subarray(untilWrap), 0);
  }

  /** Nothing more will come: a character that was never completed is given out as it is. */
  end(): void {
    this.#ended = true;
  }

  /** At most `maxBytes` from `cursor` on, or from the next byte that was kept. A cursor past the end reads nothing. */
  read(cursor: number, maxBytes: number): Piece {
    const asked = Math.min(Math.max(0, Math.floor(cursor)), this.#total);
    const gap = this.#gap();
    const start = gap && asked >= gap.from && asked < gap.to ? gap.to : asked;
    const limit = gap && start < gap.from ? gap.from : this.#total;
    const end = Math.min(limit, start + Math.max(MIN_READ_BYTES, maxBytes));
    const bytes = this.#slice(start, end);
    // Before the gap and at the end nothing more belongs to the last character; elsewhere its rest follows, or will come.
    const final = end === limit && (end !== this.#total || this.#ended);
    const whole = final ? bytes : bytes.subarray(0, bytes.length - unfinishedBytes(bytes));
    return { text: whole.toString("utf8"), nextCursor: start + whole.length, skippedBytes: start - asked };
  }

  /** All of it where it fits in `maxBytes`, otherwise its beginning and its end with a line between that says so. */
  excerpt(maxBytes: number): Excerpt {
    if (this.#total <= maxBytes && !this.#gap()) {
      const { text, nextCursor } = this.read(0, this.#total);
      return { text, cutBytes: 0, cutCursor: nextCursor, nextCursor };
    }
    const half = Math.max(MIN_READ_BYTES, Math.floor(maxBytes / 2));
    const beginning = this.read(0, half);
    const from = this.#aligned(Math.max(beginning.nextCursor, this.#total - half));
    const ending = this.read(from, half);
    const cutBytes = from - beginning.nextCursor;
    const between = cutBytes === 0 ? "" : `\n[… ${cutBytes} bytes cut …]\n`;
    const text = beginning.text + between + ending.text;
    return { text, cutBytes, cutCursor: beginning.nextCursor, nextCursor: ending.nextCursor };
  }

  /** The first kept byte from `position` on that begins a character. */
  #aligned(position: number): number {
    const gap = this.#gap();
    if (gap && position >= gap.from && position < gap.to) return gap.to;
    return position + continuationBytes(this.#slice(position, Math.min(this.#total, position + 3)));
  }

  /** What was not kept, widened to whole characters. */
  #gap(): { from: number; to: number } | undefined {
    const tailStart = this.#total - this.#tailBytes;
    if (tailStart <= this.#headBytes) return undefined;
    const from = this.#headBytes - unfinishedBytes(this.#head);
    return { from, to: tailStart + continuationBytes(this.#slice(tailStart, tailStart + 3)) };
  }

  /** Kept bytes only: both ends lie outside of what was dropped. */
  #slice(from: number, to: number): Buffer {
    const inHead = this.#head.subarray(Math.min(from, this.#headBytes), Math.min(to, this.#headBytes));
    const first = Math.max(0, from - this.#headBytes);
    const length = to - this.#headBytes - first;
    if (length <= 0) return inHead;
    const at = first % this.#tailBytes;
    const untilWrap = this.#tail.subarray(at, Math.min(at + length, this.#tailBytes));
    return Buffer.concat([inHead, untilWrap, this.#tail.subarray(0, length - untilWrap.length)]);
  }
}

function grown(buffer: Buffer, neededBytes: number, maxBytes: number): Buffer<ArrayBuffer> {
  const needed = Math.min(neededBytes, maxBytes);
  if (needed <= buffer.length) return buffer as Buffer<ArrayBuffer>;
  const bigger = Buffer.alloc(Math.min(maxBytes, Math.max(INITIAL_BYTES, needed, buffer.length * 2)));
  bigger.set(buffer);
  return bigger;
}

/** How many bytes at the end begin a character without finishing it: 0 to 3. */
function unfinishedBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return lengthFromLead(byte) > back ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

function lengthFromLead(byte: number): number {
  if (byte >= 0xf0) return 4;
  return byte >= 0xe0 ? 3 : 2;
}

/** How many bytes at the beginning continue a character that began before them: 0 to 3. */
function continuationBytes(bytes: Buffer): number {
  const first = bytes.findIndex((byte) => byte < 0x80 || byte >= 0xc0);
  return first === -1 ? bytes.length : first;
}
