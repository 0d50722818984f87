import type { Duplex } from "node:stream";
import { GatewayError } from "../errors.ts";
import { type Outputs, outputsOf, type Take } from "./outputs.ts";

/** The engine copies output in pieces of 32 KiB; a frame that claims more than this isn't one. */
const MAX_FRAME_BYTES = 1_048_576;
const MAX_MESSAGE_BYTES = 65_536;
const HEADER_BYTES = 8;
/** By the type in a header. The engine uses the first two. */
const STREAMS = [undefined, "stdout", "stderr", "message"] as const;

/** A piece of one output stream, or of a message of the guest agent's. */
export interface Piece {
  readonly stream: "stdout" | "stderr" | "message";
  readonly bytes: Buffer;
  /** Whether it is the last of its frame. */
  readonly last: boolean;
}

/** Takes a whole message of the guest agent's; what it throws ends the connection. */
export type OnMessage = (message: Buffer) => void;

/**
 * Takes an exec's connection apart: frames of an 8-byte header (stream type, three zeros, length) and their payload, handed on
 * piece by piece as they come, never gathered. Nothing more is read while either reader is behind. The engine sends no messages:
 * without `onMessage` they are a violation.
 */
export function demultiplex(connection: Duplex, onMessage?: OnMessage): Outputs {
  const split = frameSplitter(onMessage !== undefined);
  let message: Buffer[] = [];
  const take: Take = async (chunk, sinks) => {
    for (const { stream, bytes, last } of split(chunk)) {
      if (stream !== "message") {
        await sinks[stream].put(bytes);
        continue;
      }
      message.push(bytes);
      if (!last) continue;
      onMessage?.(Buffer.concat(message));
      message = [];
    }
  };
  return outputsOf(connection, take, split.end);
}

interface Splitter {
  (chunk: Buffer): Generator<Piece>;
  /** @throws GatewayError CHANNEL_VIOLATION when the stream ended inside a frame */
  end(): void;
}

/** A parser of frames across chunks that holds no more than one header. @throws GatewayError CHANNEL_VIOLATION */
export function frameSplitter(withMessages: boolean): Splitter {
  const header = Buffer.alloc(HEADER_BYTES);
  let headerBytes = 0;
  let stream: Piece["stream"] = "stdout";
  let missing = 0;
  function* split(chunk: Buffer): Generator<Piece> {
    let rest = chunk;
    while (rest.length > 0) {
      if (missing > 0) {
        const bytes = rest.subarray(0, missing);
        missing -= bytes.length;
        rest = rest.subarray(bytes.length);
        yield { stream, bytes, last: missing === 0 };
        continue;
      }
      const taken = rest.copy(header, headerBytes, 0, HEADER_BYTES - headerBytes);
      headerBytes += taken;
      rest = rest.subarray(taken);
      if (headerBytes < HEADER_BYTES) return;
      headerBytes = 0;
      ({ stream, bytes: missing } = readHeader(header));
      if (stream === "message" && !withMessages) throw violation("an unknown kind of output frame");
      if (stream === "message" && missing > MAX_MESSAGE_BYTES) throw violation("a message is too long");
    }
  }
  return Object.assign(split, {
    end: () => {
      if (missing > 0 || headerBytes > 0) throw violation("the engine cut a frame of output short");
    },
  });
}

function readHeader(header: Buffer): { stream: Piece["stream"]; bytes: number } {
  const type = header.readUInt8(0);
  const bytes = header.readUInt32BE(4);
  const stream = STREAMS[type];
  if (!stream || header.readUIntBE(1, 3) !== 0) throw violation("an unknown kind of output frame");
  if (bytes > MAX_FRAME_BYTES) throw violation("an output frame is too long");
  return { stream, bytes };
}

function violation(message: string): GatewayError {
  return new GatewayError("CHANNEL_VIOLATION", message);
}
