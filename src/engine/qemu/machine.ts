import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import type { Machine } from "../engine.ts";
import { beginGuest } from "./guest.ts";
import { cancelMigration } from "./migration.ts";
import { observeProcess } from "./observe.ts";
import type { Attempt, MachineParts } from "./parts.ts";
import type { QemuExit } from "./process.ts";
import { writeSave } from "./saved.ts";
import { shapeOf } from "./shape.ts";

/** After its channel ended a machine is killed; its process normally says within milliseconds how it ended. */
const EXIT_MS = 1_000;

/** A machine that was saved goes on within this time. */
const GO_ON_MS = 30_000;

const nothing = z.strictObject({});
const signalAnswer = z.strictObject({ signalled: z.int().min(0), remaining: z.int().min(0) });

export interface QemuMachine extends Machine {
  /** For whoever saves it. */
  readonly parts: MachineParts;
}

/** What of a machine's parts is known before it starts. */
export function partsOf(
  attempt: Attempt,
): Pick<MachineParts, "id" | "memoryMiB" | "diskMiB" | "shape" | "confinement"> {
  const { id, memoryMiB, diskMiB } = attempt.spec;
  return { id, memoryMiB, diskMiB, shape: shapeOf(attempt), confinement: attempt.qemu.confinement };
}

export function createMachine(parts: MachineParts): QemuMachine {
  const { process, channel, qmp } = parts;
  const lost = new AbortController();
  let disposal: Promise<void> | undefined;
  let saving = Promise.resolve();
  let hasExited = false;
  const lose = (reason: GatewayError) => {
    if (!disposal && !lost.signal.aborted) lost.abort(reason);
  };
  const onChannelClosed = () => {
    process.kill();
    const reason: unknown = channel.closed.reason;
    if (reason instanceof GatewayError && reason.code === "CHANNEL_VIOLATION") return lose(reason);
    // The process's end, which says more, is about to be seen.
    setTimeout(() => lose(new GatewayError("MACHINE_LOST", undefined, { cause: reason })), EXIT_MS).unref();
  };
  const condemn = (reason: GatewayError) => {
    lose(reason);
    channel.close(reason);
  };
  if (channel.closed.aborted) onChannelClosed();
  else channel.closed.addEventListener("abort", onChannelClosed, { once: true });
  void process.exited.then((exit) => {
    hasExited = true;
    channel[Symbol.dispose]();
    lose(new GatewayError("MACHINE_LOST", undefined, { cause: describe(exit, parts.shutdown()) }));
  });

  return {
    id: parts.id,
    facts: parts.facts,
    guest: parts.guest,
    connect: (service) => channel.open(service),
    dockerAgent: channel.dockerAgent,
    lost: lost.signal,
    parts,
    condemn,
    async signal({ pid, run, signal: name }, signal) {
      const ended = AbortSignal.any([signal, lost.signal]);
      const { remaining } = await abortable(
        channel.ask("/signal", { pid, run, signal: name }, signalAnswer, ended),
        ended,
      );
      if (name === "SIGKILL" && remaining > 0) {
        throw new GatewayError("CONTAINER_FAILED", `${remaining} processes of the run are still there after SIGKILL.`);
      }
    },
    observe: () => observeProcess({ pid: process.pid, isAlive: () => !hasExited, confinement: parts.confinement }),
    async trust(trust, signal) {
      const ended = AbortSignal.any([signal, lost.signal]);
      await abortable(channel.ask("/trust", trust, nothing, ended), ended);
    },
    async pause(signal) {
      await qmp.execute("stop", AbortSignal.any([signal, lost.signal]));
    },
    async resume(signal) {
      const ended = AbortSignal.any([signal, lost.signal]);
      await qmp.execute("cont", ended);
      await beginGuest(channel, "", ended);
    },
    async save(directory, signal) {
      const before = saving;
      const { promise, resolve } = Promise.withResolvers<void>();
      // Also after one that gave up waiting.
      saving = before.then(() => promise);
      try {
        await abortable(before, signal);
        channel.closed.throwIfAborted();
        await save(parts, directory, AbortSignal.any([signal, lost.signal]), condemn);
      } finally {
        resolve();
      }
    },
    async [Symbol.asyncDispose]() {
      disposal ??= parts.owned.disposeAsync();
      return await disposal;
    },
  };
}

/** Saves the machine and lets it go on, whatever came of it. One that can't go on is of no more use. */
async function save(
  parts: MachineParts,
  directory: string,
  signal: AbortSignal,
  condemn: (reason: GatewayError) => void,
): Promise<void> {
  const { qmp, channel } = parts;
  try {
    await writeSave(parts, directory, signal);
  } catch (error) {
    // Its files go with it: what is missing then is no fault of ours.
    channel.closed.throwIfAborted();
    throw error;
  } finally {
    try {
      const ended = deadline(GO_ON_MS, channel.closed);
      await cancelMigration(qmp, ended);
      await qmp.execute("cont", ended);
      await beginGuest(channel, "", ended);
    } catch (cause) {
      condemn(new GatewayError("MACHINE_LOST", "The sandbox did not go on after it was saved.", { cause }));
    }
  }
}

function describe({ exitCode, signal }: QemuExit, shutdown: string | undefined): string {
  if (signal) return `the machine's process was ended by ${signal}`;
  return `the machine's process ended with exit code ${exitCode}${shutdown ? ` (${shutdown})` : ""}`;
}
