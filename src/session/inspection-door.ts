import { chmod, mkdir } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { asGatewayError, GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { InspectedSession } from "./inspection.ts";
import { inspectionDirectory, socketIn } from "./inspection-place.ts";

export interface DoorPorts {
  /** The gateway's own directory in the state directory. */
  readonly home: string;
  /** Looks at every session, and resolves when what was seen is on record. */
  readonly inspect: (signal: AbortSignal) => Promise<readonly InspectedSession[]>;
  readonly log: Logger;
}

/** More at once are hung up on. */
const MAX_ASKING = 16;
/** Longer than whoever asks waits for an answer. Who neither reads it nor goes would have others hung up on. */
const IDLE_MS = 120_000;

/**
 * Has the gateway inspect its sessions whenever somebody connects to its socket, which this user and root can: one inspection at a time, who comes
 * meanwhile is told what that one finds. Nothing a client sends is read, and one that sends anything is hung up on. A gateway that can't have
 * such a socket says so and goes on without: evidence is missing then, and nothing is less confined.
 */
export async function openInspectionDoor({ home, inspect, log }: DoorPorts): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const ending = new AbortController();
  const asking = new Set<Socket>();
  let running: Promise<readonly InspectedSession[]> | undefined;

  const answer = async (): Promise<readonly object[]> => {
    try {
      running ??= inspect(ending.signal).finally(() => {
        running = undefined;
      });
      const sessions = await running;
      return [...sessions, { sessions: sessions.length }];
    } catch (error) {
      if (!ending.signal.aborted) log.error({ err: error }, "sessions could not be inspected");
      const { code, message } = asGatewayError(error);
      return [{ failed: code, message }];
    }
  };
  const server = createServer((socket) => {
    asking.add(socket);
    socket.once("close", () => asking.delete(socket));
    // Who hangs up has no use for the answer; the inspection goes on.
    socket.on("error", () => socket.destroy());
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on("data", () => socket.destroy());
    void answer().then((lines) => {
      const text = lines.map((it) => `${JSON.stringify(it)}\n`).join("");
      if (socket.writable) socket.end(text, () => socket.destroy());
    });
  });
  server.maxConnections = MAX_ASKING;
  try {
    const directory = inspectionDirectory(home);
    // Nobody else passes it, so that nobody connects before the socket has its mode.
    await mkdir(directory, { mode: 0o700 });
    const { path } = stack.use(await socketIn(directory));
    const listening = Promise.withResolvers<void>();
    server.once("error", listening.reject);
    server.listen(path, listening.resolve);
    await listening.promise;
    stack.defer(async () => {
      ending.abort(new GatewayError("SHUTTING_DOWN"));
      for (const socket of asking) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await running?.catch(() => undefined);
    });
    server.on("error", (error) => log.warn({ err: error }, "the socket for inspections failed"));
    await chmod(path, 0o600);
  } catch (error) {
    log.warn({ err: error }, "sessions can't be inspected: there is no socket for it");
  }
  return stack.move();
}
