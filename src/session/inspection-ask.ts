import { readdir, stat } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { z } from "zod";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing, messageOf } from "../lib/error.ts";
import { parseJson } from "../lib/json.ts";
import type { InspectedSession } from "./inspection.ts";
import { answerLine, inspectionDirectory, socketIn } from "./inspection-place.ts";

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** What a gateway answered, or why there is no answer. */
export interface Asked {
  readonly gateway: string;
  readonly sessions: readonly InspectedSession[];
  /** Its sessions, or some, were not inspected. */
  readonly problem?: string;
}

/**
 * Asks every gateway that runs on a state directory to inspect its sessions now; resolves when what they saw is on record. Those that have died
 * are left out.
 * @throws GatewayError CONFIG_INVALID when the directory can't be read
 */
export async function askGateways(stateDirectory: string, signal: AbortSignal): Promise<readonly Asked[]> {
  const gateways = join(stateDirectory, "gateways");
  const asked = await Promise.all((await names(gateways)).map((it) => ask(join(gateways, it), it, signal)));
  return asked.filter((it) => it !== undefined);
}

async function ask(home: string, gateway: string, signal: AbortSignal): Promise<Asked | undefined> {
  const sessions: InspectedSession[] = [];
  try {
    await using place = await socketIn(inspectionDirectory(home));
    await stat(place.path);
    for await (const line of answered(place.path, signal)) {
      if ("sessionId" in line) sessions.push(line);
      else if ("failed" in line) return { gateway, sessions, problem: `${line.failed}: ${line.message}` };
      else return { gateway, sessions };
    }
    return { gateway, sessions, problem: "it hung up before it had answered" };
  } catch (error) {
    // The kernel has nobody behind the socket: its gateway was killed, and the next one that starts removes what it left.
    if (codeOf(error) === "ECONNREFUSED") return undefined;
    if (isMissing(error))
      return { gateway, sessions, problem: "it takes no questions: it starts, or ends, or is older" };
    return { gateway, sessions, problem: signal.aborted ? "it did not answer in time" : messageOf(error) };
  }
}

async function* answered(path: string, signal: AbortSignal): AsyncGenerator<z.infer<typeof answerLine>> {
  signal.throwIfAborted();
  const socket = connect({ path });
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) socket.destroy(new GatewayError("INTERNAL", "its answer is too long"));
  });
  socket.on("error", failed.reject);
  const onAbort = () => socket.destroy(new GatewayError("CANCELLED", "it did not answer in time"));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([lines.next(), failed.promise]);
      if (next.done) return;
      const line = answerLine.safeParse(parseJson(next.value));
      if (!line.success) throw new GatewayError("INTERNAL", "its answer can't be read");
      yield line.data;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.destroy();
  }
}

async function names(directory: string): Promise<string[]> {
  try {
    const found = await readdir(directory, { withFileTypes: true });
    // One that is being born has a dot before its name.
    return found.flatMap((it) => (it.isDirectory() && !it.name.startsWith(".") ? [it.name] : []));
  } catch (error) {
    if (isMissing(error)) return [];
    throw new GatewayError("CONFIG_INVALID", `gateways can't be looked for in \`${directory}\`: ${messageOf(error)}`);
  }
}
