import { once } from "node:events";
import type { Socket } from "node:net";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import { type Channel, openChannel } from "../channel.ts";
import type { GuestFacts } from "../engine.ts";
import { FD } from "./command-line.ts";
import { beginGuest } from "./guest.ts";
import { awaitMigration, prepareMigration, type Travels } from "./migration.ts";
import type { Launched, Origins } from "./parts.ts";

/** Of what the guest had still to say to the host that saved it: a window of each stream that programs write to. */
const MAX_STALE_BYTES = 64 * 1024 * 1024;

export interface TakeUpOptions {
  readonly travels: Travels;
  readonly hostname: string;
  /** Gets the channel. */
  readonly owned: AsyncDisposableStack;
}

/** Has QEMU take up saved state and go on from there. The machine is one of its own when this resolves. */
export async function takeUp(
  { process, qmp }: Launched,
  { guest: original, marker }: Origins,
  { travels, hostname, owned }: TakeUpOptions,
  signal: AbortSignal,
): Promise<{ channel: Channel; guest: GuestFacts }> {
  const gone = new AbortController();
  void process.exited.then(() => gone.abort(new GatewayError("BOOT_FAILED", "QEMU ended.")));
  const running = AbortSignal.any([signal, gone.signal]);
  await qmp.execute("qmp_capabilities", running);
  await prepareMigration(qmp, travels, running);
  await qmp.execute("migrate-incoming", running, { uri: `fd:${FD.state}` });
  await awaitMigration(qmp, running);
  await qmp.execute("cont", running);
  process.channel.write(marker);
  await skipPast(process.channel, marker, running);
  const channel = owned.use(openChannel(process.channel));
  const ended = AbortSignal.any([running, channel.closed]);
  await abortable(channel.ready, ended);
  const guest = await beginGuest(channel, hostname, ended);
  if (guest.bootId !== original.bootId || guest.kernelRelease !== original.kernelRelease)
    throw new GatewayError("CHANNEL_VIOLATION", "The copy's kernel is not the one that was saved.");
  return { channel, guest };
}

/** Reads until `marker` has been read. */
async function skipPast(socket: Socket, marker: Buffer, signal: AbortSignal): Promise<void> {
  let tail = Buffer.alloc(0);
  for (let bytes = 0; bytes <= MAX_STALE_BYTES; ) {
    const chunk: Buffer | null = socket.read();
    if (!chunk) {
      await once(socket, "readable", { signal });
      if (socket.readableEnded || socket.destroyed) throw new GatewayError("MACHINE_LOST");
      continue;
    }
    bytes += chunk.length;
    tail = Buffer.concat([tail, chunk]);
    const at = tail.indexOf(marker);
    const rest = tail.subarray(at + marker.length);
    if (at >= 0) return rest.length > 0 ? socket.unshift(rest) : undefined;
    tail = tail.subarray(Math.max(0, tail.length - marker.length));
  }
  throw new GatewayError("CHANNEL_VIOLATION", "The guest does not begin anew.");
}
