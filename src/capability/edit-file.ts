import { isUtf8 } from "node:buffer";
import { setImmediate as breath } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { type CallContext, capability } from "./capability.ts";
import { digest, path, sessionId, targetPath, unicode } from "./fields.ts";
import { findAll } from "./find-text.ts";
import { stat } from "./lookup.ts";
import { oneLine, present, readable } from "./render.ts";
import { diffOf } from "./text-diff.ts";

const MAX_EDITS = 64;
const MAX_TEXT_CHARS = 1_048_576;
/** More occurrences than this are neither counted nor replaced. */
const MAX_OCCURRENCES = 100_000;

const input = z.strictObject({
  path: path.describe("Absolute, or relative to /workspace."),
  edits: z
    .array(
      z.strictObject({
        oldText: unicode(MAX_TEXT_CHARS).min(1).describe("Exactly as in the file, whitespace too."),
        newText: unicode(MAX_TEXT_CHARS),
      }),
    )
    .min(1)
    .max(MAX_EDITS)
    .describe("Applied in order, each to the result of the one before; all or none."),
  replaceAll: z.boolean().default(false).describe("Every occurrence; otherwise oldText must occur exactly once."),
  dryRun: z.boolean().default(false).describe("Only show the diff."),
  sessionId,
});
type Input = z.output<typeof input>;

export const editFile = capability({
  name: "editFile",
  description: "Replace exact pieces of text in a file of the sandbox; answers with the diff.",
  annotations: { title: "Edit a file", readOnly: false, destructive: true, idempotent: false, openWorld: false },
  input,
  output: z.strictObject({
    path: z.string(),
    replacements: z.number(),
    bytes: z.number(),
    sha256: z.string().describe("Of the file with the edits."),
    diff: z.string().describe("Unified."),
    diffTruncated: z.boolean(),
    written: z.boolean().describe("False for a dry run, or when nothing changed."),
  }),
  describe: (args) => {
    const target = targetPath(args.path);
    const { replaceAll, dryRun, sessionId } = args;
    const edits = args.edits.map(({ oldText, newText }) => ({
      oldText: digest(Buffer.from(oldText)),
      newText: digest(Buffer.from(newText)),
    }));
    return {
      resource: { type: "path", path: target },
      context: { edits: edits.length, dryRun },
      audit: { path: target, edits, ...present({ replaceAll, dryRun, sessionId }) },
    };
  },
  run: async (args, context) => {
    const target = targetPath(args.path);
    const { turns } = await context.session();
    return turns.take(target, context.signal, () => edit(target, args, context));
  },
});

async function edit(target: string, args: Input, context: CallContext) {
  const { container } = await context.session();
  const { signal, profile } = context;
  const { mode } = await stat(container, target, signal);
  const file = await container.readFile(target, profile.files.maxReadBytes, signal);
  if (!isUtf8(file)) throw new GatewayError("NOT_TEXT", `\`${oneLine(target, 4_096)}\` is not UTF-8 text`);
  const before = file.toString("utf8");
  const { text: after, replacements } = await applied(before, args, signal);
  const content = Buffer.from(after);
  if (content.length > profile.files.maxWriteBytes) {
    const limit = profile.files.maxWriteBytes;
    throw new GatewayError(
      "FILE_TOO_LARGE",
      `the file would have ${content.length} bytes; the profile permits ${limit}`,
    );
  }
  const written = !args.dryRun && after !== before;
  if (written) await container.writeFile(target, content, { mode: mode & 0o777, createParents: false }, signal);
  const facts = { path: target, replacements, ...digest(content), written };
  const { diff, diffTruncated } = diffOf(target, before, after);
  const done = written ? "written" : args.dryRun ? "dry run, nothing written" : "nothing changed";
  const text = `${oneLine(target, 4_096)}: ${replacements} replacements, ${done}\n${readable(diff)}`;
  return { result: { ...facts, diff, diffTruncated }, text, facts: { ...facts, before: digest(file) } };
}

/** @throws GatewayError EDIT_NO_MATCH, naming the edit and how often its text occurs */
async function applied(before: string, { edits, replaceAll }: Input, signal: AbortSignal) {
  let text = before;
  let replacements = 0;
  for (const [index, { oldText, newText }] of edits.entries()) {
    // A large file takes a while: let others have their turn between edits.
    await breath(undefined, { signal });
    const found = findAll(text, oldText, MAX_OCCURRENCES);
    if (found.length === 1 || (replaceAll && found.length > 0 && found.length < MAX_OCCURRENCES)) {
      const replaced = replacedAt(text, found, oldText.length, newText);
      text = replaced.text;
      replacements += replaced.count;
    } else throw noMatch(index, found.length);
  }
  return { text, replacements };
}

function noMatch(index: number, found: number): GatewayError {
  const atLeast = found === MAX_OCCURRENCES ? "at least " : "";
  const times = found === 0 ? "does not occur" : `occurs ${atLeast}${found} times`;
  return new GatewayError("EDIT_NO_MATCH", `edits[${index}].oldText ${times} in the file; nothing was changed`);
}

/** Replaces the occurrences, from left to right, that do not overlap one replaced before. */
function replacedAt(text: string, found: readonly number[], length: number, newText: string) {
  const parts: string[] = [];
  let from = 0;
  for (const at of found) {
    if (at < from) continue;
    parts.push(text.slice(from, at));
    from = at + length;
  }
  parts.push(text.slice(from));
  return { text: parts.join(newText), count: parts.length - 1 };
}
