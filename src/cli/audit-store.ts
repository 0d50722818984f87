import { readFile } from "node:fs/promises";
import { Command } from "commander";
import pc from "picocolors";
import { parse } from "yaml";
import { z } from "zod";
import { type Place, readCursor } from "../audit/ship/cursor.ts";
import { sinkDirectory } from "../audit/ship/shipping.ts";
import { compareStore } from "../audit/sinks/compare-store.ts";
import type { Store } from "../audit/sinks/postgres-read.ts";
import { schemaSql } from "../audit/sinks/postgres-schema.ts";
import { type PostgresSettings, postgresSchema, sqlName, targetOf } from "../audit/sinks/postgres-settings.ts";
import type { StoreFindings } from "../audit/sinks/store-problem.ts";
import { verifyStore } from "../audit/sinks/verify-store.ts";
import { GatewayError } from "../errors.ts";
import { messageOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import { print, readable } from "./audit-io.ts";
import type { LoggingContext } from "./audit-logging.ts";
import { type ProofArguments, readProofOptions, withProofOptions } from "./audit-proof-options.ts";
import { counted, jsonText, oneLine, proofLines, truncationLines } from "./audit-text.ts";

interface Options extends ProofArguments {
  readonly sink?: string;
  readonly config?: string;
  readonly settings?: string;
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly alone?: boolean;
}

const PROGRESS_MS = 1_000;
/** A command ends with its process. */
const NEVER = new AbortController().signal;
const MAX_SETTINGS_BYTES = 64 * 1024;
const colour = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);

/** `glovebox audit store schema|verify|compare`: a central store in PostgreSQL. None of them changes it. */
export function auditStoreCommand(context: LoggingContext): Command {
  const command = new Command("store")
    .description("make, verify and compare a central store in PostgreSQL")
    .addHelpText(
      "after",
      `
Gateways ship their log to the \`postgres\` sinks of \`logging\` in glovebox.yaml. docs/logging-postgres.md has roles, tables and queries.

Examples:
  $ glovebox audit store schema | psql -v ON_ERROR_STOP=1 "service=logs"    make the tables, as their owner
  $ glovebox audit store verify --settings reader.yaml    is every record of every gateway as it was written?
  $ glovebox audit store verify --settings reader.yaml --keys gateways.yaml    and did the gateways sign it?
  $ glovebox audit store compare                          does the store have this computer's log, and no other?`,
    );
  command
    .command("schema")
    .description("print the SQL that makes the store; run it again, and it changes nothing")
    .option("--schema <name>", "the schema in the database", sqlNameOf, "glovebox")
    .option("--writer <role>", "the role of gateways; made where it is missing", sqlNameOf, "glovebox_writer")
    .option("--reader <role>", "the role of those who ask and verify", sqlNameOf, "glovebox_reader")
    .action(async ({ schema, writer, reader }: { schema: string; writer: string; reader: string }) => {
      await print([schemaSql({ schema, writer, reader }).trimEnd()]);
    });
  const which = (it: Command) =>
    it
      .option("--sink <name>", "the sink's name in glovebox.yaml (default: the only one of type `postgres`)")
      .option("--config <file>", "your glovebox.yaml (env GLOVEBOX_CONFIG)")
      .option(
        "--settings <file>",
        "a YAML file with the settings of one sink instead, for a computer without a gateway",
      )
      .option("--json", "print the result as JSON");
  withProofOptions(which(command.command("verify")))
    .description(
      "check every record of every chain in the store; exit code 1 names what is damaged. Needs the reader's role",
    )
    .addHelpText(
      "after",
      `
The hashes find damage, and changes by somebody who does not mend the hashes. Whoever may write the store can mend them: with --keys each chain is
compared with what its gateway signed, and with --checkpoints what was removed is missed. \`glovebox audit verify --help\` tells of the file of keys.

Examples:
  $ glovebox audit store verify --settings reader.yaml --keys gateways.yaml
  $ glovebox audit store verify --settings reader.yaml --keys gateways.yaml --checkpoints kept-elsewhere.txt`,
    )
    .action((options: Options) => verify(context, options));
  which(command.command("compare"))
    .description("check the log against the store, record by record; exit code 1 names where they differ")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .option("--alone", "no other log is shipped to the store: a chain that is only there was removed here")
    .action((options: Options) => compare(context, options));
  return command;
}

async function verify(context: LoggingContext, options: Options): Promise<void> {
  const settings = await chosen(context, options);
  const proof = await readProofOptions(options);
  using progress = startProgress();
  using store = await opened(settings, context);
  const result = await verifyStore(store, { ...proof, onRecord: progress.count });
  const { dropped } = result;
  const before = dropped === 0 ? [] : [`the store says that its retention dropped ${counted(dropped, "older record")}`];
  await report(result, options, `the store ${targetOf(settings)} is whole`, [
    ...proofLines(result),
    ...truncationLines(result),
    ...before,
  ]);
}

async function compare(context: LoggingContext, options: Options): Promise<void> {
  const settings = await chosen(context, options);
  const directory = context.directory(options.dataDir);
  const confirmed = await confirmedTo(sinkDirectory(context.dataDirectory(options.dataDir), settings.name));
  using progress = startProgress();
  using store = await opened(settings, context);
  const comparing = { confirmed, isAlone: options.alone === true, onRecord: progress.count };
  const result = await readable(directory, compareStore(directory, store, comparing));
  const yet = result.unshipped === 0 ? "" : `; ${counted(result.unshipped, "record")} not shipped yet`;
  await report(result, options, `the store ${targetOf(settings)} has what the log has${yet}`);
}

/** Its client is loaded here: no other command needs it. */
async function opened(settings: PostgresSettings, { ports }: LoggingContext): Promise<Store> {
  const { openStore } = await import("../audit/sinks/postgres-read.ts");
  return await openStore(settings, ports(NEVER));
}

async function report(
  result: StoreFindings,
  { json }: Options,
  good: string,
  proof: readonly string[] = [],
): Promise<void> {
  const { problems, problemCount, records, chains } = result;
  if (problemCount > 0) process.exitCode = 1;
  if (json) return void (await print([jsonText(result)]));
  const lines = problems.map(({ kind, chain, seq, message }) => {
    const where = `${oneLine(chain, 100)}${seq === undefined ? "" : ` record ${seq}`}`;
    return `${colour.red(kind)} ${where}: ${oneLine(message, 500)}`;
  });
  if (problemCount > problems.length) lines.push(`and ${problemCount - problems.length} more`);
  const verdict = problemCount === 0 ? colour.green(good) : colour.red(counted(problemCount, "problem"));
  await print([...lines, ...proof, `${verdict}: ${counted(records, "record")} in ${counted(chains, "chain")}`]);
}

/** By chain, what a sink has confirmed. @throws GatewayError CONFIG_INVALID when nobody knows */
async function confirmedTo(directory: string): Promise<ReadonlyMap<string, Place>> {
  const cursor = await readCursor(directory);
  if (cursor !== "damaged") return cursor;
  const message = `\`${printable(directory)}\`: the sink's cursor is damaged, so nobody knows what the store should have; the next gateway ships all of it again`;
  throw new GatewayError("CONFIG_INVALID", message);
}

async function chosen({ sinks }: LoggingContext, { sink, config, settings }: Options): Promise<PostgresSettings> {
  if (settings !== undefined) return await fromFile(settings);
  const all = (await sinks(config)).filter((it) => it.type === "postgres");
  const fitting = sink === undefined ? all : all.filter((it) => it.name === sink);
  const [only, ...others] = fitting;
  if (only && others.length === 0) return only;
  const names = all.map((it) => it.name).join(", ");
  const problem =
    all.length === 0
      ? "glovebox.yaml states no sink of type `postgres`: give one with --settings"
      : `give --sink with one of: ${names}`;
  throw new GatewayError("CONFIG_INVALID", problem);
}

async function fromFile(path: string): Promise<PostgresSettings> {
  const refuse = (why: string, cause?: unknown) =>
    new GatewayError("CONFIG_INVALID", `\`${printable(path)}\` can't be used: ${printable(why)}`, { cause });
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw refuse(messageOf(cause), cause);
  });
  if (text.length > MAX_SETTINGS_BYTES) throw refuse("it is too large");
  const { data, error } = postgresSchema.safeParse(yaml(text, refuse));
  if (data) return data;
  throw refuse(z.prettifyError(error), error);
}

function yaml(text: string, refuse: (why: string, cause: unknown) => GatewayError): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw refuse(messageOf(cause), cause);
  }
}

function sqlNameOf(text: string): string {
  const parsed = sqlName.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new GatewayError("INVALID_ARGUMENTS", `\`${printable(text, 100)}\` ${parsed.error.issues[0]?.message ?? ""}`);
}

/** Says on a terminal's standard error how far it is, once a second. */
function startProgress(): Disposable & { readonly count: () => void } {
  let records = 0;
  const say = () => process.stderr.write(`\r${records} records checked`);
  const timer = process.stderr.isTTY ? setInterval(say, PROGRESS_MS) : undefined;
  return {
    count: () => {
      records += 1;
    },
    [Symbol.dispose]: () => {
      if (!timer) return;
      clearInterval(timer);
      process.stderr.write("\r\u001b[K");
    },
  };
}
