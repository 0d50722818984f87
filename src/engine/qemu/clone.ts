import { once } from "node:events";
import type { Socket } from "node:net";
import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import { type Channel, openChannel } from "../channel.ts";
import type { GuestFacts } from "../engine.ts";
import { FD } from "./command-line.ts";
import { beginGuest } from "./guest.ts";
import { type Attempt, failureOf, type Launched, launch, machineFacts } from "./launch.ts";
import { createMachine, type QemuMachine } from "./machine.ts";
import { awaitMigration, SHARED_MEMORY_STAYS } from "./migration.ts";
import type { LoadedTemplate } from "./template.ts";

/** An idle computer needs a fiftieth of it. */
const CLONE_MS = 20_000;
/** Of what the guest had still to say to the template's host. */
const MAX_STALE_BYTES = 256 * 1024;

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
  let channel: Channel;
  let guest: GuestFacts;
  try {
    const patience = deadline(CLONE_MS, signal);
    await takeUp(launched, template, patience);
    channel = owned.use(openChannel(launched.process.channel));
    const ended = AbortSignal.any([patience, channel.closed]);
    await abortable(channel.ready, ended);
    guest = await beginGuest(channel, spec.hostname, ended);
    if (guest.bootId !== template.guest.bootId || guest.kernelRelease !== template.guest.kernelRelease)
      throw new GatewayError("CHANNEL_VIOLATION", "The copy's kernel is not the template's.");
  } catch (error) {
    signal.throwIfAborted();
    throw new CloneFailed(await failureOf(launched, "A copy of the saved machine did not start."), error);
  }
  const facts = machineFacts(attempt, launched.process.pid, "template");
  return createMachine({ ...launched, channel, id: spec.id, facts, guest, owned: owned.move() });
}

/** Has QEMU take up the saved state and go on from there, until the guest greets its new host. */
async function takeUp({ process, qmp }: Launched, { marker }: LoadedTemplate, signal: AbortSignal): Promise<void> {
  const gone = new AbortController();
  void process.exited.then(() => gone.abort(new GatewayError("BOOT_FAILED", "QEMU ended.")));
  const ended = AbortSignal.any([signal, gone.signal]);
  await qmp.execute("qmp_capabilities", ended);
  await qmp.execute("migrate-set-capabilities", ended, SHARED_MEMORY_STAYS);
  await qmp.execute("migrate-incoming", ended, { uri: `fd:${FD.state}` });
  await awaitMigration(qmp, ended);
  await qmp.execute("cont", ended);
  await skipPast(process.channel, marker, ended);
}

/** Reads until `marker` has been read. */
async function skipPast(socket: Socket, marker: Buffer, signal: AbortSignal): Promise<void> {
  let seen = Buffer.alloc(0);
  for (;;) {
    const chunk: Buffer | null = socket.read();
    if (!chunk) {
      await once(socket, "readable", { signal });
      if (socket.readableEnded || socket.destroyed) throw new GatewayError("MACHINE_LOST");
      continue;
    }
    seen = Buffer.concat([seen, chunk]);
    const at = seen.indexOf(marker);
    const rest = seen.subarray(at + marker.length);
    if (at >= 0) return rest.length > 0 ? socket.unshift(rest) : undefined;
    if (seen.length > MAX_STALE_BYTES) throw new GatewayError("CHANNEL_VIOLATION");
  }
}
