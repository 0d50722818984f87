import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { chmod, open, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import { FD } from "./command-line.ts";
import { settleGuest } from "./guest.ts";
import type { QemuMachine } from "./machine.ts";
import { awaitMigration, SHARED_MEMORY_STAYS } from "./migration.ts";

const SAVE_MS = 60_000;
const POLL_MS = 10;
const SOCKET = "state.sock";
/** On the guest's console once it has noticed that this host is gone (`guest/agent/channel.go`). */
const WAITING = "glovebox: waiting for the next host";

export interface Saved {
  /** What the guest greets the next host with. */
  readonly marker: Buffer;
  /** The disk, complete until the machine is disposed of. */
  readonly overlay: string;
}

/**
 * Stops a machine whose memory is a file, writes the state of its devices to `path`, and ends its process. What the machine had
 * in its memory and on its disk is then complete in those files. The machine must be idle: what travels on its channel is lost.
 */
export async function saveMachine(machine: QemuMachine, path: string, signal: AbortSignal): Promise<Saved> {
  const { process, qmp, channel, overlay } = machine.surrender();
  const ended = deadline(SAVE_MS, signal);
  const marker = await settleGuest(channel, ended);
  channel[Symbol.dispose]();
  while (!process.console.text().includes(WAITING)) await sleep(POLL_MS, undefined, { signal: ended });
  await qmp.execute("stop", ended);
  await using inlet = await openInlet(dirname(overlay));
  const written = inlet.writeTo(path, ended);
  written.catch(() => undefined);
  await qmp.execute("migrate-set-capabilities", ended, SHARED_MEMORY_STAYS);
  await qmp.execute("migrate", ended, { uri: `unix:/proc/self/fd/${FD.directory}/${SOCKET}` });
  await Promise.all([awaitMigration(qmp, ended), written]);
  // Its disk is written out when it ends by itself.
  qmp.execute("quit", ended).catch(() => undefined);
  const { exitCode } = await abortable(process.exited, ended);
  if (exitCode !== 0) throw new GatewayError("BOOT_FAILED", `QEMU ended with exit code ${exitCode} as it was saved.`);
  return { marker, overlay };
}

interface Inlet extends AsyncDisposable {
  /** Writes what the first to connect sends, to its end. */
  writeTo(path: string, signal: AbortSignal): Promise<void>;
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
    writeTo: async (file, signal) => {
      const socket = await abortable(connected.promise, signal);
      await pipeline(socket, createWriteStream(file, { mode: 0o600 }), { signal });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
