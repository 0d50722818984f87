import type { Duplex, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import type { SignalRequest } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import type { Run, RunExit, RunSpec } from "./container.ts";
import { containerFailure } from "./failure.ts";
import type { Outputs } from "./outputs.ts";

/** A program that runs, or has run, whichever driver started it. */
export interface Followed {
  readonly host: {
    /** Aborts when the container is of no more use; the reason is a GatewayError. */
    readonly broken: AbortSignal;
    breakWith(reason: GatewayError): void;
  };
  readonly spec: RunSpec;
  readonly pid: number;
  readonly connection: Duplex;
  readonly outputs: Omit<Outputs, "stirred">;
  readonly stdin: Writable;
  /** How it ended; asked when its output is complete, which may be before its end. `wasKilled`: by us. */
  readonly exitOf: (wasKilled: () => boolean) => Promise<RunExit>;
  readonly send: (request: SignalRequest) => Promise<void>;
}

/** The caller's hold on it. */
export function follow(run: Followed): Run {
  const { host, spec, connection, outputs, stdin } = run;
  let over = false;
  let killed = false;
  const hangUp = () => connection.destroy();
  host.broken.addEventListener("abort", hangUp, { once: true });
  const exit = ending(run, () => killed).finally(() => {
    over = true;
    host.broken.removeEventListener("abort", hangUp);
    connection.destroy();
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
        // What it left behind can be told by its marker; its number may be another's by now.
        await run.send({ pid: over ? 0 : run.pid, run: spec.run, signal: name });
      } catch (error) {
        if (!host.broken.aborted) throw await containerFailure(error, host.broken);
      }
    },
  };
}

/** Never rejects. */
async function ending({ host, outputs, exitOf }: Followed, wasKilled: () => boolean): Promise<RunExit> {
  try {
    const problem = await outputs.ended;
    if (problem) throw problem;
    await Promise.allSettled([finished(outputs.stdout), finished(outputs.stderr)]);
    return await exitOf(wasKilled);
  } catch (error) {
    const reason = await containerFailure(error, host.broken);
    if (reason instanceof GatewayError) host.breakWith(reason);
    return { by: "machine-lost" };
  }
}
