import { setTimeout as sleep } from "node:timers/promises";
import type { SignalRequest } from "../engine/engine.ts";
import { deadline } from "../lib/deadline.ts";
import type { RunHost } from "./run.ts";

const TIMEOUT_MS = 60_000;
/** A kill that takes longer is being outrun: ordinary ones take a tenth of it. */
const KILL_ALONE_MS = 1000;

/**
 * Signals a run's processes. A fork bomb makes new ones while the old are killed, and keeps the machine so busy that finding them
 * takes minutes: when a kill lasts, the container is frozen until it is done. Frozen processes don't run but can be killed.
 */
export async function sendSignal(host: RunHost, request: SignalRequest): Promise<void> {
  const signal = deadline(TIMEOUT_MS, host.broken);
  const sent = host.machine.signal(request, signal);
  if (request.signal !== "SIGKILL") return await sent;
  const alone = sent.then(
    () => true,
    () => false,
  );
  if (await Promise.race([alone, sleep(KILL_ALONE_MS, false)])) return;
  await host.exclusive(async () => {
    await host.api.pause(signal);
    try {
      await alone;
      await host.machine.signal(request, signal);
    } finally {
      // The other runs stand still until then, so this is not given up with the kill.
      await host.api.unpause(deadline(TIMEOUT_MS, host.broken));
    }
  });
}
