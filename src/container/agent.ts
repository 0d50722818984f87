import type { Duplex } from "node:stream";
import { z } from "zod";
import type { AgentService, Machine } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { containerFailure } from "./failure.ts";
import { demultiplex } from "./frames.ts";
import type { Outputs } from "./outputs.ts";

/**
 * What the gateway and the guest agent say to each other about the container (`guest/agent/run.go`, `files.go`, `tree.go`): the question is
 * its length (32 bits, big-endian), that many bytes of JSON, and then input; the answer is frames.
 */

/** What a run or a file's transfer needs of its container. */
export interface AgentHost {
  readonly machine: Pick<Machine, "connect" | "signal">;
  /** Aborts when the container is of no more use; the reason is a GatewayError. */
  readonly broken: AbortSignal;
  /** Declares the container to be of no more use, and ends its machine. */
  breakWith(reason: GatewayError): void;
}

const errorCode = z.string().max(300);

/** Answers of `/run`. One of the fields is there. */
export const runMessage = z.union([
  z.strictObject({ started: z.strictObject({ pid: z.int().min(2).max(4_194_304) }) }),
  z.strictObject({ failed: z.strictObject({ code: errorCode, stage: z.enum(["start", "directory", "program"]) }) }),
  z.strictObject({
    ended: z.strictObject({
      exitCode: z.int().min(0).max(255).optional(),
      signal: z.int().min(1).max(64).optional(),
      outOfMemoryKills: z.int().min(0),
    }),
  }),
]);
export type RunMessage = z.infer<typeof runMessage>;

/** Text of the sandbox's own: paths and where links lead. */
const guestText = z.string().max(16_384);

/** Answers of `/file` and `/tree`. One of the fields is there. */
export const fileMessage = z.union([
  z.strictObject({
    entry: z.strictObject({
      kind: z.enum(["file", "directory", "link", "other"]),
      sizeBytes: z.int().min(0),
      mode: z.int().min(0).max(0o777),
      modifiedMs: z.int(),
      target: guestText,
    }),
  }),
  z.strictObject({ failed: z.strictObject({ code: errorCode, path: guestText, kind: guestText, target: guestText }) }),
  z.strictObject({ done: z.literal(true) }),
]);
export type FileMessage = z.infer<typeof fileMessage>;

export interface Conversation extends Outputs {
  /** For the input; destroying it breaks the conversation off. */
  readonly connection: Duplex;
}

/** Asks, and hands each message of the answer to `onMessage`. What can't be read ends the conversation with CHANNEL_VIOLATION. */
export function converse<T>(
  machine: Pick<Machine, "connect">,
  service: AgentService,
  question: object,
  schema: z.ZodType<T>,
  onMessage: (message: T) => void,
): Conversation {
  const connection = machine.connect(service);
  const head = Buffer.from(JSON.stringify(question));
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(head.length);
  connection.write(Buffer.concat([prefix, head]));
  return { connection, ...demultiplex(connection, (text) => onMessage(parse(schema, text))) };
}

/** Writes the rest of the question, at the guest's pace, and ends it. A guest that stops reading has its reasons, and says them. */
export async function give(connection: Duplex, content: Buffer): Promise<void> {
  for (let at = 0; at < content.length && connection.writable; at += GIVE_BYTES) {
    if (!connection.write(content.subarray(at, at + GIVE_BYTES))) await drained(connection);
  }
  connection.end();
}

/** Resolves when more may be written, or never again. */
export async function drained(connection: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  connection.once("drain", resolve).once("close", resolve);
  if (connection.destroyed) resolve();
  await promise;
  connection.off("drain", resolve).off("close", resolve);
}

const GIVE_BYTES = 256 * 1024;

/** The error for a failed question, as `containerFailure` has it. A guest that broke the protocol, or broke off, is not asked again. */
export async function agentFailure(error: unknown, host: AgentHost, signal: AbortSignal): Promise<unknown> {
  const given = host.broken.aborted || signal.aborted;
  const failure = await containerFailure(error, host.broken, signal);
  if (!given && failure instanceof GatewayError && /^(CHANNEL_VIOLATION|MACHINE_LOST)$/.test(failure.code)) {
    host.breakWith(failure);
  }
  return failure;
}

function parse<T>(schema: z.ZodType<T>, text: Buffer): T {
  try {
    return schema.parse(JSON.parse(text.toString("utf8")));
  } catch (cause) {
    throw new GatewayError("CHANNEL_VIOLATION", "a message of the guest agent can't be read", { cause });
  }
}
