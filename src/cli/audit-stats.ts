import { Command, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import { GROUPINGS, type Grouping, type Stats, statsOf, type Use } from "../audit/index/stats.ts";
import type { Tally } from "../audit/index/tally.ts";
import { askIndex, type IndexOptions, type IndexPlaces } from "./audit-index-io.ts";
import { print } from "./audit-io.ts";
import { jsonText, oneLine } from "./audit-text.ts";
import { parseMoment, requireSpan } from "./moment.ts";

const MAX_TOP = 1_000;
const MAX_KEY_CHARS = 60;

interface Options extends IndexOptions {
  readonly since?: number;
  readonly until?: number;
  readonly by?: Grouping;
  readonly top: number;
  readonly json?: boolean;
}

/** `glovebox audit stats`: calls, counted. */
export function statsCommand(places: IndexPlaces): Command {
  const moment = (text: string) => parseMoment(text);
  return new Command("stats")
    .description("count calls: denied, asked, failed, how long they took, and the hosts and packages used most")
    .option("--since <time>", "from then on: 2026-11-20, 2026-11-20T10:00Z, or 2h or 7d ago", moment)
    .option("--until <time>", "before then", moment)
    .addOption(new Option("--by <what>", "one line for each").choices(GROUPINGS))
    .option("--top <count>", `how many lines, hosts and packages, up to ${MAX_TOP}`, parseTop, 20)
    .option("--json", "as JSON")
    .option("--rebuild", "make the index anew first")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
A call is counted by what its intent says; durations are of calls that ended by themselves. Of refusals that
come too fast the log has how many there were: they are counted on the last line, and under no host or package. It is counted from the index, which
\`--rebuild\` makes anew from the log.

Examples:
  $ glovebox audit stats --since 7d --by day
  $ glovebox audit stats --by policy           which policies decide, and how often?
  $ glovebox audit stats --by principal --json`,
    )
    .action(async (options: Options) => {
      const { since, until, by, top, json } = options;
      requireSpan(since, until);
      const stats = await askIndex(places, options, (index) =>
        statsOf(index, {
          ...(since !== undefined && { sinceMs: since }),
          ...(until !== undefined && { untilMs: until }),
          ...(by !== undefined && { by }),
          limit: top,
        }),
      );
      await print(json ? [jsonText(stats)] : statsLines(stats, by));
    });
}

function statsLines({ all, groups = [], groupCount = 0, ...stats }: Stats, by: Grouping | undefined): string[] {
  const { hosts, hostCount, packages, packageCount, onlyCounted } = stats;
  const colour = pc.createColors(process.stdout.isTTY === true);
  const header = [by ?? "", "calls", "denied", "asked", "invalid", "errors", "interrupted", "median ms", "p95 ms"];
  const rows = [...groups.map((it) => [oneLine(it.key, MAX_KEY_CHARS), ...cells(it)]), ["all", ...cells(all)]];
  const lines = table([header, ...rows]);
  lines[0] = colour.bold(lines[0] ?? "");
  const more = (count: number, { length }: readonly unknown[]) => moreLines(count, length).map(colour.dim);
  return [
    ...lines,
    ...more(groupCount, groups),
    ...useLines(colour.bold("connections to"), hosts),
    ...more(hostCount, hosts),
    ...useLines(colour.bold("files of packages"), packages),
    ...more(packageCount, packages),
    ...(onlyCounted > 0
      ? ["", `and ${onlyCounted} ${onlyCounted === 1 ? "refusal that was" : "refusals that were"} only counted`]
      : []),
  ];
}

/** How many are not shown, and how to see them. */
function moreLines(count: number, shown: number): string[] {
  if (count <= shown) return [];
  const how = shown < MAX_TOP ? `: --top ${Math.min(MAX_TOP, count)}` : "";
  return [`and ${count - shown} more${how}`];
}

function useLines(title: string, uses: readonly Use[]): string[] {
  if (uses.length === 0) return [];
  const rows = uses.map(({ name, permitted, refused }) => [
    oneLine(name, MAX_KEY_CHARS),
    String(permitted),
    String(refused),
  ]);
  const [header = "", ...others] = table([["", "permitted", "refused"], ...rows]);
  return ["", title, header, ...others];
}

function cells({ calls, denied, asked, invalid, errors, interrupted, medianMs, p95Ms }: Tally): string[] {
  return [calls, denied, asked, invalid, errors, interrupted, medianMs, p95Ms].map((it) => String(it ?? "-"));
}

/** The first column to the left, numbers to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  "),
  );
}

function parseTop(text: string): number {
  const count = Number(text);
  if (/^\d{1,4}$/.test(text) && count >= 1 && count <= MAX_TOP) return count;
  throw new InvalidArgumentError(`give a number from 1 to ${MAX_TOP}`);
}
