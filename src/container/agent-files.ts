import { buffer } from "node:stream/consumers";
import type { Machine } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import { type AgentHost, agentFailure, converse, type FileMessage, fileMessage, give } from "./agent.ts";
import { type Failed, refusalOf } from "./agent-refusal.ts";
import { tooLarge } from "./archive.ts";
import type { Container, Entry } from "./container.ts";
import { isKernelPath, stepsOf } from "./paths.ts";
import { notWritable, unseen } from "./refusals.ts";

const TIMEOUT_MS = 120_000;

type RawEntry = Extract<FileMessage, { entry: unknown }>["entry"];

interface Question {
  readonly act: "stat" | "read" | "write";
  readonly path: string;
  readonly maxBytes: number;
  /** Of the content that follows. */
  readonly sizeBytes: number;
  readonly mode: number;
  readonly createParents: boolean;
}

interface Answer {
  readonly entry?: RawEntry;
  readonly content: Buffer;
}

/**
 * File transfer by the guest agent, which needs no program of the image and works when the sandbox is out of processes or memory.
 * It follows no link, and holds each directory of a path open on the way: what a program swaps meanwhile leads nowhere else.
 */
export function agentFiles(host: AgentHost): Pick<Container, "stat" | "readFile" | "writeFile"> {
  const asked = async (
    question: Partial<Question> & Pick<Question, "act" | "path">,
    signal: AbortSignal,
    body?: Buffer,
  ) => {
    signal.throwIfAborted();
    stepsOf(question.path);
    const sizeBytes = body?.length ?? 0;
    const whole: Question = { maxBytes: 0, sizeBytes, mode: 0, createParents: false, ...question };
    try {
      const patience = deadline(TIMEOUT_MS, AbortSignal.any([signal, host.broken]));
      return await ask(host.machine, whole, body, patience);
    } catch (error) {
      throw await agentFailure(error, host, signal);
    }
  };
  return {
    async stat(path, signal) {
      if (isKernelPath(path)) throw unseen(path);
      return entryOf(path, (await asked({ act: "stat", path }, signal)).entry);
    },
    async readFile(path, maxBytes, signal) {
      if (isKernelPath(path))
        throw new GatewayError("NOT_A_FILE", `\`${printable(path)}\` is made up by the kernel; use \`exec\``);
      const { entry, content } = await asked({ act: "read", path, maxBytes }, signal);
      const { sizeBytes } = entryOf(path, entry);
      if (sizeBytes > maxBytes || content.length > maxBytes)
        throw tooLarge(Math.max(sizeBytes, content.length), maxBytes);
      return content;
    },
    async writeFile(path, content, { mode, createParents }, signal) {
      if (isKernelPath(path)) throw notWritable(path);
      await asked({ act: "write", path, mode: mode & 0o777, createParents }, signal, content);
    },
  };
}

async function ask(
  machine: Pick<Machine, "connect">,
  question: Question,
  body: Buffer | undefined,
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted();
  let entry: RawEntry | undefined;
  let failed: Failed | undefined;
  let done = false;
  const { connection, stdout, stderr, ended } = converse(machine, "/file", question, fileMessage, (message) => {
    if ("entry" in message) entry = message.entry;
    else if ("failed" in message) failed = message.failed;
    else done = true;
  });
  try {
    stderr.resume();
    const given = give(connection, body ?? Buffer.alloc(0));
    const [content] = await abortable(Promise.all([capped(stdout, question.maxBytes + 1), given]), signal);
    const problem = await abortable(ended, signal);
    if (failed) throw refusalOf(failed, question.path);
    if (problem) throw problem;
    if (!done) throw new GatewayError("MACHINE_LOST", "The guest broke off a file's transfer.");
    return { content, ...(entry ? { entry } : {}) };
  } finally {
    connection.destroy();
  }
}

/** All that comes; a guest that sends more than was asked for breaks the protocol. */
async function capped(stream: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  let length = 0;
  return await buffer(
    (async function* () {
      for await (const chunk of stream) {
        length += chunk.length;
        if (length > maxBytes) throw new GatewayError("CHANNEL_VIOLATION", "the guest sent more than the one file");
        yield chunk;
      }
    })(),
  );
}

function entryOf(path: string, entry: RawEntry | undefined): Entry {
  if (!entry) throw new GatewayError("CHANNEL_VIOLATION", "the guest did not describe the file");
  const { kind, sizeBytes, mode, modifiedMs, target } = entry;
  return { path, kind, sizeBytes, mode, modifiedMs, ...(kind === "link" && { target: printable(target) }) };
}
