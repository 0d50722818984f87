import { z } from "zod";
import type { Json } from "../audit/record.ts";
import type { Refusal } from "../egress/traffic.ts";
import { GatewayError } from "../errors.ts";
import type { Fact } from "../policy/request.ts";
import { ENDED_BY, type Process } from "../session/process.ts";
import type { CallContext, Outcome } from "./capability.ts";
import { digest, path, plain, sessionId, targetPath, unicode, WORKSPACE } from "./fields.ts";
import { reportOutput } from "./live-output.ts";
import { present, readable } from "./render.ts";

/** The kernel takes no single argument longer than this, and no more than about this of environment and arguments together. */
export const MAX_ARGUMENT_BYTES = 131_000;
const MAX_ENV = 64;
/** A program that fails at once, for want of a port or a file, shall say so in the answer to the call that started it. */
const BACKGROUND_YIELD_MS = 500;
/** Wider than usual: what programs wrap at the edge is hard to read for whoever has no screen. */
const TERMINAL = { columns: 120, rows: 40 };

const env = z
  .record(
    plain(128).regex(
      /^(?!GLOVEBOX_)[A-Za-z_][A-Za-z0-9_]*$/,
      "must be a variable's name, and not begin with GLOVEBOX_",
    ),
    plain(MAX_ARGUMENT_BYTES),
  )
  .refine((it) => Object.keys(it).length <= MAX_ENV, `must have at most ${MAX_ENV} variables`)
  .refine((it) => Buffer.byteLength(JSON.stringify(it)) <= MAX_ARGUMENT_BYTES, "is too large");

export const timeoutMs = z
  .int()
  .min(100)
  .max(86_400_000)
  .optional()
  .describe("Ended after so long. Default and maximum: see sessionStatus.");

/** What `exec` and `shell` have in common. */
export const runOptions = {
  cwd: path.default(WORKSPACE).describe("Working directory."),
  env: env.default({}).describe("Variables to add to the environment."),
  stdin: unicode(1_048_576).default("").describe("Standard input; end-of-file follows, unless background."),
  timeoutMs,
  background: z
    .boolean()
    .default(false)
    .describe("Return at once with a processId; standard input stays open for writeProcess."),
  terminal: z
    .boolean()
    .default(false)
    .describe("For programs that insist on a terminal: stdout is what it shows, stdin what is typed (\\u0003 is ^C)."),
  yieldMs: z.int().min(0).max(600_000).optional().describe("If it runs longer, return with a processId to read on."),
  maxOutputBytes: z
    .int()
    .min(256)
    .max(10_485_760)
    .optional()
    .describe("Most bytes of each output to return; the middle is cut."),
  sessionId,
};

type RunOptions = z.output<z.ZodObject<typeof runOptions>>;

export const processState = {
  state: z.enum(["running", "ended"]),
  exitCode: z.number().optional(),
  signal: z.string().optional(),
  endedBy: z.enum(ENDED_BY).optional(),
  durationMs: z.number(),
  stdoutBytes: z.number().describe("Written so far."),
  stderrBytes: z.number(),
};

export const runResult = z.strictObject({
  ...processState,
  stdout: z.string(),
  stderr: z.string(),
  truncated: z.boolean().describe("Whether output was cut."),
  processId: z.string().optional().describe("To read on, when it still runs or output was cut."),
  cursor: z.string().optional().describe("Where this output ends."),
  hint: z.string().optional(),
  blocked: z.array(z.string()).optional().describe("Connections refused meanwhile, and why."),
});

export function stateOf(process: Process) {
  const { end, durationMs, stdout, stderr } = process;
  const state = end ? ("ended" as const) : ("running" as const);
  return { state, ...end, durationMs, stdoutBytes: stdout.totalBytes, stderrBytes: stderr.totalBytes };
}

/** @throws GatewayError INVALID_ARGUMENTS */
export function runFacts(args: RunOptions): Record<string, Fact> {
  return {
    cwd: targetPath(args.cwd),
    envNames: Object.keys(args.env).sort(),
    stdinBytes: Buffer.byteLength(args.stdin),
    background: args.background,
    terminal: args.terminal,
    timeoutMs: args.timeoutMs ?? 0,
  };
}

/** Values of variables may be secrets: names only. */
export function runAudit(args: RunOptions): Record<string, Json> {
  const stdin = args.stdin === "" ? undefined : digest(Buffer.from(args.stdin));
  const { background, terminal, timeoutMs, sessionId } = args;
  return present({
    cwd: targetPath(args.cwd),
    env: Object.keys(args.env).sort(),
    stdin,
    background,
    terminal,
    timeoutMs,
    sessionId,
  });
}

/** Runs a program until it has ended or is to go on as a process. When the call is cancelled, so is the program. */
export async function runProgram(
  argv: readonly [string, ...string[]],
  args: RunOptions,
  context: CallContext,
): Promise<Outcome<z.output<typeof runResult>>> {
  const { profile, signal, callId } = context;
  const timeoutMs = timeoutOf(args, context);
  const session = await context.session();
  const { background, env } = args;
  const stdin = Buffer.from(args.stdin);
  const spec = {
    argv,
    cwd: targetPath(args.cwd),
    env,
    stdin,
    keepStdinOpen: background,
    ...(args.terminal && { terminal: TERMINAL }),
    timeoutMs,
    callId,
  };
  const { mark } = session.egress;
  const process = await session.processes.start(spec, signal);
  const stopReporting = reportOutput(process, context.progress);
  try {
    await process.wait(args.yieldMs ?? (background ? BACKGROUND_YIELD_MS : profile.timeouts.yieldMs), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    await process.cancel("cancelled");
  } finally {
    stopReporting();
  }
  const maxBytes = Math.min(args.maxOutputBytes ?? profile.output.maxBytes, profile.output.maxBytes);
  return outcomeOf(process, maxBytes, refusalTexts(session.egress.refusalsSince(mark)));
}

/** @throws GatewayError INVALID_ARGUMENTS */
export function timeoutOf(args: Pick<RunOptions, "timeoutMs" | "background">, { profile }: CallContext): number {
  const { execMs, maxExecMs } = profile.timeouts;
  if (args.timeoutMs !== undefined && args.timeoutMs > maxExecMs) {
    throw new GatewayError("INVALID_ARGUMENTS", `timeoutMs: the profile permits at most ${maxExecMs}`);
  }
  return args.timeoutMs ?? (args.background ? maxExecMs : Math.min(execMs, maxExecMs));
}

/** Of connections, for a reader: what was refused, and how often. */
export function refusalTexts(refusals: readonly Refusal[]): string[] {
  return refusals.map(({ text, count }) => (count > 1 ? `${text} (${count} times)` : text));
}

function outcomeOf(
  process: Process,
  maxOutputBytes: number,
  blocked: readonly string[],
): Outcome<z.output<typeof runResult>> {
  const stdout = process.stdout.excerpt(maxOutputBytes);
  const stderr = process.stderr.excerpt(maxOutputBytes);
  const state = stateOf(process);
  const truncated = stdout.cutBytes + stderr.cutBytes > 0;
  const cursor = `${stdout.nextCursor}:${stderr.nextCursor}`;
  const hint = hintOf(process, cursor, truncated ? `${stdout.cutCursor}:${stderr.cutCursor}` : undefined);
  const reading = hint ? { processId: process.id, cursor, hint } : {};
  const refused = blocked.length > 0 ? { blocked: [...blocked] } : {};
  const result = { ...state, stdout: stdout.text, stderr: stderr.text, truncated, ...reading, ...refused };
  const text = [headline(state), ...streams(result.stdout, result.stderr), ...blocked, ...(hint ? [hint] : [])].join(
    "\n",
  );
  return { result, text, facts: { ...state, truncated, processId: process.id, ...refused } };
}

function hintOf({ id, end }: Process, cursor: string, cutCursor: string | undefined): string | undefined {
  const hints = [];
  if (!end) hints.push(`It goes on as ${id}: readProcess with cursor ${cursor} reads on, stopProcess ends it.`);
  if (cutCursor !== undefined) {
    hints.push(
      `The output was cut: readProcess with processId ${id} and cursor ${cutCursor} reads what is kept of it.`,
    );
  }
  return hints.length > 0 ? hints.join(" ") : undefined;
}

export function headline(state: ReturnType<typeof stateOf>): string {
  const after = `${state.durationMs} ms`;
  if (state.state === "running") return `still running after ${after}`;
  const code = state.exitCode === undefined ? "" : ` (exit code ${state.exitCode})`;
  switch (state.endedBy) {
    case "exit":
      return `exit code ${state.exitCode} after ${after}`;
    case "signal":
      return `ended by ${state.signal} after ${after}`;
    default:
      return `ended by ${state.endedBy}${code} after ${after}`;
  }
}

export function streams(stdout: string, stderr: string): string[] {
  const shown = [["stdout", readable(stdout)] as const, ["stderr", readable(stderr)] as const];
  return shown.filter(([, text]) => text !== "").map(([name, text]) => `--- ${name}\n${text.trimEnd()}`);
}
