import { setTimeout as sleep } from "node:timers/promises";
import type { Machine } from "../engine/engine.ts";
import type { GatewayError } from "../errors.ts";
import type { ContainerApi } from "./api.ts";
import type { RunExit } from "./container.ts";
import { type ContainerEvents, oomKilledSince } from "./events.ts";

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

/** How long the report of an out-of-memory kill may come after the program's end: seconds where the machine is emulated and busy. */
const OOM_GRACE_MS = 5000;
/** After this without a report of the program's end, the engine is asked. */
const END_REPORT_MS = 1000;

/** A program that runs, or has run, as the engine knows it. */
export interface EngineRun {
  readonly host: RunHost;
  readonly execId: string;
  /** The engine's report of the program's end. */
  readonly ended: Promise<number>;
  /** Out-of-memory kills that were counted before the start. */
  readonly kills: number;
}

/** How it ended. Nothing more is asked about it. */
export async function engineExitOf(run: EngineRun, wasKilled: () => boolean): Promise<RunExit> {
  const { events } = run.host;
  try {
    const exitCode = await exitCodeOf(run);
    const outOfMemory = exitCode === 137 && !wasKilled() && (await oomKilledSince(events, run.kills, OOM_GRACE_MS));
    return outOfMemory ? { by: "out-of-memory", exitCode } : exitFromCode(exitCode);
  } finally {
    events.forget(run.execId);
  }
}

/** Output can end before the program does. */
async function exitCodeOf({ host, execId, ended }: EngineRun): Promise<number> {
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
export function exitFromCode(exitCode: number): RunExit {
  const name = SIGNALS[exitCode - 129];
  return name === undefined ? { by: "exit", exitCode } : { by: "signal", exitCode, signal: `SIG${name}` };
}
