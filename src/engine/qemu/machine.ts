import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import type { Channel } from "../channel.ts";
import type { GuestFacts, Machine, MachineFacts } from "../engine.ts";
import { beginGuest } from "./guest.ts";
import type { Launched } from "./launch.ts";
import type { QemuExit } from "./process.ts";

/** After its channel ended a machine is killed; its process normally says within milliseconds how it ended. */
const EXIT_MS = 1_000;

const signalAnswer = z.strictObject({ signalled: z.int().min(0), remaining: z.int().min(0) });

export interface MachineParts extends Launched {
  readonly id: string;
  readonly facts: MachineFacts;
  readonly guest: GuestFacts;
  readonly channel: Channel;
  /** Everything that the machine owns: its process, its channel, its files. */
  readonly owned: AsyncDisposableStack;
}

export interface QemuMachine extends Machine {
  /** Hands the machine over to be saved: from now on the end of its channel or process is no loss. Only disposal is left here. */
  surrender(): MachineParts;
}

export function createMachine(parts: MachineParts): QemuMachine {
  const { process, channel, qmp } = parts;
  const lost = new AbortController();
  let disposal: Promise<void> | undefined;
  let surrendered = false;
  const lose = (reason: GatewayError) => {
    if (!disposal && !surrendered && !lost.signal.aborted) lost.abort(reason);
  };
  const onChannelClosed = () => {
    if (surrendered) return;
    process.kill();
    const reason: unknown = channel.closed.reason;
    if (reason instanceof GatewayError && reason.code === "CHANNEL_VIOLATION") return lose(reason);
    // The process's end, which says more, is about to be seen.
    setTimeout(() => lose(new GatewayError("MACHINE_LOST", undefined, { cause: reason })), EXIT_MS).unref();
  };
  if (channel.closed.aborted) onChannelClosed();
  else channel.closed.addEventListener("abort", onChannelClosed, { once: true });
  void process.exited.then((exit) => {
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
    condemn: (reason) => {
      lose(reason);
      channel.close(reason);
    },
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
    async pause(signal) {
      await qmp.execute("stop", AbortSignal.any([signal, lost.signal]));
    },
    async resume(signal) {
      const ended = AbortSignal.any([signal, lost.signal]);
      await qmp.execute("cont", ended);
      await beginGuest(channel, "", ended);
    },
    surrender() {
      surrendered = true;
      return parts;
    },
    async [Symbol.asyncDispose]() {
      disposal ??= parts.owned.disposeAsync();
      return await disposal;
    },
  };
}

function describe({ exitCode, signal }: QemuExit, shutdown: string | undefined): string {
  if (signal) return `the machine's process was ended by ${signal}`;
  return `the machine's process ended with exit code ${exitCode}${shutdown ? ` (${shutdown})` : ""}`;
}
