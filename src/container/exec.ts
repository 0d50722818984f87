import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import type { ContainerApi, ExecState } from "./api.ts";
import type { Run, RunSpec } from "./container.ts";
import { containerFailure } from "./failure.ts";
import { follow } from "./follow.ts";
import { demultiplex } from "./frames.ts";
import { inputOf } from "./input.ts";
import { EngineRefusal } from "./modem.ts";
import { type Outputs, undivided } from "./outputs.ts";
import { engineExitOf, type RunHost } from "./run.ts";
import { sendSignal } from "./signal.ts";
import { checkSpec, variablesOf } from "./spec.ts";

const START_TIMEOUT_MS = 60_000;
const MAX_ATTEMPTS = 10;
/** A program whose start was given up must be gone within this, or its container is. */
const GIVE_UP_TIMEOUT_MS = 5000;
/** Starts a program and resolves when it runs, or has already ended. `signal` covers the start alone. */
export async function startRun(host: RunHost, spec: RunSpec, signal: AbortSignal): Promise<Run> {
  checkSpec(spec);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(host, spec, signal);
    } catch (error) {
      if (!isFrozen(error) || attempt === MAX_ATTEMPTS) throw await containerFailure(error, host.broken, signal);
      await host.exclusive(() => sleep(0));
    }
  }
}

async function start(host: RunHost, spec: RunSpec, signal: AbortSignal): Promise<Run> {
  const { api, events, broken } = host;
  const starting = AbortSignal.any([signal, broken]);
  const { run, argv, cwd, terminal } = spec;
  const env = variablesOf({ ...spec, env: { ...spec.env, GLOVEBOX_RUN: run } });
  // Without a writer of its own a terminal still gets its end-of-file from here.
  const options = { argv, cwd, env, stdin: spec.stdin || terminal !== undefined, terminal };
  const execId = await api.createExec(options, starting);
  const kills = events.oomKills();
  const ended = events.execEnded(execId);
  let connection: Duplex | undefined;
  try {
    // From here on the program may run: what is aborted now has to be ended, so the request itself is never left in doubt.
    connection = await api.startExec(execId, options, deadline(START_TIMEOUT_MS, broken));
    const outputs = terminal ? undivided(connection) : demultiplex(connection);
    const { pid, exitCode } = await started(api, execId, outputs, starting);
    if (pid === 0) throw await notStarted(outputs, exitCode);
    const stdin = inputOf(spec, connection);
    if (terminal && !spec.stdin) stdin.end();
    return follow({
      host,
      spec,
      pid,
      connection,
      outputs,
      stdin,
      exitOf: (wasKilled) => engineExitOf({ host, execId, ended, kills }, wasKilled),
      send: (request) => sendSignal(host, request),
    });
  } catch (error) {
    events.forget(execId);
    if (connection && signal.aborted) await giveUp(host, spec, execId);
    connection?.destroy();
    throw error;
  }
}

/** The engine starts nothing in a container that is frozen for a kill (`signal.ts`), and says so in several ways. */
function isFrozen(error: unknown): boolean {
  const refused =
    error instanceof EngineRefusal || (error instanceof GatewayError && error.code === "CONTAINER_FAILED");
  return refused && /is paused|paused state/i.test(error.message);
}

/** The engine answers a start before it has begun it, and doesn't report one; so it is asked, at growing intervals. */
async function started(api: ContainerApi, execId: string, outputs: Outputs, signal: AbortSignal): Promise<ExecState> {
  for (let waitMs = 10; ; waitMs = Math.min(waitMs * 2, 200)) {
    const state = await api.inspectExec(execId, signal);
    if (state.pid > 0 || state.exitCode !== undefined) return state;
    await Promise.race([outputs.stirred, sleep(waitMs)]);
  }
}

/** The engine writes why a program could not be started where the program would have written its output. */
async function notStarted(outputs: Outputs, exitCode: number | undefined): Promise<GatewayError> {
  let said = "";
  outputs.stderr.resume();
  for await (const chunk of outputs.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.length > 4096) break;
  }
  const plain = said.replace(/^OCI runtime exec failed: (exec failed: )?(unable to start container process: )?/, "");
  const reason = printable(plain.replaceAll(": unknown", "").trim());
  if (/not found|no such file|not a directory|not a regular file|not executable|permission denied/i.test(reason)) {
    return new GatewayError("PROGRAM_NOT_FOUND", `the program can't be started: ${reason}`);
  }
  return new GatewayError("CONTAINER_FAILED", `the program can't be started: ${reason || `status ${exitCode}`}`);
}

/** Ends a program whose start nobody waits for any more, whether it runs already or is about to. */
async function giveUp(host: RunHost, spec: RunSpec, execId: string): Promise<void> {
  if (host.broken.aborted) return;
  const signal = deadline(GIVE_UP_TIMEOUT_MS, host.broken);
  try {
    for (;;) {
      const { pid, exitCode } = await host.api.inspectExec(execId, signal);
      if (exitCode !== undefined) return;
      if (pid > 0) return await sendSignal(host, { pid, run: spec.run, signal: "SIGKILL" });
      await sleep(50, undefined, { signal });
    }
  } catch (cause) {
    host.breakWith(new GatewayError("CONTAINER_FAILED", "a program that was given up may still run", { cause }));
  }
}
