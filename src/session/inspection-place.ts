import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";

/*
 * How `glovebox compliance report --live` reaches the gateways of a data directory:
 *
 *     <stateDirectory>/gateways/<gateway>/inspection/          0700
 *     <stateDirectory>/gateways/<gateway>/inspection/socket    0600
 *
 * A connection is the whole question: nothing that comes in is read. The answer is one line of JSON a session, and one more that ends it.
 */

const SOCKET = "socket";
/** What the address of a Unix socket holds, without the zero that ends it: 103 on macOS, 107 on Linux (unix(7)). */
const MAX_SOCKET_BYTES = 103;

export function inspectionDirectory(gatewayHome: string): string {
  return join(gatewayHome, "inspection");
}

/** Where a socket can be reached. Disposal ends that. */
export interface SocketPath extends AsyncDisposable {
  readonly path: string;
}

/**
 * The path of the socket in `directory`, however long that is: Linux has a short one for every directory that is open.
 * @throws GatewayError STATE_UNWRITABLE where there is none; the file system's error when there is no such directory
 */
export async function socketIn(directory: string): Promise<SocketPath> {
  const path = join(directory, SOCKET);
  if (Buffer.byteLength(path) <= MAX_SOCKET_BYTES) return { path, [Symbol.asyncDispose]: async () => undefined };
  if (process.platform !== "linux") {
    const problem = `\`${path}\` is longer than the ${MAX_SOCKET_BYTES} bytes that a socket's name may have`;
    throw new GatewayError("STATE_UNWRITABLE", `${problem}: use a shorter data directory`);
  }
  const handle: FileHandle = await open(directory, "r");
  return { path: `/proc/self/fd/${handle.fd}/${SOCKET}`, [Symbol.asyncDispose]: () => handle.close() };
}

const text = (maxChars: number) => z.string().max(maxChars);

/** One line of an answer: a session; or the end, with how many there were, or why there is no more. */
export const answerLine = z.union([
  z.strictObject({
    sessionId: text(100),
    state: z.enum(["inspected", "hibernated", "unseen", "opening", "lost", "closing", "closed"]),
    weaker: z.array(text(4_000)).max(1_000).readonly(),
    problem: text(4_000).exactOptional(),
  }),
  z.strictObject({ sessions: z.int().min(0) }),
  z.strictObject({ failed: text(100), message: text(4_000) }),
]);
