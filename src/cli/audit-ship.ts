import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { Shipper } from "../audit/ship/shipper.ts";
import { sinkDirectory } from "../audit/ship/shipping.ts";
import { statusOf } from "../audit/ship/status.ts";
import { openSink } from "../audit/sinks/open.ts";
import type { SinkSettings } from "../audit/sinks/settings.ts";
import { GatewayError } from "../errors.ts";
import { logIn } from "./audit-io.ts";
import { type LoggingContext, meantSinks } from "./audit-logging.ts";
import { UNREACHED } from "./audit-status.ts";
import { oneLine } from "./audit-text.ts";

interface Options {
  readonly dataDir?: string;
  readonly config?: string;
  readonly sink?: string;
  readonly once?: boolean;
}

const PROGRESS_MS = 1_000;

/** `glovebox audit ship`: ships the log without a gateway. */
export function shipCommand(context: LoggingContext): Command {
  return new Command("ship")
    .description("ship the log to its receivers without a gateway, until interrupted")
    .option("--once", "end when they have everything; exit code 1 when one could not get it")
    .option("--sink <name>", "to this one only")
    .option("--config <file>", "your glovebox.yaml (env GLOVEBOX_CONFIG)")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
Gateways ship while they run. This is for what the last one left, and for where none runs for long. One process at a time ships to a sink:
with \`--once\` a sink that another process ships to is left to it, without, this one stands by.

Examples:
  $ glovebox audit ship --once                 from a timer, or before a computer is taken away
  $ glovebox audit ship --once --sink central`,
    )
    .action((options: Options) => ship(context, options));
}

async function ship(context: LoggingContext, { dataDir, once: isOnce = false, ...meant }: Options): Promise<void> {
  const sinks = await meantSinks(context, meant);
  if (sinks.length === 0) {
    throw new GatewayError(
      "CONFIG_INVALID",
      "there are no sinks: name one in `logging` of glovebox.yaml; docs/logging.md shows how",
    );
  }
  // One that is to end would have nothing to wait for.
  if (isOnce) await logIn(context.directory(dataDir));
  const closing = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => closing.abort());
  const places = { auditDirectory: context.directory(dataDir), dataDirectory: context.dataDirectory(dataDir) };
  const ports = context.ports(closing.signal);
  const jobs = sinks.map((settings) => start(settings, places, ports, isOnce));
  const interrupted = once(closing.signal, "abort");
  const ended = Promise.all(jobs.map((it) => it.shipper.ended)).then(() => false);
  const progress = new AbortController();
  const telling = tellProgress(jobs, progress.signal);
  const wasInterrupted = await Promise.race([ended, interrupted.then(() => true)]);
  await Promise.all(jobs.map((it) => it.shipper[Symbol.asyncDispose]()));
  progress.abort();
  await telling;
  for (const { settings, directory } of jobs) {
    const { state, delivered, lag, lastError, pid } = await statusOf(settings.name, { ...places, directory });
    const who = pid === undefined ? "" : `; process ${pid} ships to it`;
    const problem = lastError && state === "failing" ? `: ${oneLine(lastError.message, 500)}` : "";
    const why = state === "unreached" ? `: ${UNREACHED}` : problem;
    say(`${settings.name}: ${state}, ${delivered} records confirmed, ${lag.records} not yet${who}${why}`);
    const isBehind = lag.records > 0 || lag.seconds === null;
    const isLeft = state === "failing" || state === "stopped" || (isOnce && isBehind && pid === undefined);
    if (isLeft && !(wasInterrupted && !isOnce)) process.exitCode = 1;
  }
}

function start(
  settings: SinkSettings,
  { auditDirectory, dataDirectory }: { readonly auditDirectory: string; readonly dataDirectory: string },
  ports: Parameters<typeof openSink>[1],
  isOnce: boolean,
) {
  const directory = sinkDirectory(dataDirectory, settings.name);
  const shipper = new Shipper({
    auditDirectory,
    directory,
    open: () => openSink(settings, ports),
    hide: ports.hide,
    tell: (news) => {
      const problem = "problem" in news ? `: ${oneLine(news.problem, 500)}` : "";
      say(`${settings.name}: ${news.event === "logging-failed" ? "failing" : "recovered"}${problem}`);
    },
    once: isOnce,
  });
  return { settings, directory, shipper };
}

/** A line for each sink whose lag has changed, every second. */
async function tellProgress(jobs: readonly ReturnType<typeof start>[], signal: AbortSignal): Promise<void> {
  const told = new Map<string, number>();
  while (!signal.aborted) {
    await sleep(PROGRESS_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    for (const { settings, shipper } of jobs) {
      const records = shipper.lag()?.records ?? 0;
      if (records === (told.get(settings.name) ?? 0)) continue;
      told.set(settings.name, records);
      say(`${settings.name}: ${records} records to ship`);
    }
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
