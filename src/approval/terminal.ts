import { constants, type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import type { AuditWriter } from "../audit/record.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { Logger } from "../log.ts";
import { MAX_ANSWER_BYTES, parseAnswer } from "./answer-file.ts";
import type { Answer, Channel, Question } from "./approval.ts";
import { answerPath, removeBoth } from "./approval-files.ts";
import { nameOfUid } from "./owner.ts";
import { sweep, writeQuestion } from "./question-file.ts";
import { approvalEvent } from "./records.ts";

export interface TerminalPorts {
  /** Of the questions: `<stateDirectory>/approvals`. */
  readonly directory: string;
  /** Names of users. When given, these and no others may answer; otherwise the gateway's own user, and root. */
  readonly approvers?: readonly string[];
  readonly audit: AuditWriter;
  readonly log: Logger;
}

/** Where the file system tells of no changes. */
const POLL_MS = 500;

/**
 * Asks whoever runs `glovebox approve` on this computer, by files (see `approval-files.ts`). Who answers is the owner of the answer's file, by the
 * kernel's word. What dead gateways have left behind is removed first.
 */
export async function createTerminal(ports: TerminalPorts): Promise<Channel> {
  await sweep(ports.directory, Date.now());
  return { name: "terminal", ask: (question, signal) => ask(question, signal, ports) };
}

async function ask(question: Question, signal: AbortSignal, ports: TerminalPorts): Promise<Answer | undefined> {
  const { directory, approvers } = ports;
  if (signal.aborted) return undefined;
  await writeQuestion(directory, { question, ...(approvers && { approvers }) });
  try {
    return await nextAnswer(question, signal, ports);
  } finally {
    await removeBoth(directory, question.id);
  }
}

/** Looks whenever something happens in the directory, and twice a second, until there is an answer that can be taken. */
async function nextAnswer(question: Question, signal: AbortSignal, ports: TerminalPorts): Promise<Answer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer | undefined>();
  let looking = false;
  const look = () => {
    if (looking) return;
    looking = true;
    take(question, ports)
      .then((answer) => answer && resolve(answer), reject)
      .finally(() => {
        looking = false;
      });
  };
  const watcher = watched(ports, look);
  const polling = setInterval(look, POLL_MS);
  const onAbort = () => resolve(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal.aborted) return undefined;
    return await promise;
  } finally {
    signal.removeEventListener("abort", onAbort);
    clearInterval(polling);
    watcher?.close();
  }
}

/** `undefined` where the system has no watches left: polling does without. */
function watched({ directory, log }: TerminalPorts, look: () => void): FSWatcher | undefined {
  const failed = (error: unknown) => log.debug({ err: error }, "cannot watch for answers");
  try {
    const watcher = watch(directory, look);
    watcher.on("error", failed);
    return watcher;
  } catch (error) {
    failed(error);
    return undefined;
  }
}

/** The answer that is there, if any. One that can't be taken is put on record and removed, so that there can be another. */
async function take(question: Question, ports: TerminalPorts): Promise<Answer | undefined> {
  const path = answerPath(ports.directory, question.id);
  const read = await readAnswer(path, ports);
  if (read === undefined) return undefined;
  await rm(path, { force: true, recursive: true });
  if ("answer" in read) return read.answer;
  const facts = { approvalId: question.id, digest: question.digest, why: "invalid", channel: "terminal" };
  const by = read.approver === undefined ? {} : { approver: printable(read.approver, 200) };
  await ports.audit.append(approvalEvent("approval-refused", question, { ...facts, problem: read.problem, ...by }));
  return undefined;
}

type Read = { readonly answer: Answer } | { readonly problem: string; readonly approver?: string };

/** What opening says of what is no file for us; anything else may pass, and the answer stays. */
const NO_FILE: ReadonlyMap<unknown, string> = new Map([
  ["ELOOP", "it is a symbolic link"],
  ["EMLINK", "it is a symbolic link"],
  ["EACCES", "it can't be read"],
  ["ENXIO", "it is no regular file"],
]);

async function readAnswer(path: string, { approvers, log }: TerminalPorts): Promise<Read | undefined> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let opened: FileHandle;
  try {
    opened = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const code = codeOf(error);
    const problem = NO_FILE.get(code);
    if (problem !== undefined) return { problem };
    if (code !== "ENOENT") log.warn({ err: error }, "an answer can't be opened");
    return undefined;
  }
  await using file = opened;
  // INVARIANT: all that is looked at is this open file, so that it can't be exchanged in between.
  const found = await file.stat();
  const { uid, nlink, size, mode } = found;
  if (!found.isFile()) return { problem: "it is no regular file" };
  // It is being put there (see `writeAnswer`); or it is a link to a file that somebody has elsewhere, which stays one.
  if (nlink !== 1) return undefined;
  const approver = `local:${await nameOfUid(uid)}`;
  if (!mayAnswer(uid, approver, approvers)) return { problem: "its owner is no approver", approver };
  if ((mode & 0o022) !== 0) return { problem: "others may write to it", approver };
  if (size > MAX_ANSWER_BYTES) return { problem: "it is too large", approver };
  const bytes = Buffer.alloc(MAX_ANSWER_BYTES);
  const { bytesRead } = await file.read(bytes, 0, MAX_ANSWER_BYTES, 0);
  try {
    return { answer: { ...parseAnswer(bytes.subarray(0, bytesRead)), approver } };
  } catch (error) {
    if (error instanceof Error) return { problem: "it is no answer", approver };
    throw error;
  }
}

function mayAnswer(uid: number, approver: string, approvers: readonly string[] | undefined): boolean {
  if (approvers) return approvers.some((it) => approver === `local:${it}`);
  return uid === 0 || uid === process.getuid?.();
}
