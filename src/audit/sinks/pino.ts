import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { levels, transport } from "pino";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import { messageOf } from "../../lib/error.ts";
import { once } from "../../lib/once.ts";
import { printable } from "../../lib/text.ts";
import type { Entry } from "../read.ts";
import { wantsAttention } from "./attention.ts";
import { lineEndWanted } from "./pino-file.ts";
import { PINO_FILE, type PinoSettings } from "./pino-settings.ts";
import { findTransport } from "./pino-target.ts";
import { DeliveryFailed, type Sink, type SinkPorts } from "./sink.ts";

const MAX_BATCH = { records: 1000, bytes: 1024 * 1024 };
const CLOSE_MS = 10_000;

type Stream = ReturnType<typeof transport>;

/** A transport that runs, until it fails. */
interface Running {
  readonly stream: Stream;
  /** Aborts with the reason when it fails or ends. */
  readonly broken: AbortSignal;
  /** Before its first record: what ends a line that the one before it has left unfinished. */
  lead: string;
}

/**
 * Hands records to a transport of pino's. A batch is delivered when the transport has taken all of it and its `flush`, if it has one, is through: a
 * transport without one confirms what it may still hold in memory. One that fails or is too slow is ended, and the next batch makes another.
 * @throws GatewayError CONFIG_INVALID for a target that is not there, or that others could change
 */
export async function openPinoSink(
  { target, options, timeoutSeconds }: PinoSettings,
  { hide }: Pick<SinkPorts, "hide">,
): Promise<Sink> {
  const file = await findTransport(target);
  // Without it pino/file's `flush` does not wait for what is being written, nor for the disk.
  const given = target === PINO_FILE ? { minLength: 1, ...options } : options;
  const lead = async () => (target === PINO_FILE ? await lineEndWanted(String(options["destination"])) : "");
  const closing = new AbortController();
  let running: Running | undefined;
  let delivering: Promise<void> = Promise.resolve();

  async function deliver(entries: readonly Entry[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const current = running && !running.broken.aborted ? running : start(file, given, await lead());
    running = current;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error(`no answer for ${timeoutSeconds} s`)), timeoutSeconds * 1000);
    try {
      await abortable(handed(current, entries), AbortSignal.any([signal, current.broken, late.signal]));
    } catch (cause) {
      running = undefined;
      await terminate(current.stream);
      signal.throwIfAborted();
      throw new DeliveryFailed(`the transport ${target} failed: ${printable(hide(messageOf(cause)), 300)}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    target,
    maxBatch: MAX_BATCH,
    deliveryMs: timeoutSeconds * 1000,
    deliver({ entries }, signal) {
      delivering = deliver(entries, AbortSignal.any([signal, closing.signal]));
      return delivering;
    },
    [Symbol.asyncDispose]: once(async () => {
      closing.abort(new GatewayError("SHUTTING_DOWN"));
      await delivering.catch(() => undefined);
      if (running && !running.broken.aborted) await ended(running);
    }),
  };
}

function start(file: string, options: PinoSettings["options"], lead: string): Running {
  const broken = new AbortController();
  const fail = (cause: unknown) => broken.abort(cause instanceof Error ? cause : new Error("it ended"));
  // Not ended by pino when the process exits, which would hold that up. What it prints must not get to standard output, which is MCP's.
  const stream = transport({ target: file, options, worker: { autoEnd: false, stdout: true } });
  threadOf(stream)?.stdout.resume();
  stream.on("error", fail);
  // What the error is may be told behind it, one turn later.
  stream.on("close", () => void setImmediate().then(fail));
  // What pino's own loggers tell a transport that waits for it.
  stream.emit("message", { code: "PINO_CONFIG", config: { levels, messageKey: "msg", errorKey: "err" } });
  return { stream, broken: broken.signal, lead };
}

async function handed(running: Running, entries: readonly Entry[]): Promise<void> {
  const { stream, broken, lead } = running;
  running.lead = "";
  stream.write(lead + entries.map(lineOf).join(""));
  const failure = await new Promise<Error | undefined>((resolve) => stream.flush(resolve));
  if (!failure) return;
  // That it failed is told before why.
  await setImmediate();
  broken.throwIfAborted();
  throw failure;
}

/** As pino's loggers write a line, with the record as it stands in the log. */
function lineOf({ record, text }: Entry): string {
  const { body, chain, seq, time } = record;
  const level = wantsAttention(body) ? levels.values["warn"] : levels.values["info"];
  const what = body.kind === "event" ? body.event : body.kind;
  const head = { level, time: Date.parse(time), name: "glovebox", msg: `audit: ${what}`, id: `${chain}/${seq}` };
  return `${JSON.stringify(head).slice(0, -1)},"record":${text}}\n`;
}

/** Lets the transport finish what it has. */
async function ended({ stream, broken }: Running): Promise<void> {
  stream.end();
  const { promise, resolve } = Promise.withResolvers<void>();
  broken.addEventListener("abort", () => resolve());
  if (broken.aborted) resolve();
  await abortable(promise, AbortSignal.timeout(CLOSE_MS)).catch(() => terminate(stream));
}

/** At once, whatever it does: `end` would block this thread until the transport is through. */
async function terminate(stream: Stream): Promise<void> {
  await threadOf(stream)?.terminate();
}

function threadOf(stream: Stream): Worker | undefined {
  const thread: unknown = Reflect.get(stream, "worker");
  return thread instanceof Worker ? thread : undefined;
}
