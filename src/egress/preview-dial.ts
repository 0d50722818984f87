import type { Duplex } from "node:stream";
import type { Machine } from "../engine/engine.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import type { EgressOf } from "./egress.ts";
import { GuestConnection } from "./guest-connection.ts";

/** A program that listens and takes no connection. */
const ANSWER_MS = 10_000;

export interface DialGuestPorts extends Pick<EgressOf, "use"> {
  /** In which the sandbox is now. */
  readonly machine: () => Pick<Machine, "connect" | "condemn"> | undefined;
  /** Aborts when the session ends. */
  readonly ending: AbortSignal;
}

/**
 * Connects to a port of the sandbox's loopback. As long as that lasts the session is in use.
 * @throws GatewayError CONNECTION_FAILED when nobody answers there, and as `use` does
 */
export async function dialGuest(port: number, { machine, use, ending }: DialGuestPorts): Promise<Duplex> {
  const used = await use(ending);
  const now = machine();
  if (!now || ending.aborted) {
    used[Symbol.dispose]();
    throw new GatewayError("SESSION_CLOSED");
  }
  const connection = new GuestConnection(now, "/dial", { port });
  const end = () => connection.destroy();
  ending.addEventListener("abort", end, { once: true });
  connection.once("close", () => {
    ending.removeEventListener("abort", end);
    used[Symbol.dispose]();
  });
  try {
    await abortable(connection.opened, AbortSignal.timeout(ANSWER_MS));
    return connection;
  } catch (cause) {
    connection.destroy();
    const { code, message } = asGatewayError(cause);
    const why = code === "CONNECTION_FAILED" ? printable(message, 100) : "no answer";
    const text = `nothing answers on port ${port} in the sandbox (${why}): start the server there, on 127.0.0.1 or 0.0.0.0`;
    throw new GatewayError("CONNECTION_FAILED", text, { cause });
  }
}
