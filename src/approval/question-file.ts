import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing } from "../lib/error.ts";
import { LAYERS } from "../policy/layer.ts";
import type { Question } from "./approval.ts";
import {
  checkDirectory,
  failed,
  QUESTION_ID,
  questionPath,
  removeBoth,
  temporary,
  writeWhole,
} from "./approval-files.ts";
import { questionDigest } from "./question.ts";

/** Details are cut, but there can be many of them. */
const MAX_QUESTION_BYTES = 1_048_576;
/** What is being written has another name for a moment. */
const UNBORN_GRACE_MS = 60_000;

const text = z.string();
const identity = { name: text, version: text, digest: text };
const questionSchema = z.strictObject({
  id: text.regex(QUESTION_ID),
  digest: text.regex(/^[0-9a-f]{64}$/),
  sessionId: text,
  principal: z.strictObject({
    id: text,
    client: z.strictObject({ name: text, version: text }),
    transport: z.literal("stdio"),
  }),
  callId: text.exactOptional(),
  action: text,
  details: z.array(z.strictObject({ label: text, text })),
  policies: z.array(
    z.strictObject({
      id: text,
      effect: z.enum(["permit", "forbid"]),
      reason: text.exactOptional(),
      layer: z.enum(LAYERS).exactOptional(),
    }),
  ),
  bundle: z.strictObject({
    ...identity,
    layers: z.array(z.strictObject({ layer: z.enum(LAYERS), ...identity })).exactOptional(),
  }),
  pattern: text.exactOptional(),
  askedAt: text,
  expiresAt: z.iso.datetime(),
});
const fileSchema = z.strictObject({
  version: z.literal(1),
  pid: z.int().min(1),
  /** For whoever looks; the gateway goes by its own. */
  approvers: z.array(text).exactOptional(),
  question: questionSchema,
});

/** A question that waits for an answer. */
export interface Pending {
  readonly question: Question;
  /** Names of users, who alone may answer. */
  readonly approvers?: readonly string[];
}

/** @throws GatewayError APPROVAL_CHANNEL_FAILED */
export async function writeQuestion(directory: string, { question, approvers }: Pending): Promise<void> {
  const unborn = temporary(directory);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await checkDirectory(directory);
    await writeWhole(unborn, { version: 1, pid: process.pid, ...(approvers && { approvers }), question });
    await rename(unborn, questionPath(directory, question.id));
  } catch (error) {
    await rm(unborn, { force: true });
    throw failed(`cannot write \`${directory}\``, error);
  }
}

/**
 * The questions that are open in living gateways, oldest first. One whose digest is not that of what it says is left out: what would be
 * shown is not what was asked. @throws GatewayError APPROVAL_CHANNEL_FAILED
 */
export async function readQuestions(directory: string, nowMs: number): Promise<readonly Pending[]> {
  const found: Pending[] = [];
  for (const id of await idsIn(directory)) {
    const file = await readFileOf(directory, id);
    if (file && isOpen(file, nowMs) && file.question.id === id && isWhole(file.question)) {
      const { question, approvers } = file;
      found.push({ question, ...(approvers && { approvers }) });
    }
  }
  const order = ({ question }: Pending) => `${question.askedAt} ${question.id}`;
  return found.toSorted((a, b) => order(a).localeCompare(order(b)));
}

/** Removes what dead gateways have left behind. A pid that is another process's now keeps a file until its question has expired. */
export async function sweep(directory: string, nowMs: number): Promise<void> {
  const ids = await idsIn(directory);
  for (const id of ids) {
    const file = await readFileOf(directory, id);
    if (file && isOpen(file, nowMs)) continue;
    await removeBoth(directory, id);
  }
  for (const name of await namesIn(directory)) {
    if (ids.some((id) => name.startsWith(id))) continue;
    const path = join(directory, name);
    const found = await lstat(path).catch(() => undefined);
    if (found && nowMs - found.mtimeMs > UNBORN_GRACE_MS) await rm(path, { force: true, recursive: true });
  }
}

async function idsIn(directory: string): Promise<string[]> {
  const names = await namesIn(directory);
  return names.filter((it) => it.endsWith(".json") && QUESTION_ID.test(it.slice(0, -5))).map((it) => it.slice(0, -5));
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw failed(`cannot read \`${directory}\``, error);
  }
}

/** `undefined` for a file that is gone, or is none of ours. */
async function readFileOf(directory: string, id: string): Promise<z.infer<typeof fileSchema> | undefined> {
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    await using file = await open(questionPath(directory, id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const found = await file.stat();
    if (!found.isFile() || found.size > MAX_QUESTION_BYTES) return undefined;
    const parsed = fileSchema.safeParse(JSON.parse(await file.readFile("utf8")));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof SyntaxError || code === "ENOENT" || code === "ELOOP" || code === "EACCES") return undefined;
    throw failed("cannot read a question", error);
  }
}

function isOpen({ pid, question }: z.infer<typeof fileSchema>, nowMs: number): boolean {
  return isAlive(pid) && Date.parse(question.expiresAt) > nowMs;
}

function isWhole(question: Question): boolean {
  try {
    return questionDigest(question) === question.digest;
  } catch (error) {
    // No gateway writes what RFC 8785 can't say.
    if (error instanceof GatewayError) return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}
