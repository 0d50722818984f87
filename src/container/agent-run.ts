import { GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import { type AgentHost, agentFailure, type Conversation, converse, type RunMessage, runMessage } from "./agent.ts";
import type { Run, RunExit, RunSpec } from "./container.ts";
import { follow } from "./follow.ts";
import { inputOf } from "./input.ts";
import { exitFromCode } from "./run.ts";
import { checkSpec, variablesOf } from "./spec.ts";

const START_TIMEOUT_MS = 60_000;
const SIGNAL_TIMEOUT_MS = 60_000;
const SIGKILL = 9;

type Ended = Extract<RunMessage, { ended: unknown }>["ended"];

/** Starts a program and resolves when it runs, or has already ended. `signal` covers the start alone. */
export async function startAgentRun(host: AgentHost, spec: RunSpec, signal: AbortSignal): Promise<Run> {
  checkSpec(spec);
  signal.throwIfAborted();
  host.broken.throwIfAborted();
  const { run, argv, cwd, terminal } = spec;
  // GLOVEBOX_RUN is the agent's to set: a run's own would stand before it.
  const env = variablesOf(spec).filter((it) => !it.startsWith("GLOVEBOX_RUN="));
  const question = { run, argv, cwd, env, stdin: spec.stdin, ...(terminal && { terminal }) };
  const started = Promise.withResolvers<number>();
  const last: { ended?: Ended } = {};
  let conversation: Conversation | undefined;
  try {
    conversation = converse(host.machine, "/run", question, runMessage, (message) => {
      if ("started" in message) started.resolve(message.started.pid);
      else if ("failed" in message) started.reject(failureOf(message.failed, argv[0], cwd));
      else last.ended = message.ended;
    });
    const stdin = inputOf(spec, conversation.connection);
    if (!spec.stdin) stdin.end();
    void conversation.ended.then((problem) => started.reject(problem ?? unexplained()));
    const patience = deadline(START_TIMEOUT_MS, AbortSignal.any([signal, host.broken]));
    const pid = await abortable(started.promise, patience);
    const { connection, ...outputs } = conversation;
    return follow({
      host,
      spec,
      pid,
      connection,
      outputs,
      stdin,
      exitOf: async (wasKilled) => {
        if (!last.ended) throw unexplained();
        return exitFrom(last.ended, wasKilled());
      },
      send: (request) => host.machine.signal(request, deadline(SIGNAL_TIMEOUT_MS, host.broken)),
    });
  } catch (error) {
    // The agent kills what it has started, or is about to.
    conversation?.connection.destroy();
    throw await agentFailure(error, host, signal);
  }
}

function exitFrom({ exitCode, signal, outOfMemoryKills }: Ended, wasKilled: boolean): RunExit {
  // A shell tells of its program's end by a signal as 128 and its number.
  const code = signal === undefined ? (exitCode ?? 255) : 128 + signal;
  if (code === 128 + SIGKILL && outOfMemoryKills > 0 && !wasKilled) return { by: "out-of-memory", exitCode: code };
  return signal === undefined ? { by: "exit", exitCode: code } : exitFromCode(code);
}

const NOT_FOUND = /^(ENOENT|EACCES|ENOTDIR|EISDIR|ENOEXEC|ELOOP|ENAMETOOLONG)$/;

function failureOf(failed: { code: string; stage: string }, program: string, cwd: string): GatewayError {
  const what =
    failed.stage === "directory" ? `the directory \`${printable(cwd, 300)}\`` : `\`${printable(program, 300)}\``;
  const reason = `${what}: ${words(failed.code)}`;
  if (failed.stage !== "start" && NOT_FOUND.test(failed.code))
    return new GatewayError("PROGRAM_NOT_FOUND", `the program can't be started: ${reason}`);
  if (failed.code === "E2BIG")
    return new GatewayError(
      "INVALID_ARGUMENTS",
      "the arguments are longer than the kernel takes; use `stdin` or a file",
    );
  return new GatewayError("CONTAINER_FAILED", `the program can't be started: ${reason}`);
}

function words(code: string): string {
  const known: Record<string, string> = {
    ENOENT: "not found",
    EACCES: "not executable, or permission denied",
    ENOTDIR: "not a directory",
    EISDIR: "is a directory",
    ENOEXEC: "not a program",
    EAGAIN: "the sandbox runs as many processes as its profile permits",
    ENOMEM: "the sandbox is out of memory",
    ENOSPC: "the sandbox has as many terminals as its kernel permits",
  };
  return known[code] ?? printable(code, 300);
}

function unexplained(): GatewayError {
  return new GatewayError("MACHINE_LOST", "The guest broke off without telling of the program's end.");
}
