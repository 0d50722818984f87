import { Command, Option } from "commander";
import { type Export, type ExportOptions, exportLog, FORMATS, type Format, newExport } from "../audit/export/export.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { jsonLine } from "./audit-text.ts";
import { parseMoment, requireSpan } from "./moment.ts";
import { OutputFile } from "./output-file.ts";

interface ExportContext {
  readonly directory: (dataDir: string | undefined) => string;
}

interface Options {
  readonly format: Format;
  readonly dataDir?: string;
  readonly session?: string;
  readonly since?: number;
  readonly until?: number;
  readonly output?: string;
  readonly force?: boolean;
  readonly withRaw?: boolean;
}

const PROGRESS_MS = 1_000;

/** `glovebox audit export`: the whole log, or a part of it, for another system. */
export function exportCommand({ directory }: ExportContext): Command {
  return new Command("export")
    .description("write the log for another system: its own lines, OCSF 1.8 events, Common Event Format, or a table")
    .addOption(new Option("--format <format>", "of the output").choices(FORMATS).makeOptionMandatory())
    .option("--session <id>", "only what happened in one session")
    .option("--since <time>", "only what was recorded since then: 2026-11-21 or 2026-11-21T09:30:00Z", parseMoment)
    .option("--until <time>", "only what was recorded before then", parseMoment)
    .option("-o, --output <file>", "write it there, whole or not at all (default: standard output)")
    .option("--force", "replace the file if it exists")
    .option("--with-raw", "put into each OCSF event the text whose SHA-256 is the record's hash")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
All chains are written, the oldest first, each in its own order. Lines that are not as they were written are passed over: a warning counts
them, and the exit code is 1. Whether records are missing is for \`glovebox audit verify\` to say. docs/audit-export.md says what becomes of what.

Examples:
  $ glovebox audit export --format ocsf --since 2026-11-21 -o events.ndjson
  $ glovebox audit export --format cef --session ses-0mwplkhc8c2b36263ab4f8dbd
  $ glovebox audit export --format jsonl | gzip > audit.jsonl.gz
  $ glovebox audit export --format ocsf | jq 'select(.action_id == 2)'     what was denied`,
    )
    .action((options: Options) => exportTo(directory(options.dataDir), options));
}

async function exportTo(path: string, { output, force = false, ...options }: Options): Promise<void> {
  const { format, withRaw, session, since, until } = options;
  if (withRaw && format !== "ocsf")
    throw new GatewayError("INVALID_ARGUMENTS", "--with-raw is for --format ocsf: jsonl has the records as they are");
  requireSpan(since, until);
  if (force && output === undefined) throw new GatewayError("INVALID_ARGUMENTS", "--force is for --output");
  const asked: ExportOptions = {
    format,
    withRaw: withRaw === true,
    ...(session !== undefined && { session }),
    ...(since !== undefined && { sinceMs: since }),
    ...(until !== undefined && { untilMs: until }),
  };
  await logIn(path);
  const tally = newExport();
  const pieces = exportLog(path, asked, tally);
  const write = async () => {
    using _progress = progressOf(tally);
    return await (output === undefined ? toStdout(pieces, format) : toFile(pieces, output, force));
  };
  const isWhole = await readable(path, write());
  if (tally.damaged > 0) process.exitCode = 1;
  for (const line of warnings(tally)) process.stderr.write(`${line}\n`);
  if (isWhole && (output !== undefined || tally.exported === 0)) process.stderr.write(`${summary(tally)}\n`);
}

/** False when whoever read it has gone. */
async function toStdout(pieces: AsyncIterable<string>, format: Format): Promise<boolean> {
  // A terminal acts on some characters. A pipe gets the log's own lines with their own bytes, so that a copy verifies.
  const asItIs = format === "jsonl" && !process.stdout.isTTY;
  const shown = (text: string) => (asItIs ? text : jsonLine({ text }));
  for await (const piece of pieces) if (!(await print([shown(piece.slice(0, -1))]))) return false;
  return true;
}

async function toFile(pieces: AsyncIterable<string>, output: string, force: boolean): Promise<boolean> {
  using interruption = interrupted();
  await using file = await OutputFile.open(output, { force });
  for await (const piece of pieces) {
    interruption.signal.throwIfAborted();
    await file.write(piece);
  }
  await file.commit();
  return true;
}

/** Aborts when the person interrupts, so that no half of a file is left behind. */
function interrupted(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const stop = () => controller.abort(new GatewayError("CANCELLED", "interrupted; nothing was written"));
  for (const name of names) process.once(name, stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, stop);
    },
  };
}

/** Says on a terminal how far it has come, once a second. */
function progressOf(tally: Export): Disposable {
  if (!process.stderr.isTTY) return { [Symbol.dispose]: () => undefined };
  const ticking = setInterval(() => process.stderr.write(`\r${tally.read} records read`), PROGRESS_MS);
  return {
    [Symbol.dispose]: () => {
      clearInterval(ticking);
      process.stderr.write("\r\u001b[K");
    },
  };
}

function warnings({ damaged, places }: Export): string[] {
  if (damaged === 0) return [];
  const more = damaged > places.length ? [`  and ${damaged - places.length} more`] : [];
  return [
    `warning: ${damaged} damaged ${damaged === 1 ? "line was" : "lines were"} passed over; see \`glovebox audit verify\``,
    ...places.map(({ chain, file, line, message }) => printable(`  ${chain}/${file}:${line}: ${message}`, 400)),
    ...more,
  ];
}

function summary({ chains, read, exported, lines }: Export): string {
  return `${lines} lines of ${exported} records (${read} read, in ${chains} ${chains === 1 ? "chain" : "chains"})`;
}
