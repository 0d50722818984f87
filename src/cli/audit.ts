import { setTimeout as sleep } from "node:timers/promises";
import { Command, InvalidArgumentError } from "commander";
import pc from "picocolors";
import { byTime, lastRecords, readRecords } from "../audit/read.ts";
import type { AuditRecord } from "../audit/record.ts";
import { verifyLog } from "../audit/verify.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";

export interface AuditContext {
  readonly directory: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly lines: number;
  readonly follow?: boolean;
}

/** How often `--follow` looks for more. */
const FOLLOW_MS = 500;
const MAX_FOLLOWED = 1_000;

/** `glovebox audit verify|tail|show`. */
export function auditCommand(context: AuditContext): Command {
  const command = new Command("audit").description("verify and read the audit log").addHelpText(
    "after",
    `
Every call leaves an intent with its decision, on disk before anything runs, and an outcome. docs/audit.md says what is recorded.

Examples:
  $ glovebox audit verify                 has anybody changed the log?
  $ glovebox audit tail -n 20 --follow
  $ glovebox audit show call-0mwplkhc8c2b36263ab4f8dbd`,
  );
  const dataDir = ["--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)"] as const;
  command
    .command("verify")
    .description("check every record of every chain; exit code 1 lists what is damaged, with its place")
    .option(...dataDir)
    .option("--json", "print the result as JSON")
    .action((options: Options) => verify(context.directory(options.dataDir), options));
  command
    .command("tail")
    .description("show the latest records")
    .option("-n, --lines <count>", "how many", parseCount, 20)
    .option("-f, --follow", "go on as records are written")
    .option(...dataDir)
    .option("--json", "one record a line, as it is in the log")
    .action((options: Options) => tail(context.directory(options.dataDir), options));
  command
    .command("show")
    .argument("<callId>", "as results and errors name it")
    .description("tell the story of one call")
    .option(...dataDir)
    .option("--json", "one record a line, as it is in the log")
    .action((callId: string, options: Options) => show(context.directory(options.dataDir), callId, options));
  return command;
}

async function verify(directory: string, { json }: Options): Promise<void> {
  const result = await verifyLog(directory).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError("AUDIT_CORRUPT", `the audit log in \`${directory}\` cannot be read: ${reason}`, { cause });
  });
  if (result.problemCount > 0) process.exitCode = 1;
  if (json) {
    console.log(JSON.stringify(result, null, 2));
    return;
  }
  const colour = pc.createColors(process.stdout.isTTY);
  for (const { file, line, seq, kind, message } of result.problems) {
    const record = seq === undefined ? "" : ` record ${seq}`;
    console.log(`${colour.red(kind)} ${printable(file)}:${line}${record}: ${printable(message)}`);
  }
  const { chains, records, problemCount } = result;
  const verdict = problemCount === 0 ? colour.green("the log is whole") : colour.red(`${problemCount} problems`);
  console.log(`${verdict}: ${records} records in ${chains} chains`);
}

async function tail(directory: string, { lines, follow, json }: Options): Promise<void> {
  let shown = await lastRecords(directory, lines);
  for (const record of shown) print(record, json);
  while (follow) {
    await sleep(FOLLOW_MS);
    const seen = new Set(shown.map((it) => it.hash));
    const latest = await lastRecords(directory, MAX_FOLLOWED);
    const since = shown.at(-1)?.time ?? "";
    for (const record of latest.filter((it) => it.time >= since && !seen.has(it.hash))) print(record, json);
    shown = latest;
  }
}

async function show(directory: string, callId: string, { json }: Options): Promise<void> {
  const found: AuditRecord[] = [];
  for await (const record of readRecords(directory)) {
    if ("callId" in record.body && record.body.callId === callId) found.push(record);
  }
  if (found.length === 0) {
    throw new GatewayError("INVALID_ARGUMENTS", `the log has no call \`${printable(callId, 100)}\``);
  }
  for (const record of found.sort(byTime)) {
    print(record, json);
    if (!json) console.log(indented(record));
  }
}

function print(record: AuditRecord, json: boolean | undefined): void {
  console.log(json ? JSON.stringify(record) : summary(record));
}

/** One line; everything in it may come from an agent. */
function summary({ time, body }: AuditRecord): string {
  const colour = pc.createColors(process.stdout.isTTY);
  const at = colour.dim(time);
  switch (body.kind) {
    case "intent": {
      const decision = body.decision === "permit" ? colour.green(body.decision) : colour.red(body.decision);
      const by = body.policies.map((it) => it.id).join(" ");
      const args = oneLine(JSON.stringify(body.arguments), 160);
      return `${at} ${body.callId} ${decision} ${oneLine(body.tool, 100)} ${args}${by ? colour.dim(` by ${oneLine(by, 200)}`) : ""}`;
    }
    case "outcome": {
      const status = body.status === "ok" ? colour.green(body.status) : colour.red(body.code ?? body.status);
      return `${at} ${body.callId} ${status} after ${body.durationMs} ms ${oneLine(JSON.stringify(body.facts), 160)}`;
    }
    case "event":
      return `${at} ${colour.cyan(body.event)} ${body.sessionId ?? ""} ${oneLine(JSON.stringify(body.facts), 200)}`;
  }
}

function indented({ body, chain, seq, hash }: AuditRecord): string {
  const text = JSON.stringify({ ...body, record: { chain, seq, hash } }, null, 2);
  return printable(text, 100_000).replace(/^/gm, "    ");
}

function oneLine(text: string, maxChars: number): string {
  return printable(text, maxChars).replaceAll(/[\n\t]/g, " ");
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 100_000)
    throw new InvalidArgumentError("give a number from 1 to 100000");
  return count;
}
