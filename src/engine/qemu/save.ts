import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, chown, copyFile, open, readFile, rm, stat } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { getuid } from "node:process";
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
/** What qcow2 needs besides the disk's contents. */
const MAX_DISK_HEADS_BYTES = 16 * MIB;

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
  { process, qmp, channel, overlay, layer, memoryMiB, diskMiB }: MachineParts,
  to: SaveTo,
  travels: Travels,
  signal: AbortSignal,
): Promise<Buffer> {
  const ended = deadline(SAVE_MS, AbortSignal.any([signal, channel.closed]));
  const marker = await settleGuest(channel, ended);
  await qmp.execute("stop", ended);
  {
    await using inlet = await openInlet(dirname(overlay), process.pid);
    // Each page has a head, of a few bytes.
    const maxBytes = MAX_DEVICES_BYTES + (travels === "everything" ? memoryMiB * MIB * 1.01 : 0);
    const written = inlet.writeTo(to.state, maxBytes, ended);
    written.catch(() => undefined);
    await prepareMigration(qmp, travels, ended);
    await qmp.execute("migrate", ended, { uri: `unix:/proc/self/fd/${FD.directory}/${SOCKET}` });
    await Promise.all([awaitMigration(qmp, ended), written]);
  }
  // Complete: QEMU writes out all that it holds of its disks when it hands them over.
  await copyAtMost(diskMiB * MIB * 1.01 + MAX_DISK_HEADS_BYTES, overlay, to.disk, ended);
  if (layer && to.layer) await copyFile(`/proc/self/fd/${layer.fd}`, to.layer);
  ended.throwIfAborted();
  return marker;
}

/** Byte for byte: a QEMU that was taken over could have made the file as long as it likes, and forged all that is in it. */
async function copyAtMost(maxBytes: number, from: string, to: string, signal: AbortSignal): Promise<void> {
  if ((await stat(from)).size > maxBytes) throw tooLong();
  await pipeline(createReadStream(from), atMost(maxBytes), createWriteStream(to, { mode: 0o600 }), { signal });
}

interface Inlet extends AsyncDisposable {
  /** Writes what the first to connect sends, to its end. */
  writeTo(path: string, maxBytes: number, signal: AbortSignal): Promise<void>;
}

/**
 * A socket that QEMU can connect to: the one way to hand out state that all its versions have, confined as it is. Both ends go by an
 * open descriptor of the directory, whose own path may be longer than a socket's address holds.
 */
async function openInlet(directory: string, pid: number): Promise<Inlet> {
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
  // For this QEMU's user, which is no other's, and nobody else; the first connection is the only one.
  const path = join(directory, SOCKET);
  const { uid, gid } = await userOf(pid);
  await chmod(path, 0o600);
  if (uid !== getuid?.()) await chown(path, uid, gid);
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

async function userOf(pid: number): Promise<{ uid: number; gid: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const id = (name: string) => Number(new RegExp(`^${name}:\\t\\d+\\t(\\d+)`, "m").exec(status)?.[1]);
  return { uid: id("Uid"), gid: id("Gid") };
}

/** A QEMU that was taken over could write without end. */
function atMost(maxBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(tooLong());
      else done(null, chunk);
    },
  });
}

function tooLong(): GatewayError {
  return new GatewayError("CHANNEL_VIOLATION", "The machine's state, or its disk, is longer than it can be.");
}
