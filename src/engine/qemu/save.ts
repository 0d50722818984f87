import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { chmod, copyFile, open, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import { FD } from "./command-line.ts";
import { settleGuest } from "./guest.ts";
import { awaitMigration, prepareMigration, type Travels } from "./migration.ts";
import type { MachineParts } from "./parts.ts";

const SAVE_MS = 120_000;
const SOCKET = "state.sock";
const MIB = 1024 * 1024;
/** The state of the devices, and what describes the memory. */
const MAX_DEVICES_BYTES = 64 * MIB;

/** Where a machine is saved to: files that do not exist yet. */
export interface SaveTo {
  readonly state: string;
  readonly disk: string;
  /** Where the layer below its disk goes to, if it has one. */
  readonly layer?: string;
}

/**
 * Stops a machine and writes what it has in its devices, on its disk and, when `everything` travels, in its memory. It stands still
 * afterwards, also when this fails. What is on its way on the channel is not lost to the machine, only to a copy.
 * @returns the bytes by which a copy is told from it
 */
export async function stopAndSave(
  { qmp, channel, overlay, layer, memoryMiB }: MachineParts,
  to: SaveTo,
  travels: Travels,
  signal: AbortSignal,
): Promise<Buffer> {
  const ended = deadline(SAVE_MS, AbortSignal.any([signal, channel.closed]));
  const marker = await settleGuest(channel, ended);
  await qmp.execute("stop", ended);
  {
    await using inlet = await openInlet(dirname(overlay));
    // Each page has a head, of a few bytes.
    const maxBytes = MAX_DEVICES_BYTES + (travels === "everything" ? memoryMiB * MIB * 1.01 : 0);
    const written = inlet.writeTo(to.state, maxBytes, ended);
    written.catch(() => undefined);
    await prepareMigration(qmp, travels, ended);
    await qmp.execute("migrate", ended, { uri: `unix:/proc/self/fd/${FD.directory}/${SOCKET}` });
    await Promise.all([awaitMigration(qmp, ended), written]);
  }
  // Complete: QEMU writes out all that it holds of its disks when it hands them over.
  await copyFile(overlay, to.disk);
  if (layer && to.layer) await copyFile(`/proc/self/fd/${layer.fd}`, to.layer);
  ended.throwIfAborted();
  return marker;
}

interface Inlet extends AsyncDisposable {
  /** Writes what the first to connect sends, to its end. */
  writeTo(path: string, maxBytes: number, signal: AbortSignal): Promise<void>;
}

/**
 * A socket that QEMU can connect to: the one way to hand out state that all its versions have, confined as it is. Both ends go by an
 * open descriptor of the directory, whose own path may be longer than a socket's address holds.
 */
async function openInlet(directory: string): Promise<Inlet> {
  const connected = Promise.withResolvers<Socket>();
  // Also when nobody waits for it.
  connected.promise.catch(() => undefined);
  const server: Server = createServer((socket) => {
    server.close();
    connected.resolve(socket);
  });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(join(directory, SOCKET), { force: true }));
  await using handle = await open(directory);
  server.listen(`/proc/self/fd/${handle.fd}/${SOCKET}`);
  await once(server, "listening");
  stack.defer(() => void server.close());
  server.on("error", connected.reject);
  // For a QEMU of another user. The directory's name is known to nobody else, and the first connection is the only one.
  await chmod(join(directory, SOCKET), 0o666);
  await chmod(directory, 0o711);
  stack.defer(() => chmod(directory, 0o700));
  const owned = stack.move();
  return {
    writeTo: async (file, maxBytes, signal) => {
      const socket = await abortable(connected.promise, signal);
      await pipeline(socket, atMost(maxBytes), createWriteStream(file, { mode: 0o600 }), { signal });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A QEMU that was taken over could write without end. */
function atMost(maxBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes)
        done(new GatewayError("CHANNEL_VIOLATION", "The machine's state is longer than it can be."));
      else done(null, chunk);
    },
  });
}
