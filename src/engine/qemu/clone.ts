import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import type { GuestFacts } from "../engine.ts";
import { FD } from "./command-line.ts";
import { beginGuest } from "./guest.ts";
import { type Attempt, failureOf, type Launched, launch, machineFacts } from "./launch.ts";
import { createMachine, type QemuMachine } from "./machine.ts";
import { awaitMigration, SHARED_MEMORY_STAYS } from "./migration.ts";
import type { LoadedTemplate } from "./template.ts";

/** An idle computer needs a fiftieth of it. */
const CLONE_MS = 20_000;

/** The copy did not come to life: the template is suspect. */
export class CloneFailed extends GatewayError {
  constructor(message: string, cause: unknown) {
    super("BOOT_FAILED", message, { cause });
  }
}

/**
 * Starts a machine as a copy of a template: memory and disk are the template's until it writes to them. It has its own clock,
 * randomness and name before this resolves.
 * @throws CloneFailed
 */
export async function clone(attempt: Attempt, template: LoadedTemplate): Promise<QemuMachine> {
  const { spec, signal } = attempt;
  await using owned = new AsyncDisposableStack();
  const launched = await launch(attempt, { origin: "clone", template }, owned, () => undefined);
  let guest: GuestFacts;
  try {
    const ended = AbortSignal.any([deadline(CLONE_MS, signal), launched.channel.closed]);
    guest = await bringUp(launched, spec.hostname, ended);
    if (guest.bootId !== template.guest.bootId || guest.kernelRelease !== template.guest.kernelRelease)
      throw new GatewayError("CHANNEL_VIOLATION", "The copy's kernel is not the template's.");
  } catch (error) {
    signal.throwIfAborted();
    throw new CloneFailed(await failureOf(launched, "A copy of the saved machine did not start."), error);
  }
  const facts = machineFacts(attempt, launched.process.pid, "template");
  return createMachine({ ...launched, id: spec.id, facts, guest, owned: owned.move() });
}

async function bringUp({ qmp, channel }: Launched, hostname: string, ended: AbortSignal): Promise<GuestFacts> {
  await qmp.execute("qmp_capabilities", ended);
  await qmp.execute("migrate-set-capabilities", ended, SHARED_MEMORY_STAYS);
  await qmp.execute("migrate-incoming", ended, { uri: `fd:${FD.state}` });
  await awaitMigration(qmp, ended);
  await qmp.execute("cont", ended);
  await abortable(channel.ready, ended);
  return await beginGuest(channel, hostname, ended);
}
