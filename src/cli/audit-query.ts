import { Command, InvalidArgumentError, Option } from "commander";
import type { Filter } from "../audit/index/filter.ts";
import { query } from "../audit/index/query.ts";
import { readBack } from "../audit/index/read-back.ts";
import { EVENTS } from "../audit/record.ts";
import { GatewayError } from "../errors.ts";
import { type Cell, csvText } from "../lib/csv.ts";
import { askIndex, type IndexOptions, type IndexPlaces, note } from "./audit-index-io.ts";
import { print } from "./audit-io.ts";
import { CSV_HEADER, type Found, foundCells, foundJson, foundLine } from "./audit-query-text.ts";
import { parseMoment, requireSpan } from "./moment.ts";

const MAX_LIMIT = 100_000;

interface Options extends IndexOptions, Omit<Filter, "sinceMs" | "untilMs"> {
  readonly since?: number;
  readonly until?: number;
  readonly limit: number;
  readonly oldest?: boolean;
  readonly before?: string;
  readonly after?: string;
  readonly records?: boolean;
  readonly json?: boolean;
  readonly csv?: boolean;
}

/** `glovebox audit query`: finds calls, events and records by what they have. */
export function queryCommand(places: IndexPlaces): Command {
  const moment = (text: string) => parseMoment(text);
  return new Command("query")
    .description("find calls by who, what, when and how they ended, newest first; all that is given has to hold")
    .option("--since <time>", "from then on: 2026-11-20, 2026-11-20T10:00Z, or 2h or 7d ago", moment)
    .option("--until <time>", "before then", moment)
    .option("--principal <id>", "who called, e.g. local:ada")
    .option("--client <name>", "by which MCP client")
    .option("--gateway <id>", "which gateway wrote it: one start of Glovebox, on one computer")
    .option("--session <id>", "in which session")
    .option("--call <id>", "of one call, as results, errors and this command name it")
    .option("--tool <name>", "e.g. exec")
    .addOption(new Option("--decision <what>", "what policy said").choices(["permit", "deny", "ask", "invalid"]))
    .addOption(new Option("--status <how>", "how it ended").choices(["ok", "error", "interrupted"]))
    .option("--code <code>", "with which error code, e.g. TIMEOUT")
    .option("--exit-code <number>", "of the program that was run", parseExitCode)
    .option("--policy <id>", "a policy that determined it: rules.cedar#name, or organisation:rules.cedar#name")
    .option("--host <host>", "a host that it leads to, or that stands in a URL of the call: example.org, *.example.org")
    .option("--package <package>", "pkg:npm/lodash@4.17.20, pkg:npm/lodash, npm:lodash or lodash")
    .option(
      "--text <words>",
      "words that stand side by side; `curl*` is any word that begins so; may be repeated",
      several,
    )
    .addOption(new Option("--event <name>", "events of this name, in place of calls").choices(EVENTS))
    .addOption(new Option("--kind <kind>", "records of this kind").choices(["intent", "outcome", "event"]))
    .option("--records", "the records one by one, in place of calls with their outcomes")
    .option("--limit <count>", `how many at most, up to ${MAX_LIMIT}`, parseLimit, 100)
    .option("--oldest", "oldest first")
    .option("--before <position>", "only what is older than the record at this position")
    .option("--after <position>", "only what is newer")
    .option("--json", "one call, event or record a line, as the log has them")
    .addOption(new Option("--csv", "as a table for a spreadsheet").conflicts("json"))
    .option("--rebuild", "make the index anew first")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
The index is brought up to date first; what is shown is read from the log, and its hash is checked. \`glovebox audit verify\` checks the whole
log. Events are shown where a filter is about them too: --event, --policy, --host, --package, --exit-code, --text. A call
is found by the hosts, packages and exit codes of events that name it, too, together with who called. docs/audit-query.md has more.

Examples:
  $ glovebox audit query --decision deny --since 7d         what was not permitted this week?
  $ glovebox audit query --host '*.example.org'             who called or reached hosts below example.org?
  $ glovebox audit query --host example.org --tool exec     which programs reached it, or tried to?
  $ glovebox audit query --text /etc/passwd                 in which calls does this path stand?
  $ glovebox audit query --package npm:left-pad --csv       as a table
  $ glovebox audit query --event connection-refused --json | jq .event.body.facts.host`,
    )
    .action((options: Options) => run(places, options));
}

async function run(places: IndexPlaces, options: Options): Promise<void> {
  const { limit, oldest, before, after, json, csv } = options;
  requireSpan(options.since, options.until);
  const view = options.records || options.kind !== undefined ? "records" : "calls";
  await askIndex(places, options, async (index, auditDirectory) => {
    const { hits, more } = query(index, filterOf(options), {
      view,
      order: oldest ? "oldest" : "newest",
      limit,
      ...(before !== undefined && { before }),
      ...(after !== undefined && { after }),
    });
    if (csv && !(await print([csvLine(CSV_HEADER)]))) return;
    for (const hit of hits) {
      const read = await readBack(auditDirectory, hit);
      const found: Found = {
        hit,
        read,
        ...(hit.outcome && { outcome: await readBack(auditDirectory, hit.outcome) }),
      };
      const line = csv ? csvLine(foundCells(found)) : json ? foundJson(found, view) : foundLine(found);
      if (!(await print([line]))) return;
    }
    const last = hits.at(-1);
    if (last === undefined && !json && !csv) note("nothing was found");
    if (more && last) note(`there are more: --${oldest ? "after" : "before"} ${last.position}`);
  });
}

/** Without the line feed, which `print` adds. */
function csvLine(cells: readonly Cell[]): string {
  return csvText([cells]).slice(0, -1);
}

function filterOf({ since, until, ...options }: Options): Filter {
  const { principal, client, session, call, tool, decision, status, code, exitCode, event, policy, host, text } =
    options;
  const { kind, gateway, package: name } = options;
  const given = {
    principal,
    client,
    gateway,
    session,
    call,
    tool,
    decision,
    status,
    code,
    exitCode,
    event,
    policy,
    host,
    text,
    kind,
  };
  const all = { ...given, package: name, sinceMs: since, untilMs: until };
  return Object.fromEntries(Object.entries(all).filter(([, it]) => it !== undefined));
}

function parseExitCode(text: string): number {
  if (/^-?\d{1,10}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("give a whole number");
}

function parseLimit(text: string): number {
  const count = Number(text);
  if (/^\d{1,6}$/.test(text) && count >= 1 && count <= MAX_LIMIT) return count;
  throw new InvalidArgumentError(`give a number from 1 to ${MAX_LIMIT}`);
}

function several(text: string, before: readonly string[] = []): readonly string[] {
  if (before.length < 16) return [...before, text];
  throw new GatewayError("INVALID_ARGUMENTS", "--text: sixteen are enough");
}
