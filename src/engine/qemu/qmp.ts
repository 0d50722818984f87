import type { Duplex } from "node:stream";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import { parseJson } from "../../lib/json.ts";

/** QEMU's longest answer to what is asked here is a few hundred bytes. */
const MAX_LINE_CHARS = 64 * 1024;

// QEMU adds fields between versions: unknown ones are let through.
const message = z.union([
  z.looseObject({ QMP: z.looseObject({}) }).transform(() => ({ kind: "greeting" }) as const),
  z
    .looseObject({ event: z.string(), data: z.looseObject({}).default({}) })
    .transform(({ event, data }) => ({ kind: "event", name: event, data }) as const),
  z
    .looseObject({ id: z.int(), error: z.looseObject({ class: z.string(), desc: z.string() }) })
    .transform(({ id, error }) => ({ kind: "error", id, error }) as const),
  z
    .looseObject({ id: z.int(), return: z.unknown() })
    .transform(({ id, return: value }) => ({ kind: "return", id, value }) as const),
]);

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A client of QEMU's monitor on one end of a socket pair. */
export interface Qmp {
  /** @throws GatewayError BOOT_FAILED: QEMU refused, said something else than QMP, or is gone. */
  execute(command: string, signal: AbortSignal, parameters?: object): Promise<unknown>;
}

export function createQmp(socket: Duplex, onEvent: (event: QmpEvent) => void): Qmp {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let failure: GatewayError | undefined;
  let nextId = 1;

  const fail = (reason: string) => {
    failure ??= new GatewayError("BOOT_FAILED", `QEMU's monitor ${reason}.`);
    for (const it of waiting.values()) it.reject(failure);
    waiting.clear();
    socket.destroy();
  };
  const receive = (line: string) => {
    const parsed = message.safeParse(parseJson(line));
    if (!parsed.success) return fail("sent something that is not QMP");
    const it = parsed.data;
    if (it.kind === "greeting") return;
    if (it.kind === "event") return onEvent(it);
    const request = waiting.get(it.id);
    if (!request) return fail("answered what was not asked");
    waiting.delete(it.id);
    if (it.kind === "return") request.resolve(it.value);
    else request.reject(new GatewayError("BOOT_FAILED", "QEMU refused a command.", { cause: it.error }));
  };

  let rest = "";
  socket.setEncoding("utf8");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE_CHARS) return fail("sent a line that is too long");
    for (const line of lines) if (line.trim() !== "" && !failure) receive(line);
  });
  socket.on("error", () => fail("broke"));
  socket.on("close", () => fail("closed"));

  return {
    async execute(command, signal, parameters) {
      signal.throwIfAborted();
      if (failure) throw failure;
      const id = nextId++;
      const answer = Promise.withResolvers<unknown>();
      // Stays until it is answered, even when the caller gives up: the answer still comes.
      waiting.set(id, answer);
      socket.write(`${JSON.stringify({ execute: command, ...(parameters && { arguments: parameters }), id })}\n`);
      return await abortable(answer.promise, signal);
    },
  };
}
