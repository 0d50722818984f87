import { Command, InvalidArgumentError } from "commander";
import { followLog, MAX_TAIL_BYTES, tailLog } from "../audit/read.ts";
import { storyOf } from "../audit/story.ts";
import { wholeStory } from "../audit/story-whole.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { bodiesCommand } from "./audit-bodies.ts";
import { digestCommand } from "./audit-digest.ts";
import { exportCommand } from "./audit-export.ts";
import { tellDamage } from "./audit-index-io.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { keyCommand } from "./audit-key.ts";
import type { LoggingContext } from "./audit-logging.ts";
import { checkpointsCommand, proveCommand, verifyProofCommand } from "./audit-prove.ts";
import { queryCommand } from "./audit-query.ts";
import { sbomCommand } from "./audit-sbom.ts";
import { shipCommand } from "./audit-ship.ts";
import { statsCommand } from "./audit-stats.ts";
import { statusCommand } from "./audit-status.ts";
import { auditStoreCommand } from "./audit-store.ts";
import { MORE, storyLines } from "./audit-story.ts";
import { jsonLine, recordLine } from "./audit-text.ts";
import { truncateCommand } from "./audit-truncate.ts";
import { verifyCommand } from "./audit-verify.ts";

export interface AuditContext extends LoggingContext {
  /** The file of the log's index, below a data directory or the configured one. */
  readonly indexFile: (dataDir: string | undefined) => string;
  /** The key that signs the log of the same data directory. */
  readonly keyFile: (dataDir: string | undefined) => string;
  /** Glovebox's own. */
  readonly version: string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly lines: number;
  readonly follow?: boolean;
}

const MAX_LINES = 10_000;
const TAIL_CUT = `these are of the last ${MAX_TAIL_BYTES / 1024 / 1024} MiB of each chain: \`glovebox audit query --records\` goes further back`;

/** `glovebox audit`. All but `key rotate`, `truncate` and `bodies erase` read, and never change, the log; a gateway may be writing it. */
export function auditCommand(context: AuditContext): Command {
  const command = new Command("audit").description("verify, read and ship the audit log").addHelpText(
    "after",
    `
Every call leaves an intent with its decision, on disk before anything runs, and an outcome. docs/audit.md says what is recorded.

Examples:
  $ glovebox audit verify                     has anybody changed the log?
  $ glovebox audit verify /mnt/copy/audit     or a copy of it
  $ glovebox audit verify --keys gateways.yaml    are these the records that our gateways signed?
  $ glovebox audit tail -n 50 --follow        what agents do, as they do it
  $ glovebox audit tail --json | jq 'select(.body.decision == "deny")'
  $ glovebox audit show call-0mwplkhc8c2b36263ab4f8dbd
  $ glovebox audit bodies show call-0mwplkhc8c2b36263ab4f8dbd    what went in and came out, where policy has it kept
  $ glovebox audit query --decision deny --since 7d
  $ glovebox audit stats --by tool
  $ glovebox audit sbom --output sbom.json    which packages entered sandboxes?
  $ glovebox audit export --format ocsf -o events.ndjson
  $ glovebox audit digest notes.txt           was this the content?
  $ glovebox audit status                     does everything arrive where it is shipped to?
  $ glovebox audit truncate --before 400d --dry-run      what is old may go`,
  );
  const dataDir = ["--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)"] as const;
  const jsonLines = ["--json", "one record a line, as it is in the log"] as const;
  command.addCommand(verifyCommand(context));
  command
    .command("tail")
    .description("show the latest records of all chains")
    .option("-n, --lines <count>", `how many, up to ${MAX_LINES}`, parseCount, 20)
    .option("-f, --follow", "go on as records are written, until interrupted")
    .option(...dataDir)
    .option(...jsonLines)
    .action(async (options: Options) => tail(await logIn(context.directory(options.dataDir)), options));
  command
    .command("show")
    .argument(
      "<id>",
      "of a call, as results, errors and `audit tail` name it; or of a session, connection, approval, …",
    )
    .description(
      "tell the story of one call: what was asked, decided and done, in which sandbox, and what went out and in",
    )
    .option(...dataDir)
    .option(...jsonLines)
    .action((id: string, options: Options) => show(context.directory(options.dataDir), id, options));
  const reading = [queryCommand, statsCommand, sbomCommand, exportCommand, digestCommand];
  const proving = [checkpointsCommand, proveCommand, verifyProofCommand, keyCommand];
  const shipping = [statusCommand, shipCommand, auditStoreCommand, truncateCommand, bodiesCommand];
  for (const add of [...reading, ...proving, ...shipping]) command.addCommand(add(context));
  return command;
}

async function tail(directory: string, { lines, follow, json }: Options): Promise<void> {
  const text = json ? jsonLine : recordLine;
  const { entries, cursors, isCut, damaged } = await readable(directory, tailLog(directory, lines));
  tellDamage(damaged);
  if (entries.length === 0 && !json) process.stderr.write("no records yet\n");
  if (isCut) process.stderr.write(`${TAIL_CUT}\n`);
  if (!(await print(entries.map(text))) || !follow) return;
  for await (const entry of followLog(directory, cursors, { onDamaged: () => tellDamage(1) })) {
    if (!(await print([text(entry)]))) return;
  }
}

async function show(directory: string, id: string, { json }: Options): Promise<void> {
  const story = await readable(directory, storyOf(directory, id));
  if (story === undefined) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `the log has no call, session or other thing \`${printable(id, 100)}\``,
    );
  }
  tellDamage(story.damaged);
  if (!json) {
    await print(storyLines(story));
    if (story.isCut) process.stderr.write(`${MORE}\n`);
    return;
  }
  const onLost = () => process.stderr.write("what more ids lead to than can be remembered is left out\n");
  for await (const entry of wholeStory(directory, story, onLost)) if (!(await print([jsonLine(entry)]))) return;
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_LINES) return count;
  throw new InvalidArgumentError(`give a number from 1 to ${MAX_LINES}`);
}
