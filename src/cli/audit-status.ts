import { Command } from "commander";
import pc from "picocolors";
import { type Extent, measureLog } from "../audit/extent.ts";
import { sinkDirectory } from "../audit/ship/shipping.ts";
import { type SinkStatus, statusOf } from "../audit/ship/status.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { type LoggingContext, meantSinks } from "./audit-logging.ts";
import { prometheusText } from "./audit-prometheus.ts";
import { counted, jsonText, oneLine } from "./audit-text.ts";

interface Options {
  readonly dataDir?: string;
  readonly config?: string;
  readonly json?: boolean;
  readonly prometheus?: boolean;
}

const colour = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);
const COLOURS = {
  current: colour.green,
  unreached: colour.yellow,
  behind: colour.yellow,
  failing: colour.red,
  stopped: colour.red,
} as const;

export const UNREACHED =
  "nothing was ever confirmed, so nobody knows whether it can be reached: `glovebox doctor` tries it";

/** `glovebox audit status`: how large the log is, and how far it has been shipped. */
export function statusCommand(context: LoggingContext): Command {
  return new Command("status")
    .description(
      "how large the log is, and what each receiver of it has; exit code 1 when one fails (not of --prometheus)",
    )
    .option("--json", "print it as JSON")
    .option("--prometheus", "print it for a node exporter's textfile collector")
    .option("--config <file>", "your glovebox.yaml (env GLOVEBOX_CONFIG)")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
A sink is \`current\`, \`unreached\` (it never confirmed anything, and nothing waits: \`glovebox doctor\` tries it), \`behind\` (records wait to be
shipped), \`failing\` (it is tried again) or \`stopped\` (a chain of the log is damaged).
The lag is measured in the log, so it is right also when no gateway runs; where that is damaged, its age is unknown (in JSON \`null\`). docs/logging.md says how sinks are set up.

Examples:
  $ glovebox audit status
  $ glovebox audit status --json | jq '.sinks[] | select(.lag.seconds == null or .lag.seconds > 60)'
  $ glovebox audit status --prometheus > /var/lib/node_exporter/glovebox.prom.new &&
      mv /var/lib/node_exporter/glovebox.prom.new /var/lib/node_exporter/glovebox.prom`,
    )
    .action((options: Options) => status(context, options));
}

async function status(context: LoggingContext, { dataDir, config, json, prometheus }: Options): Promise<void> {
  const auditDirectory = context.directory(dataDir);
  const settings = await meantSinks(context, config === undefined ? {} : { config });
  const log = await measureLog(await logIn(auditDirectory));
  const sinks: SinkStatus[] = [];
  for (const { name } of settings) {
    const directory = sinkDirectory(context.dataDirectory(dataDir), name);
    sinks.push(await readable(directory, statusOf(name, { directory, auditDirectory })));
  }
  // What collects metrics has the states there, and would throw them away with a program that failed.
  if (!prometheus && sinks.some(({ state }) => state === "failing" || state === "stopped")) process.exitCode = 1;
  if (json) await print([jsonText({ log, sinks })]);
  else
    await print(
      prometheus ? prometheusText(log, sinks) : [...logLines(log), ...sinks.flatMap(sinkLines), ...hint(sinks)],
    );
}

function logLines({ chains, records, bytes, oldest, newest }: Extent): string[] {
  const span = oldest === undefined ? "" : `, from ${oldest} to ${newest ?? "?"}`;
  return [`log: ${counted(records, "record")} in ${counted(chains, "chain")}, ${size(bytes)}${span}`];
}

function sinkLines({
  name,
  target,
  state,
  lag,
  delivered,
  lastSuccess,
  lastError,
  stopped,
  notes,
  pid,
}: SinkStatus): string[] {
  const amount = `${counted(lag.records, "record")} (${size(lag.bytes)}) behind`;
  const known = lag.seconds === null || lag.records === 0 ? "" : `, ${amount}, the oldest ${age(lag.seconds)} old`;
  const behind = lag.seconds === null ? `, at least ${amount}, the oldest of unknown age` : known;
  const who =
    pid === undefined ? "no process ships: start a gateway, or `glovebox audit ship`" : `shipped by process ${pid}`;
  const lines = [
    "",
    `${colour.bold(name)} ${oneLine(target ?? "(never reached)", 200)}: ${COLOURS[state](state)}${behind}`,
    `  ${counted(delivered, "record")} confirmed${lastSuccess === undefined ? "" : `, the last at ${lastSuccess}`}; ${who}`,
    ...(state === "unreached" ? [`  ${UNREACHED}`] : []),
  ];
  if (lastError) {
    const since = lastSuccess !== undefined && lastSuccess > lastError.time ? ", and it succeeded since" : "";
    const row = lastError.failures > 0 ? `, ${lastError.failures} in a row` : since;
    lines.push(`  last error at ${lastError.time}${row}: ${oneLine(lastError.message, 500)}`);
  }
  for (const { problem } of stopped) {
    lines.push(
      `  ${colour.red("stopped")}: ${oneLine(problem, 500)}; run \`glovebox audit verify\`, and put the file back from a copy`,
    );
  }
  return [...lines, ...notes.map((it) => `  note: ${oneLine(it, 500)}`)];
}

function hint(sinks: readonly SinkStatus[]): string[] {
  return sinks.length > 0 ? [] : ["no sinks: it stays on this computer; docs/logging.md shows how to set one up"];
}

export function size(bytes: number): string {
  const [unit, of] = bytes >= 1024 ** 2 ? (["MiB", 1024 ** 2] as const) : (["KiB", 1024] as const);
  return `${(bytes / of).toFixed(1)} ${unit}`;
}

function age(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}
