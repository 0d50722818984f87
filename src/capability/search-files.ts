import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { type CallContext, capability } from "./capability.ts";
import { path, plain, sessionId, targetPath, WORKSPACE } from "./fields.ts";
import { stat } from "./lookup.ts";
import { missingProgram } from "./missing-program.ts";
import { oneLine, present, readable } from "./render.ts";
import { type Match, parseMessage } from "./ripgrep.ts";
import { type Scan, type ScanEnd, scan } from "./scan.ts";

const MAX_PATTERN_CHARS = 4_096;
/** A line of JSON for each line that matches; one much longer than anybody reads is left out. */
const MAX_MESSAGE_BYTES = 1_048_576;

const input = z.strictObject({
  pattern: plain(MAX_PATTERN_CHARS).min(1).describe("Regular expression (Rust's syntax), matched line by line."),
  literal: z.boolean().default(false).describe("Take the pattern as plain text."),
  ignoreCase: z.boolean().default(false).describe("Match upper and lower case alike."),
  path: path.default(WORKSPACE).describe("Directory or file, absolute or relative to /workspace."),
  glob: plain(1_024).min(1).optional().describe("Only files whose names match, e.g. *.ts or !*.min.js."),
  all: z.boolean().default(false).describe("Hidden and git-ignored files too."),
  limit: z.int().min(1).max(2_000).default(200).describe("Most matching lines."),
  sessionId,
});
type Input = z.output<typeof input>;

export const searchFiles = capability({
  name: "searchFiles",
  description: "Search the content of files in the sandbox; answers with matching lines. Binary files are skipped.",
  annotations: { title: "Search files", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input,
  output: z.strictObject({
    path: z.string(),
    matches: z.array(
      z.strictObject({
        path: z.string(),
        line: z.number(),
        text: z.string().describe("A long line is cut around the match."),
        inexact: z.boolean().optional().describe("The path is not UTF-8; invalid bytes are replaced."),
      }),
    ),
    truncated: z.boolean().describe("Whether there are more."),
    problem: z.string().optional().describe("What could not be searched."),
  }),
  describe: (args) => {
    const target = targetPath(args.path);
    return {
      resource: { type: "path", path: target },
      context: present({ patternBytes: Buffer.byteLength(args.pattern), glob: args.glob }),
      audit: { ...present(args), path: target },
    };
  },
  run: async (args, context) => {
    const { container } = await context.session();
    const target = targetPath(args.path);
    const { kind } = await stat(container, target, context.signal);
    if (kind === "other") throw new GatewayError("NOT_A_FILE", `\`${oneLine(target, 4_096)}\` is no file or directory`);
    const matches: Match[] = [];
    let finished = false;
    let leftOut = 0;
    const onPiece = (piece: Buffer | undefined) => {
      const message = piece && parseMessage(piece);
      if (message === "summary") finished = true;
      else if (message) matches.push(message);
      else if (!piece) leftOut += 1;
      return matches.length <= args.limit;
    };
    const end = await searched(target, args, context, onPiece);
    const problem = problemOf(end, finished, leftOut);
    const shown = matches.slice(0, args.limit);
    const truncated = shown.length < matches.length || end.stopped !== undefined;
    const lines = shown.map((it) => `${oneLine(it.path, 4_096)}:${it.line}: ${oneLine(it.text, 1_000)}`);
    const head = shown.length === 0 ? "no matches" : `${shown.length} matches${truncated ? ", and more" : ""}`;
    const text = [head, ...lines, ...(problem === undefined ? [] : [problem])].join("\n");
    const facts = { path: target, matches: shown.length, truncated };
    return { result: { path: target, matches: shown, truncated, ...present({ problem }) }, text, facts };
  },
});

async function searched(target: string, args: Input, context: CallContext, onPiece: Scan["onPiece"]): Promise<ScanEnd> {
  const { container } = await context.session();
  const { pattern, literal, ignoreCase, glob, all } = args;
  const argv = [
    "rg",
    "--json",
    "--no-config",
    "--no-follow",
    "--no-messages",
    "--sort=path",
    ...(literal ? ["--fixed-strings"] : []),
    ...(ignoreCase ? ["--ignore-case"] : []),
    ...(all ? ["--hidden", "--no-ignore"] : []),
    ...(glob === undefined ? [] : [`--glob=${glob}`]),
    `--regexp=${pattern}`,
    "--",
    target,
  ] as const;
  const limits = { separator: 10, maxPieceBytes: MAX_MESSAGE_BYTES, timeLimitMs: context.profile.timeouts.yieldMs };
  return scan(container, { argv, ...limits, onPiece }, context.signal).catch(missingProgram("rg", "ripgrep"));
}

/** @throws GatewayError PATTERN_INVALID, INVALID_ARGUMENTS, CONTAINER_FAILED when nothing was searched */
function problemOf({ exit, stderr, stopped }: ScanEnd, finished: boolean, leftOut: number): string | undefined {
  if (stopped === "time") return "The time for searching was over before all was seen.";
  if (stopped === "enough") return undefined;
  const said = readable(stderr).trim().slice(0, 1_000);
  if (!finished && exit.by === "exit" && exit.exitCode === 2) {
    if (/error parsing glob/i.test(said)) throw new GatewayError("INVALID_ARGUMENTS", `glob: ${said}`);
    throw new GatewayError("PATTERN_INVALID", `pattern: ${said}`);
  }
  if (!finished) throw new GatewayError("CONTAINER_FAILED", `the search failed: ${said || exit.by}`);
  if (leftOut > 0) return `Matches in ${leftOut} very long lines were left out.`;
  return exit.by === "exit" && exit.exitCode === 2 ? "Some files could not be read." : undefined;
}
