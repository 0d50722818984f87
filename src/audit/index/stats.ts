import { type AuditIndex, transaction } from "./open.ts";
import { idsBetween } from "./query.ts";
import { FIELDS, type Field, KINDS } from "./schema.ts";
import { addCall, type Counts, emptyCounts, type Tally, tallyOf } from "./tally.ts";

export const GROUPINGS = ["tool", "principal", "decision", "policy", "host", "package", "session", "day"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface StatsOptions {
  /** Milliseconds since 1970; inclusive. */
  readonly sinceMs?: number;
  /** The same; exclusive. */
  readonly untilMs?: number;
  readonly by?: Grouping;
  /** Groups, hosts and packages that are named, those with the most first. */
  readonly limit: number;
}

export interface Group extends Tally {
  readonly key: string;
}

/** How often something was let in or out, and how often it was refused. */
export interface Use {
  readonly name: string;
  readonly permitted: number;
  readonly refused: number;
}

export interface Stats {
  readonly all: Tally;
  /** Of the grouping that was asked for. A call is in each group that it has a part in. */
  readonly groups?: readonly Group[];
  /** How many groups there are. */
  readonly groupCount?: number;
  /** Of connections. */
  readonly hosts: readonly Use[];
  /** How many hosts there are. */
  readonly hostCount: number;
  /** Of packages, without their versions. */
  readonly packages: readonly Use[];
  /** How many packages there are. */
  readonly packageCount: number;
  /** Refusals besides those of hosts and packages: there were too many to be on record one by one. */
  readonly onlyCounted: number;
}

/** What calls there were, counted. Reads every call of the time that is asked for. */
export function statsOf(index: AuditIndex, options: StatsOptions): Stats {
  return transaction(index, () => countWithin(index, options), "");
}

function countWithin(index: AuditIndex, { sinceMs, untilMs, by, limit }: StatsOptions): Stats {
  const range = idsBetween(sinceMs, untilMs);
  const all = emptyCounts();
  const groups = new Map<number | string, Counts>();
  const text = wordReader(index);
  const count = (counts: Counts, { decision, status, durationMs }: CallRow) =>
    addCall(counts, { decided: text(decision), status: status === null ? undefined : text(status), durationMs });
  const keyOf = by !== undefined && by in COLUMN ? COLUMN[by as keyof typeof COLUMN] : undefined;
  for (const row of callRows(index, { from: "records r", ids: "r.id" }, range)) {
    count(all, row);
    if (keyOf) count(countsOf(groups, keyOf(row)), row);
  }
  const field = by !== undefined && by in FIELD ? FIELD[by as keyof typeof FIELD] : undefined;
  if (field) {
    for (const table of ["terms", "ended"] as const) {
      for (const row of callRows(index, partsOf(field, table), range)) count(countsOf(groups, row.key), row);
    }
  }
  const named = [...groups].map(([key, counts]) => ({
    key: typeof key === "number" ? text(key) : key,
    ...tallyOf(counts),
  }));
  const sorted = named.toSorted((a, b) =>
    by === "day" ? (a.key < b.key ? 1 : -1) : b.calls - a.calls || (a.key < b.key ? -1 : 1),
  );
  const refusals = ["connection-refused", "placeholder-refused"];
  const hosts = usesOf(index, "host", ["connection-opened"], refusals, range, limit);
  const packages = usesOf(index, "purl", ["package-admitted"], ["package-refused"], range, limit);
  return {
    all: tallyOf(all),
    ...(by !== undefined && { groups: sorted.slice(0, limit), groupCount: sorted.length }),
    hosts: hosts.uses,
    hostCount: hosts.count,
    packages: packages.uses,
    packageCount: packages.count,
    onlyCounted: onlyCountedIn(index, range),
  };
}

/** An intent with what is counted of its outcome; texts are numbers of words. */
interface CallRow {
  readonly timeMs: number;
  readonly tool: number;
  readonly principal: number;
  readonly session: number | null;
  readonly decision: number;
  readonly status: number | null;
  readonly durationMs: number;
  /** Of what a call may have several of. */
  readonly key: number;
}

/** What each call has one of. */
const COLUMN = {
  tool: ({ tool }: CallRow) => tool,
  principal: ({ principal }: CallRow) => principal,
  decision: ({ decision }: CallRow) => decision,
  session: ({ session }: CallRow) => session ?? "none",
  /** By UTC. */
  day: ({ timeMs }: CallRow) => new Date(timeMs).toISOString().slice(0, 10),
};
/** What a call may have several of. */
const FIELD = { policy: "layeredPolicy", host: "host", package: "purl" } as const;

interface Parts {
  readonly from: string;
  readonly ids: string;
  readonly field?: Field;
  readonly more?: string;
}

function partsOf(field: Field, table: "terms" | "ended"): Parts {
  const from = `words w CROSS JOIN ${table} t ON t.word = w.id CROSS JOIN records r ON r.id = t.id`;
  // A call that asks for a package and gets it is one.
  const more = "AND NOT EXISTS (SELECT 1 FROM terms x WHERE x.word = t.word AND x.id = t.id)";
  return { from, ids: "t.id", field, ...(table === "ended" && { more }) };
}

type Range = ReturnType<typeof idsBetween>;

function* callRows({ database }: AuditIndex, { from, ids, field, more = "" }: Parts, range: Range): Generator<CallRow> {
  const statement = database.prepare(
    `SELECT r.time_ms, r.tool, r.principal, r.session, r.decision, o.status, o.duration_ms, ${field ? "w.id" : "0"}
     FROM ${from} LEFT JOIN records o ON o.id = r.outcome
     WHERE ${field ? "w.field = ? AND" : ""} ${ids} >= ? AND ${ids} < ? AND r.kind = ${KINDS.intent} ${more}`,
  );
  // Of many rows, as plain as can be: none of these numbers is an id.
  statement.setReadBigInts(false);
  statement.setReturnArrays(true);
  for (const row of statement.iterate(...(field ? [FIELDS[field]] : []), range.least, range.end)) {
    const [timeMs, tool, principal, session, decision, status, durationMs, key] = Object.values(row) as number[];
    if (timeMs === undefined || tool === undefined || principal === undefined || decision === undefined) continue;
    yield {
      timeMs,
      tool,
      principal,
      session: session ?? null,
      decision,
      status: status ?? null,
      durationMs: durationMs ?? 0,
      key: key ?? 0,
    };
  }
}

function countsOf(groups: Map<number | string, Counts>, key: number | string): Counts {
  let found = groups.get(key);
  if (!found) {
    found = emptyCounts();
    groups.set(key, found);
  }
  return found;
}

/** Texts of words, each read once. */
function wordReader({ database }: AuditIndex): (id: number) => string {
  const find = database.prepare("SELECT text FROM words WHERE id = ?");
  const known = new Map<number, string>();
  return (id) => {
    const text = known.get(id) ?? String(find.get(id)?.["text"]);
    known.set(id, text);
    return text;
  };
}

/** Those with the most, and how many there are. */
function usesOf(
  { database }: AuditIndex,
  field: "host" | "purl",
  permitted: readonly string[],
  refused: readonly string[],
  { least, end }: Range,
  limit: number,
): { readonly uses: Use[]; readonly count: number } {
  const find = database.prepare("SELECT id FROM words WHERE field = ? AND text = ?");
  const ids = (names: readonly string[]) => names.map((it) => find.get(FIELDS.event, it)?.["id"] ?? -1n);
  const marks = (list: readonly string[]) => list.map(() => "?").join();
  const rows = database
    .prepare(
      `SELECT n.text AS name, sum(e.word IN (${marks(permitted)})) AS permitted, count(*) AS uses, count(*) OVER () AS names
       FROM words n CROSS JOIN terms t ON t.word = n.id CROSS JOIN terms e ON e.word IN (${marks([...permitted, ...refused])}) AND e.id = t.id
       WHERE n.field = ? AND t.id >= ? AND t.id < ? GROUP BY n.id ORDER BY uses DESC, name LIMIT ?`,
    )
    .all(...ids(permitted), ...ids([...permitted, ...refused]), FIELDS[field], least, end, limit);
  const uses = rows.map((row) => {
    const [all, passed] = [Number(row["uses"]), Number(row["permitted"])];
    return { name: String(row["name"]), permitted: passed, refused: all - passed };
  });
  return { uses, count: Number(rows[0]?.["names"] ?? 0) };
}

function onlyCountedIn({ database }: AuditIndex, { least, end }: Range): number {
  // `total` adds as floating point: what a damaged log says overflows nothing.
  const sql = "SELECT total(only_counted) AS n FROM records WHERE only_counted IS NOT NULL AND id >= ? AND id < ?";
  return Number(database.prepare(sql).get(least, end)?.["n"]);
}
