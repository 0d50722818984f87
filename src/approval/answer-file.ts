import { link, lstat, rm } from "node:fs/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing } from "../lib/error.ts";
import type { Answer } from "./approval.ts";
import {
  answerPath,
  checkDirectory,
  failed,
  QUESTION_ID,
  questionPath,
  temporary,
  writeWhole,
} from "./approval-files.ts";

export const MAX_ANSWER_BYTES = 16_384;
export const MAX_COMMENT_CHARS = 2_000;

const answerSchema = z.strictObject({
  version: z.literal(1),
  questionId: z.string().regex(QUESTION_ID),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  verdict: z.enum(["allow", "deny"]),
  scope: z.enum(["call", "session"]),
  comment: z.string().max(MAX_COMMENT_CHARS).exactOptional(),
});
/** What the file of an answer says; who gives it is the file's owner. */
export type WrittenAnswer = Omit<Answer, "approver">;

/**
 * Puts an answer where the gateway looks for it; `owner` is for root, who can give it in the name of another.
 * @throws GatewayError APPROVAL_NOT_FOUND when the question is gone, or was answered, APPROVAL_CHANNEL_FAILED
 */
export async function writeAnswer(
  directory: string,
  answer: WrittenAnswer,
  owner?: { readonly uid: number },
): Promise<void> {
  const unborn = temporary(directory);
  try {
    await checkDirectory(directory);
    await lstat(questionPath(directory, answer.questionId));
    await writeWhole(unborn, { version: 1, ...answer }, owner);
    // Unlike a renaming, it fails when there is one.
    await link(unborn, answerPath(directory, answer.questionId));
  } catch (error) {
    if (isMissing(error)) throw new GatewayError("APPROVAL_NOT_FOUND", undefined, { cause: error });
    const exists = codeOf(error) === "EEXIST";
    if (exists) throw new GatewayError("APPROVAL_NOT_FOUND", "somebody else answers it just now", { cause: error });
    throw failed(`cannot write \`${directory}\``, error);
  } finally {
    // While it has two names the gateway does not take it.
    await rm(unborn, { force: true });
  }
}

/** An answer without who gives it. @throws ZodError, SyntaxError */
export function parseAnswer(bytes: Buffer): WrittenAnswer {
  const { version: _, ...answer } = answerSchema.parse(JSON.parse(bytes.toString("utf8")));
  return answer;
}
