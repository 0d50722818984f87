import { Command } from "commander";
import { measureLog } from "../audit/extent.ts";
import { listChains } from "../audit/files.ts";
import { readSigningKey } from "../audit/proof/keys.ts";
import { openSigner, type Signer, signerOf } from "../audit/proof/signer.ts";
import { applyRetention, type ChainRetention } from "../audit/truncate/retention.ts";
import { readShipped, type Shipped } from "../audit/truncate/shipped.ts";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { newId } from "../lib/id.ts";
import { userName } from "../lib/user.ts";
import { logIn, print, readable } from "./audit-io.ts";
import type { LoggingContext } from "./audit-logging.ts";
import { counted, jsonText, oneLine } from "./audit-text.ts";
import { parseMoment } from "./moment.ts";

interface TruncateContext extends LoggingContext {
  readonly keyFile: (dataDir: string | undefined) => string;
}

interface Before {
  readonly atMs: number;
  /** It was counted back from now. */
  readonly isRelative: boolean;
}

interface Options {
  readonly before: Before;
  readonly dataDir?: string;
  readonly config?: string;
  readonly unshipped?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** A clock further ahead of the log than this is not believed; ms. */
const AHEAD_MS = 28 * 86_400_000;
const WHY_KEPT = {
  "one segment": "it has one segment, and the last one always stays",
  young: "no segment has only older records",
  unshipped: "the oldest segment is not confirmed by ",
  unsigned: "it was not signed, or `keys/signed` does not remember it",
  held: "a gateway is writing it; it removes old records by itself where the policy has `audit.retention.recordDays`",
};

/** `glovebox audit truncate`: removes old records, for a person. */
export function truncateCommand(context: TruncateContext): Command {
  return new Command("truncate")
    .description("remove old records for good: whole segments, oldest first, behind a signed record that says so")
    .requiredOption("--before <time>", "what is older: 2026-01-31, 2026-01-31T09:30Z, or 400d", parseBefore)
    .option("--dry-run", "say what would go, and change nothing")
    .option("--unshipped", "also what receivers of the log have not confirmed, but for PostgreSQL")
    .option("--config <file>", "your glovebox.yaml, which names the receivers (env GLOVEBOX_CONFIG)")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
A segment (8 MiB) goes when all of its records are older; the last one of a chain always stays. Each record is checked before it goes: of a
damaged chain nothing is removed. \`glovebox audit verify\` says then what was removed, and still finds everything else that is missing.
Exit code 1 when a chain could not be truncated. To have gateways do it: \`audit.retention.recordDays\` in a policy's profile.

Examples:
  $ glovebox audit truncate --before 400d --dry-run
  $ glovebox audit truncate --before 2026-01-01`,
    )
    .action((options: Options) => truncate(context, options));
}

async function truncate(context: TruncateContext, options: Options): Promise<void> {
  const { before, dataDir, dryRun = false, json = false } = options;
  const auditDirectory = context.directory(dataDir);
  if (before.isRelative) await refuseWhenAhead(auditDirectory);
  await logIn(auditDirectory);
  const { isShipped, slowest } = await shippedOf(context, options);
  const signer = await (dryRun ? existingSigner : openSigner)(context.keyFile(dataDir));
  const how = {
    auditDirectory,
    beforeMs: before.atMs,
    isTrial: dryRun,
    why: "person",
    by: `local:${userName()}`,
  } as const;
  const results: AsyncIterable<ChainRetention> | readonly ChainRetention[] = signer
    ? applyRetention({ ...how, isShipped, signer, gateway: newId("gw") })
    : (await listChains(auditDirectory)).map((chain) => ({ chain, kept: "unsigned" }));
  const all: ChainRetention[] = [];
  for await (const result of results) {
    if (result.problem !== undefined) process.exitCode = 1;
    all.push(result);
    if (!json) await print([resultLine(result, dryRun, slowest(result.chain))]);
  }
  if (json) await print([jsonText({ dryRun, chains: all.map(shown) })]);
}

/** Unless the person knows better: a store in PostgreSQL takes no chain of which records between are missing. */
async function shippedOf(context: LoggingContext, { config, dataDir, unshipped = false }: Options): Promise<Shipped> {
  const sinks = (await context.sinks(config)).filter((it) => !unshipped || it.type === "postgres");
  const names = sinks.map((it) => it.name);
  const places = { dataDirectory: context.dataDirectory(dataDir), auditDirectory: context.directory(dataDir) };
  return await readShipped(places, names, unshipped ? "alone" : "with others");
}

/** A trial makes no key: what there is none of has signed nothing. */
async function existingSigner(keyFile: string): Promise<Signer | undefined> {
  try {
    return await signerOf(keyFile, await readSigningKey(keyFile), async () => undefined);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** A clock that is far ahead would have everything removed. */
async function refuseWhenAhead(auditDirectory: string): Promise<void> {
  const { newest } = await readable(auditDirectory, measureLog(auditDirectory));
  if (newest === undefined || Date.now() - Date.parse(newest) <= AHEAD_MS) return;
  throw new GatewayError(
    "INVALID_ARGUMENTS",
    `the newest record is of ${newest}, and this computer's clock is weeks ahead of it: give --before as a date`,
  );
}

function resultLine(
  { chain, removed, finished, kept, problem }: ChainRetention,
  isTrial: boolean,
  sinks: readonly string[],
): string {
  const before = finished === undefined ? "" : `${counted(finished, "segment")} of an earlier removal removed; `;
  if (problem !== undefined) return `${chain}: ${before}not truncated: ${oneLine(problem, 500)}`;
  if (!removed)
    return `${chain}: ${before}nothing: ${kept === undefined ? "" : WHY_KEPT[kept]}${kept === "unshipped" ? notShipped(sinks) : ""}`;
  const { segments, records, bytes, oldest, newest } = removed;
  const what = `${counted(segments[1] - segments[0] + 1, "segment")}, ${counted(records, "record")}, ${bytes} bytes`;
  return `${chain}: ${before}${isTrial ? "would remove" : "removed"} ${what}, of ${oldest} to ${newest}`;
}

function notShipped(sinks: readonly string[]): string {
  const names = sinks.map((it) => `\`${oneLine(it, 100)}\``).join(", ");
  return (
    `${names}: see \`glovebox audit status\`; of a receiver that is retired remove the folder \`sinks/<name>\` in the data directory; ` +
    "or give --unshipped, which still waits for PostgreSQL"
  );
}

function shown({ removed, ...others }: ChainRetention): object {
  if (!removed) return others;
  const { segments, records, bytes, oldest, newest, upToSeq, upToHash } = removed;
  return { ...others, removed: { segments, records, bytes, oldest, newest, upToSeq, upToHash } };
}

function parseBefore(text: string): Before {
  return { atMs: parseMoment(text), isRelative: /[mhdw]$/.test(text) };
}
