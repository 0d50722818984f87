import { asJson } from "./audit/as-json.ts";
import { factsIn } from "./audit/facts.ts";
import { hardenedOptions } from "./container/hardening.ts";
import { weakerThan } from "./container/weaker.ts";
import { printable } from "./lib/text.ts";
import type { Inspection, ToInspect } from "./session/inspection.ts";

const MAX_WEAKNESS_CHARS = 500;

/**
 * Looks at a sandbox from outside of its container: at the container by way of the machine's engine, and at the machine's process on this host. It
 * is compared with what the container was made from and how the process was started.
 * @throws GatewayError CHANNEL_VIOLATION, CONTAINER_FAILED, MACHINE_LOST; the signal's reason when aborted
 */
export async function inspectSandbox(
  { container: id, machine, spec }: ToInspect,
  signal: AbortSignal,
): Promise<Inspection> {
  // As for starting a container: dockerode is loaded when it is needed.
  const { inspectContainer } = await import("./container/docker.ts");
  const word = await inspectContainer(id, machine, signal);
  const { weaker, ...sighting } = await machine.observe();
  const { engine: kind, engineVersion, level, acceleration, pid } = machine.facts;
  return {
    facts: factsIn(
      asJson({ ...word, machine: { engine: kind, engineVersion, level, acceleration, pid, ...sighting } }),
    ),
    // Some of it quotes the guest, at whatever length.
    weaker: [...weakerThan(hardenedOptions(spec), word), ...weaker].map((it) => printable(it, MAX_WEAKNESS_CHARS)),
  };
}
