import { z } from "zod";
import { capability } from "./capability.ts";
import { digest, processId, sandbox, sessionId, unicode } from "./fields.ts";
import { oneLine, present } from "./render.ts";
import { headline, processState, stateOf, streams } from "./run.ts";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
/** How long the answer waits for a program that was asked to end. */
const STOP_YIELD_MS = 2_000;
const MAX_ARGUMENT_CHARS = 200;
const MAX_ARGUMENTS_SHOWN = 16;

export const readProcess = capability({
  name: "readProcess",
  description:
    "Read the output of a process that exec or shell started, from a cursor on, and its state. Ended processes stay readable for a while.",
  annotations: { title: "Read a process", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: z.strictObject({
    processId,
    cursor: z
      .string()
      .regex(/^\d{1,15}:\d{1,15}$/, "must be a cursor that an earlier result gave")
      .default("0:0")
      .describe("From an earlier result; without it, from the start."),
    yieldMs: z.int().min(0).max(600_000).default(0).describe("Wait up to so long for the end before reading."),
    maxOutputBytes: z.int().min(256).max(10_485_760).optional().describe("Most bytes of each output."),
    sessionId,
  }),
  output: z.strictObject({
    ...processState,
    processId: z.string(),
    stdout: z.string(),
    stderr: z.string(),
    cursor: z.string().describe("Where to read on."),
    more: z.boolean().describe("Whether there is more to read now."),
    skippedBytes: z.number().describe("Bytes after the given cursor that were not kept."),
  }),
  describe: (args) => ({
    resource: sandbox(args),
    context: { processId: args.processId },
    audit: present(args),
  }),
  run: async (args, context) => {
    const { processes } = await context.session();
    const process = processes.find(args.processId);
    if (args.yieldMs > 0) await process.wait(args.yieldMs, context.signal);
    const { maxBytes } = context.profile.output;
    const limit = Math.min(args.maxOutputBytes ?? maxBytes, maxBytes);
    const [outAt = 0, errAt = 0] = args.cursor.split(":").map(Number);
    const stdout = process.stdout.read(outAt, limit);
    const stderr = process.stderr.read(errAt, limit);
    const state = stateOf(process);
    const skippedBytes = stdout.skippedBytes + stderr.skippedBytes;
    const more = stdout.nextCursor + stderr.nextCursor < state.stdoutBytes + state.stderrBytes;
    const cursor = `${stdout.nextCursor}:${stderr.nextCursor}`;
    const read = { processId: process.id, stdout: stdout.text, stderr: stderr.text, cursor, more, skippedBytes };
    const notes = [`cursor ${cursor}${more ? " (there is more to read)" : ""}`];
    if (skippedBytes > 0) notes.unshift(`${skippedBytes} bytes before this were not kept`);
    const text = [headline(state), ...streams(stdout.text, stderr.text), ...notes].join("\n");
    return { result: { ...state, ...read }, text, facts: { ...state, processId: process.id, cursor, skippedBytes } };
  },
});

export const writeProcess = capability({
  name: "writeProcess",
  description: "Write to the standard input of a process that was started with background.",
  annotations: { title: "Write to a process", readOnly: false, destructive: true, idempotent: false, openWorld: false },
  input: z.strictObject({
    processId,
    stdin: unicode(1_048_576).describe("Text to write; give the newline too."),
    close: z.boolean().default(false).describe("End-of-file follows."),
    sessionId,
  }),
  output: z.strictObject({
    ...processState,
    processId: z.string(),
    bytes: z.number(),
    taken: z.boolean().describe("False: the program has not read all of it yet."),
  }),
  describe: (args) => {
    const { stdin, ...rest } = args;
    const bytes = Buffer.from(stdin);
    return {
      resource: sandbox(args),
      context: { processId: args.processId, stdinBytes: bytes.length },
      audit: { ...present(rest), stdin: digest(bytes) },
    };
  },
  run: async (args, context) => {
    const { processes } = await context.session();
    const process = processes.find(args.processId);
    const stdin = Buffer.from(args.stdin);
    const taken = await process.write(stdin, args.close, context.signal);
    const state = stateOf(process);
    const facts = { ...state, processId: process.id, bytes: stdin.length, taken };
    const text = `${stdin.length} bytes written${taken ? "" : ", not all read yet"}; ${headline(state)}`;
    return { result: facts, text, facts };
  },
});

export const stopProcess = capability({
  name: "stopProcess",
  description:
    "Send a signal to a process and all it started, and wait up to 2 s for its end. SIGKILL ends what does not heed SIGTERM.",
  annotations: { title: "Stop a process", readOnly: false, destructive: true, idempotent: false, openWorld: false },
  input: z.strictObject({ processId, signal: z.enum(SIGNALS).default("SIGTERM").describe("Sent once."), sessionId }),
  output: z.strictObject({ ...processState, processId: z.string() }),
  describe: (args) => ({
    resource: sandbox(args),
    context: { processId: args.processId, signal: args.signal },
    audit: present(args),
  }),
  run: async (args, context) => {
    const { processes } = await context.session();
    const process = processes.find(args.processId);
    await process.signal(args.signal);
    await process.wait(STOP_YIELD_MS, context.signal);
    const state = stateOf(process);
    const facts = { ...state, processId: process.id };
    return { result: facts, text: `${process.id}: ${headline(state)}`, facts };
  },
});

export const listProcesses = capability({
  name: "listProcesses",
  description: "List the processes that exec and shell started in the sandbox, running and lately ended.",
  annotations: { title: "List processes", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: z.strictObject({ sessionId }),
  output: z.strictObject({
    processes: z.array(
      z.strictObject({
        ...processState,
        processId: z.string(),
        argv: z.array(z.string()).describe("Long arguments are cut."),
        cwd: z.string(),
        startedAt: z.string(),
      }),
    ),
  }),
  describe: (args) => ({ resource: sandbox(args), context: {}, audit: present(args) }),
  run: async (_args, context) => {
    const session = await context.session();
    const processes = session.processes.list().map((process) => {
      const { argv, cwd } = process.spec;
      const shown = argv.slice(0, MAX_ARGUMENTS_SHOWN).map((it) => oneLine(it, MAX_ARGUMENT_CHARS));
      const startedAt = new Date(process.startedAtMs).toISOString();
      return { processId: process.id, ...stateOf(process), argv: shown, cwd, startedAt };
    });
    const lines = processes.map((it) => `${it.processId}  ${headline(it)}  ${it.argv.join(" ")}`);
    const text = lines.length > 0 ? lines.join("\n") : "no processes";
    return { result: { processes }, text, facts: { processes: processes.length } };
  },
});
