import { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import type { Client } from "pg";
import { GatewayError } from "../../errors.ts";
import { columnsOf, isWellFormed, loginCode } from "./postgres-message.ts";

/** A type and a length, which counts itself and not the type. */
const HEADER_BYTES = 5;
const TYPE_BYTES = 1;
const MIN_LENGTH = 4;
/** A record's row has a quarter of a MiB, and some ten where its numbers are written out. */
const MAX_ROW_BYTES = 16 * 1024 * 1024;
/** Of any other message. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/** What a message takes in memory besides its bytes, about. */
const OVERHEAD_BYTES = 64;

/** What may come at any time: an error, a notice, a parameter of the server's, a notification. */
const ANY_TIME = "ENSA";
const LOGIN = "RKZ";
const ANSWER = "TDCIZ123n";

/** Stands between a server and `pg`. */
export interface Guard {
  /** Says that a query goes out now: only then may an answer come, and it may be so large. */
  expectAnswer(): void;
}

/** A server whose answer is larger than whoever asked can hold. */
export class AnswerTooLarge extends GatewayError {
  constructor(maxBytes: number) {
    super("SINK_FAILED", `the server's answer is larger than ${maxBytes / 1024 / 1024} MiB`);
  }
}

/**
 * Has `pg` read only what keeps to PostgreSQL's protocol: its parser trusts a server, so that one message could end the process, keep it busy
 * forever, or fill its memory. What does not keep to it, and whatever `pg` throws while it reads, is an error of the connection: waiting
 * queries reject with it, and the socket is destroyed. Call it before the client connects.
 *
 * Only whole messages that are checked go on. Source of the framing and of what may come when: PostgreSQL's documentation, "Message Flow"
 * and "Message Formats", protocol 3.0.
 * @param maxAnswerBytes of the answer to one query, each message with what it takes in memory besides
 */
export function guardClient(client: Client, maxAnswerBytes: number): Guard {
  // Where `pg` has its parser listen to a stream: after TLS, if there is TLS. Its types don't have it.
  const connection = client.connection as Client["connection"] & { attachListeners(stream: EventEmitter): void };
  const attach = connection.attachListeners.bind(connection);
  const answers = new Answers(maxAnswerBytes);
  connection.attachListeners = (stream: Duplex) => {
    const checked = new EventEmitter();
    attach(checked);
    let isRefused = false;
    stream.on("data", (chunk: Buffer) => {
      if (isRefused) return;
      try {
        for (const message of answers.messages(chunk)) checked.emit("data", message);
      } catch (error) {
        isRefused = true;
        connection.emit("error", error);
        stream.destroy();
      }
    });
  };
  return answers;
}

/** What has come of a message, what may come next, and how much of it. */
class Answers implements Guard {
  readonly #maxBytes: number;
  /** Of a message that is not whole yet: the first `#heldBytes` of a buffer that grows. */
  #held: Buffer = Buffer.alloc(0);
  #heldBytes = 0;
  /** Since the last query went out. */
  #bytes = 0;
  #queries = 0;
  #columns: number | undefined;
  #isLoggingIn = true;
  readonly #loginCodes = new Set<number>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  expectAnswer(): void {
    this.#queries += 1;
    this.#bytes = 0;
  }

  /** The messages that are whole with this chunk. @throws GatewayError SINK_FAILED for what the protocol does not have, or not now */
  *messages(chunk: Buffer): Generator<Buffer> {
    const bytes = this.#heldBytes === 0 ? chunk : this.#append(chunk);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const end = at + this.#checkedLength(bytes.subarray(at, at + HEADER_BYTES));
      if (end > bytes.length) break;
      this.#checkMessage(String.fromCharCode(bytes[at] ?? 0), bytes.subarray(at + HEADER_BYTES, end));
      this.#bytes += end - at + OVERHEAD_BYTES;
      yield bytes.subarray(at, end);
      at = end;
    }
    if (at === 0 && this.#heldBytes > 0) return;
    // What has been handed out may still be in use: what comes next goes elsewhere.
    this.#held = Buffer.from(bytes.subarray(at));
    this.#heldBytes = this.#held.length;
  }

  /** Grows by doubling, so that what comes byte by byte is not copied each time. */
  #append(chunk: Buffer): Buffer {
    const needed = this.#heldBytes + chunk.length;
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#held.length));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#heldBytes);
    this.#heldBytes = needed;
    return this.#held.subarray(0, needed);
  }

  /** Of the message that begins here, its type included: before any of it is kept. */
  #checkedLength(header: Buffer): number {
    const type = header.toString("latin1", 0, TYPE_BYTES);
    if (!this.#isExpected(type)) throw broken(`a message of type ${shown(type)} does not belong here`);
    const length = header.readUInt32BE(TYPE_BYTES);
    const max = type === "D" ? MAX_ROW_BYTES : MAX_MESSAGE_BYTES;
    if (length < MIN_LENGTH || length > max) throw broken(`a message of type ${shown(type)} has a length of ${length}`);
    if (this.#bytes + TYPE_BYTES + length + OVERHEAD_BYTES > this.#maxBytes) throw new AnswerTooLarge(this.#maxBytes);
    return TYPE_BYTES + length;
  }

  #isExpected(type: string): boolean {
    if (ANY_TIME.includes(type)) return true;
    return this.#isLoggingIn ? LOGIN.includes(type) : this.#queries > 0 && ANSWER.includes(type);
  }

  #checkMessage(type: string, payload: Buffer): void {
    if (!isWellFormed(type, payload, this.#columns)) {
      throw broken(
        type === "R"
          ? `it asks for a login that is not known or not well-formed (${loginCode(payload)})`
          : `a message of type ${shown(type)} is not well-formed`,
      );
    }
    if (type === "R") this.#logIn(loginCode(payload));
    if (type === "T") this.#columns = columnsOf(payload);
    if (type === "C" || type === "Z") this.#columns = undefined;
    if (type === "Z" && !this.#isLoggingIn) this.#queries -= 1;
    if (type === "Z" && this.#isLoggingIn) {
      if (!this.#loginCodes.has(0)) throw broken("it is ready before it has let anybody in");
      this.#isLoggingIn = false;
    }
  }

  /** Each step of a login once: a password is not read again and again. */
  #logIn(code: number): void {
    if (this.#loginCodes.has(code)) throw broken("it repeats a step of the login");
    this.#loginCodes.add(code);
  }
}

function broken(problem: string): GatewayError {
  return new GatewayError("SINK_FAILED", `the server does not keep to PostgreSQL's protocol: ${problem}`);
}

/** A type is a letter or a digit; what is not is shown by its number. */
function shown(type: string): string {
  return /^[0-9A-Za-z]$/.test(type) ? `\`${type}\`` : `0x${type.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
