import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import { type AgentHost, agentFailure, type Conversation, converse, type RunMessage, runMessage } from "./agent.ts";
import type { Run, RunExit, RunSpec } from "./container.ts";
import { containerFailure } from "./failure.ts";
import { inputOf } from "./input.ts";
import { exitOf } from "./run.ts";
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
    return follow(host, spec, { ...conversation, stdin, pid, last });
  } catch (error) {
    // The agent kills what it has started, or is about to.
    conversation?.connection.destroy();
    throw await agentFailure(error, host, signal);
  }
}

interface Started extends Conversation {
  readonly stdin: Writable;
  readonly pid: number;
  readonly last: { ended?: Ended };
}

function follow(host: AgentHost, spec: RunSpec, started: Started): Run {
  const { connection, stdin, stdout, stderr, pid } = started;
  let over = false;
  let killed = false;
  const hangUp = () => connection.destroy();
  host.broken.addEventListener("abort", hangUp, { once: true });
  const exit = ending(host, started, () => killed).finally(() => {
    over = true;
    host.broken.removeEventListener("abort", hangUp);
    connection.destroy();
  });
  return {
    stdout,
    stderr,
    ...(spec.stdin && { stdin }),
    exit,
    signal: async (name) => {
      if ((over && name !== "SIGKILL") || host.broken.aborted) return;
      killed ||= name === "SIGKILL";
      const request = { pid: over ? 0 : pid, run: spec.run, signal: name };
      try {
        await host.machine.signal(request, deadline(SIGNAL_TIMEOUT_MS, host.broken));
      } catch (error) {
        if (!host.broken.aborted) throw await containerFailure(error, host.broken);
      }
    },
  };
}

/** Never rejects. */
async function ending(host: AgentHost, started: Started, wasKilled: () => boolean): Promise<RunExit> {
  const { stdout, stderr, last } = started;
  try {
    const problem = await started.ended;
    if (problem) throw problem;
    await Promise.allSettled([finished(stdout), finished(stderr)]);
    if (!last.ended) throw unexplained();
    return exitFrom(last.ended, wasKilled());
  } catch (error) {
    const reason = await containerFailure(error, host.broken);
    if (reason instanceof GatewayError) host.breakWith(reason);
    return { by: "machine-lost" };
  }
}

function exitFrom({ exitCode, signal, outOfMemoryKills }: Ended, wasKilled: boolean): RunExit {
  // A shell tells of its program's end by a signal as 128 and its number.
  const code = signal === undefined ? (exitCode ?? 255) : 128 + signal;
  if (code === 128 + SIGKILL && outOfMemoryKills > 0 && !wasKilled) return { by: "out-of-memory", exitCode: code };
  return signal === undefined ? { by: "exit", exitCode: code } : exitOf(code);
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
