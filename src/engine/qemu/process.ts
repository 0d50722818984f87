import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";
import { GatewayError } from "../../errors.ts";
import { createTail, type Tail } from "./tail.ts";

const CONSOLE_BYTES = 64 * 1024;
const STDERR_BYTES = 8 * 1024;

const FIRST_FILE = 6;

/** How long a killed process may take to be gone; a kernel that can't end it is past our means. */
const KILL_MS = 2_500;

export interface QemuExit {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running QEMU; disposal kills it and waits for its end. */
export interface QemuProcess extends AsyncDisposable {
  readonly pid: number;
  readonly channel: Socket;
  readonly qmp: Socket;
  /** The end of the guest's serial console, as it came: not printable yet. */
  readonly console: Tail;
  /** The end of QEMU's own complaints. */
  readonly stderr: Tail;
  readonly exited: Promise<QemuExit>;
  /** Sends SIGKILL; does nothing when the process has ended. */
  kill(): void;
}

export interface QemuStart {
  /** The descriptors it gets from 6 on ("none": nothing that it could use); the caller closes its own copies afterwards. */
  readonly files: readonly (number | "none")[];
  /** Saved state, which it can read from the descriptor after the files. */
  readonly state?: Buffer;
  readonly onConsole: (chunk: Buffer) => void;
}

/** Starts `argv`. @throws GatewayError QEMU_MISSING */
export async function startQemu(argv: readonly string[], { files, state, onConsole }: QemuStart): Promise<QemuProcess> {
  const [program = "", ...rest] = argv;
  const inherited = files.map((it) => (it === "none" ? "ignore" : it));
  const child = spawn(program, rest, {
    cwd: "/",
    env: { PATH: process.env["PATH"], LC_ALL: "C" },
    // A session of its own: Ctrl-C in the gateway's terminal is the gateway's to handle.
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe", "pipe", ...inherited, ...(state ? ["pipe" as const] : [])],
  });
  const exited = exitOf(child);
  await spawned(child);
  const pid = child.pid;
  if (pid === undefined) throw new GatewayError("INTERNAL", undefined, { cause: "a process without an id" });
  const console = drain(socketAt(child, 5), CONSOLE_BYTES, onConsole);
  const stderr = drain(socketAt(child, 2), STDERR_BYTES);
  const kill = () => void child.kill("SIGKILL");
  const channel = socketAt(child, 3);
  // Whoever reads it sees its end; between two readers nobody listens.
  channel.on("error", () => channel.destroy());
  if (state) give(socketAt(child, FIRST_FILE + files.length), state);
  return {
    pid,
    channel,
    qmp: socketAt(child, 4),
    console,
    stderr,
    exited,
    kill,
    async [Symbol.asyncDispose]() {
      kill();
      const timer = Promise.withResolvers<undefined>();
      const timeout = setTimeout(timer.resolve, KILL_MS, undefined);
      const exit = await Promise.race([exited, timer.promise]);
      clearTimeout(timeout);
      for (const stream of child.stdio) stream?.destroy();
      if (!exit) throw new GatewayError("INTERNAL", `The machine's process ${pid} did not end within ${KILL_MS} ms.`);
    },
  };
}

async function spawned(child: ChildProcess): Promise<void> {
  const started = Promise.withResolvers<void>();
  child.once("spawn", started.resolve);
  // Stays: a signal that can't be delivered is reported here as well.
  child.on("error", (cause) => started.reject(new GatewayError("QEMU_MISSING", undefined, { cause })));
  return await started.promise;
}

async function exitOf(child: ChildProcess): Promise<QemuExit> {
  const exited = Promise.withResolvers<QemuExit>();
  child.once("exit", (exitCode, signal) => exited.resolve({ exitCode, signal }));
  return await exited.promise;
}

/** QEMU that ends before it has read it all says so by itself. */
function give(socket: Socket, content: Buffer): void {
  socket.on("error", () => socket.destroy());
  socket.end(content);
}

function socketAt(child: ChildProcess, index: number): Socket {
  // The type ends at 4; spawn gave us more.
  const stream: unknown = (child.stdio as readonly unknown[])[index];
  if (stream instanceof Socket) return stream;
  throw new GatewayError("INTERNAL", undefined, { cause: `descriptor ${index} is no socket` });
}

/** Reads without end, so that a guest that floods its console blocks nothing and fills nothing. */
function drain(socket: Socket, maxBytes: number, onChunk?: (chunk: Buffer) => void): Tail {
  const tail = createTail(maxBytes);
  socket.on("data", (chunk: Buffer) => {
    tail.push(chunk);
    onChunk?.(chunk);
  });
  socket.on("error", () => socket.destroy());
  return tail;
}
