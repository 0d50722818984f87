import type { Duplex, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Machine } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import type { ContainerApi } from "./api.ts";
import type { Run, RunExit, RunSpec } from "./container.ts";
import { type ContainerEvents, oomKilledSince } from "./events.ts";
import { containerFailure } from "./failure.ts";
import type { Outputs } from "./outputs.ts";
import { sendSignal } from "./signal.ts";

/** What a run needs of its container. */
export interface RunHost {
  readonly api: ContainerApi;
  readonly events: ContainerEvents;
  readonly machine: Pick<Machine, "signal">;
  /** Aborts when the container is of no more use; the reason is a GatewayError. */
  readonly broken: AbortSignal;
  /** Runs one such act after the other. */
  exclusive(act: () => Promise<void>): Promise<void>;
  /** Declares the container to be of no more use. */
  breakWith(reason: GatewayError): void;
}

/** How long the report of an out-of-memory kill may come after the program's end. */
const OOM_GRACE_MS = 1000;
/** After this without a report of the program's end, the engine is asked. */
const END_REPORT_MS = 1000;

/** A program that runs, or has run. */
export interface Started {
  readonly host: RunHost;
  readonly spec: RunSpec;
  readonly execId: string;
  readonly pid: number;
  readonly connection: Duplex;
  readonly outputs: Outputs;
  readonly stdin: Writable;
  /** The engine's report of the program's end. */
  readonly ended: Promise<number>;
  /** Out-of-memory kills that were counted before the start. */
  readonly kills: number;
}

/** The caller's hold on it. */
export function follow(run: Started): Run {
  const { host, spec, pid, connection, outputs, stdin } = run;
  let over = false;
  let killed = false;
  const hangUp = () => connection.destroy();
  host.broken.addEventListener("abort", hangUp, { once: true });
  const exit = ending(run, () => killed).finally(() => {
    over = true;
    host.broken.removeEventListener("abort", hangUp);
    connection.destroy();
    host.events.forget(run.execId);
  });
  return {
    stdout: outputs.stdout,
    stderr: outputs.stderr,
    ...(spec.stdin && { stdin }),
    exit,
    signal: async (name) => {
      if ((over && name !== "SIGKILL") || host.broken.aborted) return;
      killed ||= name === "SIGKILL";
      try {
        await sendSignal(host, { pid: over ? 0 : pid, run: spec.run, signal: name });
      } catch (error) {
        if (!host.broken.aborted) throw await containerFailure(error, host.broken);
      }
    },
  };
}

/** Never rejects. */
async function ending(run: Started, wasKilled: () => boolean): Promise<RunExit> {
  const { host, outputs } = run;
  try {
    const problem = await outputs.ended;
    if (problem) throw problem;
    await Promise.allSettled([finished(outputs.stdout), finished(outputs.stderr)]);
    const exitCode = await exitCodeOf(run);
    const outOfMemory =
      exitCode === 137 && !wasKilled() && (await oomKilledSince(host.events, run.kills, OOM_GRACE_MS));
    return outOfMemory ? { by: "out-of-memory", exitCode } : exitOf(exitCode);
  } catch (error) {
    const reason = await containerFailure(error, host.broken);
    if (reason instanceof GatewayError) host.breakWith(reason);
    return { by: "machine-lost" };
  }
}

/** Output can end before the program does. */
async function exitCodeOf({ host, execId, ended }: Started): Promise<number> {
  for (;;) {
    const reported = await Promise.race([ended, sleep(END_REPORT_MS, undefined, { signal: host.broken })]);
    const exitCode = reported ?? (await host.api.inspectExec(execId, host.broken)).exitCode;
    if (exitCode !== undefined) return exitCode;
  }
}

/** Linux's numbers; the host may count otherwise. */
const SIGNALS = (
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU " +
  "XFSZ VTALRM PROF WINCH IO PWR SYS"
).split(" ");

/** The engine tells of a signal as shells do: 128 and its number. A program can exit so by itself; nobody can tell. */
export function exitOf(exitCode: number): RunExit {
  const name = SIGNALS[exitCode - 129];
  return name === undefined ? { by: "exit", exitCode } : { by: "signal", exitCode, signal: `SIG${name}` };
}
