import type { SQLInputValue } from "node:sqlite";
import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import type { RecordBody } from "../record.ts";
import { type Condition, conditionsOf, type Filter, isBeginning, matchOf } from "./filter.ts";
import { isOfOutcomes } from "./insert.ts";
import { kindsOf } from "./kinds.ts";
import { type AuditIndex, transaction } from "./open.ts";
import type { Pointer } from "./read-back.ts";
import { wordOf } from "./rows.ts";
import { FIELDS, type Field, ID_BITS, KINDS } from "./schema.ts";

export interface QueryOptions {
  /**
   * `records`: each record that has what is asked for. `calls`: intents, together with their outcomes, of which either may have it; and where
   * a filter asks for what events have too (event, policy, host, package, exit code, text), those events.
   */
  readonly view: "calls" | "records";
  readonly order: "newest" | "oldest";
  readonly limit: number;
  /** Only what is older than the record at this position; a `Hit` has it. */
  readonly before?: string;
  /** Only what is newer. */
  readonly after?: string;
}

/** A record that was found. */
export interface Hit extends Pointer {
  /** `<chain>/<number>`: where the log is whole, the number is the record's `seq`. */
  readonly position: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly kind: RecordBody["kind"];
  /** Of an intent in the view of calls: how the call ended. */
  readonly outcome?: Pointer;
}

export interface Answer {
  readonly hits: readonly Hit[];
  /** Whether there are others behind the last one. */
  readonly more: boolean;
}

/** So rare that whether its records have a text is looked up one by one. */
const FEW_USES = 2_000n;

/**
 * Finds records. The index reads from the end that is asked for, along the rarest condition, until there are enough.
 * @throws GatewayError INVALID_ARGUMENTS for a filter that can't be meant, as no record could have it, or a position that is not known
 */
export function query(index: AuditIndex, filter: Filter, options: QueryOptions): Answer {
  return transaction(index, () => queryWithin(index, filter, options), "");
}

function queryWithin(index: AuditIndex, filter: Filter, options: QueryOptions): Answer {
  const { view, order, limit } = options;
  const match = matchOf(filter.text);
  const wanted = conditionsOf(filter).map((it) => resolved(index, it));
  const where = rangeOf(index, filter, options);
  const kinds = kindsOf(filter, view).map((it) => KINDS[it]);
  // A word that the index has not is one of no record.
  if (wanted.some((it) => it.words.length === 0) || kinds.length === 0) return { hits: [], more: false };
  const [rarest] = wanted.toSorted((a, b) => (a.uses < b.uses ? -1 : 1));
  const byText = match !== undefined && (rarest === undefined || rarest.uses > FEW_USES);
  const sources = byText
    ? textSources(match, view)
    : rarest
      ? wordSources(rarest, view, kinds)
      : [{ from: "records r", ids: "r.id", values: [] }];
  const checks = [
    ...wanted.filter((it) => byText || it !== rarest).map((it) => wordCheck(it, view, kinds)),
    ...(match === undefined || byText ? [] : [textCheck(match, view, filter.text?.some(isBeginning) ?? false)]),
    // Every record has one, so there is no list of each: what the rest of the question leaves is looked at one by one.
    ...(filter.gateway === undefined ? [] : [{ sql: "r.gateway = ?", values: [filter.gateway] }]),
    { sql: `r.kind IN (${kinds.join(", ")})`, values: [] },
  ];
  const direction = order === "newest" ? "DESC" : "ASC";
  const found = new Map<bigint, Row>();
  for (const { from, ids, on, values } of sources) {
    const conditions = [...(on === undefined ? [] : [on]), `${ids} >= ?`, `${ids} < ?`, ...checks.map((it) => it.sql)];
    const sql = `SELECT ${COLUMNS} FROM ${from} LEFT JOIN records o ON o.id = r.outcome
      JOIN chains c ON c.id = r.chain WHERE ${conditions.join(" AND ")} ORDER BY ${ids} ${direction} LIMIT ?`;
    const bound = [...values, where.least, where.end, ...checks.flatMap((it) => it.values), limit + 1];
    for (const row of index.database.prepare(sql).all(...bound)) found.set(BigInt(row["id"] as bigint), row);
  }
  const sorted = [...found].toSorted(([a], [b]) => (a < b === (order === "oldest") ? -1 : 1)).map(([, row]) => row);
  return { hits: sorted.slice(0, limit).map((row) => hitOf(row, view)), more: sorted.length > limit };
}

type Row = { readonly [column: string]: unknown };
interface Part {
  readonly sql: string;
  readonly values: readonly SQLInputValue[];
}
interface Source {
  readonly from: string;
  /** The column that its order is by. */
  readonly ids: string;
  readonly on?: string;
  readonly values: readonly SQLInputValue[];
}

const COLUMNS = `r.id, c.name AS chain, r.ordinal, r.segment, r.offset, r.length, r.seq, r.hash, r.time_ms, r.kind,
  o.segment AS o_segment, o.offset AS o_offset, o.length AS o_length, o.hash AS o_hash`;

interface Wanted {
  readonly words: readonly bigint[];
  readonly uses: bigint;
  readonly fields: readonly Field[];
}

function resolved({ database }: AuditIndex, { fields, text }: Condition): Wanted {
  const find = database.prepare("SELECT id, uses FROM words WHERE field = ? AND text = ?");
  const rows = fields.map((field) => find.get(FIELDS[field], wordOf(text))).filter((it) => it !== undefined);
  return {
    words: rows.map((it) => BigInt(it["id"] as bigint)),
    uses: rows.reduce((sum, it) => sum + BigInt(it["uses"] as bigint), 0n),
    fields,
  };
}

type Kinds = readonly number[];

/** Where the words are looked for: what outcomes alone have, calls have by them alone. */
function tablesOf({ fields }: Wanted, view: QueryOptions["view"], kinds: Kinds): readonly string[] {
  if (view === "records" || !fields.some(isOfOutcomes)) return ["terms"];
  const isOfOutcomesAlone = fields.every(
    (it) => it === "status" || it === "code" || (it === "exitCode" && !kinds.includes(KINDS.event)),
  );
  return isOfOutcomesAlone ? ["ended"] : ["terms", "ended"];
}

function wordSources(wanted: Wanted, view: QueryOptions["view"], kinds: Kinds): Source[] {
  return tablesOf(wanted, view, kinds).flatMap((table) =>
    // CROSS JOIN: SQLite keeps this order of reading.
    wanted.words.map((word) => ({
      from: `${table} t CROSS JOIN records r ON r.id = t.id`,
      ids: "t.id",
      on: "t.word = ?",
      values: [word],
    })),
  );
}

function textSources(match: string, view: QueryOptions["view"]): Source[] {
  return (view === "calls" ? ["text", "ended_text"] : ["text"]).map((table) => ({
    from: `${table} CROSS JOIN records r ON r.id = ${table}.rowid`,
    ids: `${table}.rowid`,
    on: `${table} MATCH ?`,
    values: [match],
  }));
}

function wordCheck(wanted: Wanted, view: QueryOptions["view"], kinds: Kinds): Part {
  const { words } = wanted;
  const one = (table: string) => `EXISTS (SELECT 1 FROM ${table} x WHERE x.word = ? AND x.id = r.id)`;
  const tables = tablesOf(wanted, view, kinds);
  const sql = tables.flatMap((table) => words.map(() => one(table))).join(" OR ");
  return { sql: `(${sql})`, values: tables.flatMap(() => words) };
}

function textCheck(match: string, view: QueryOptions["view"], hasBeginning: boolean): Part {
  const tables = view === "calls" ? ["text", "ended_text"] : ["text"];
  // The beginning of a word is put together from all words that have it: once, and not for each record. (The `+` keeps it from being what is read along.)
  const one = (table: string) =>
    hasBeginning
      ? `+r.id IN (SELECT rowid FROM ${table} WHERE ${table} MATCH ?)`
      : `EXISTS (SELECT 1 FROM ${table} WHERE ${table} MATCH ? AND ${table}.rowid = r.id)`;
  return { sql: `(${tables.map(one).join(" OR ")})`, values: tables.map(() => match) };
}

const LEAST = -(2n ** 63n);
const END = 2n ** 63n - 1n;
/** The last moment that a record can have: 9999-12-31. */
const LAST_MS = 253_402_300_799_999;

/** Ids from `least` on, below `end`. */
export function idsBetween(sinceMs: number | undefined, untilMs: number | undefined) {
  const first = (ms: number) => BigInt(Math.ceil(Math.min(LAST_MS, Math.max(-LAST_MS, ms)))) << ID_BITS;
  return { least: sinceMs === undefined ? LEAST : first(sinceMs), end: untilMs === undefined ? END : first(untilMs) };
}

function rangeOf(index: AuditIndex, { sinceMs, untilMs }: Filter, { before, after }: QueryOptions) {
  let { least, end } = idsBetween(sinceMs, untilMs);
  const [above, below] = [after, before].map((it) => (it === undefined ? undefined : idAt(index, it)));
  if (above !== undefined && above >= least) least = above + 1n;
  if (below !== undefined && below < end) end = below;
  return { least, end };
}

function idAt({ database }: AuditIndex, position: string): bigint {
  const [, chain = "", ordinal = ""] = /^([^/]{1,100})\/(\d{1,15})$/.exec(position) ?? [];
  const found = database
    .prepare("SELECT r.id FROM chains c JOIN records r ON r.chain = c.id WHERE c.name = ? AND r.ordinal = ?")
    .get(chain, Number(ordinal))?.["id"];
  if (typeof found === "bigint") return found;
  throw new GatewayError(
    "INVALID_ARGUMENTS",
    `the log has no record \`${printable(position, 120)}\`; a position is <chain>/<seq>`,
  );
}

const KIND_NAMES = Object.fromEntries(Object.entries(KINDS).map(([name, number]) => [number, name]));

function hitOf(row: Row, view: QueryOptions["view"]): Hit {
  const chain = String(row["chain"]);
  const outcome = pointer(chain, row, "o_");
  return {
    ...(pointer(chain, row, "") ?? { chain, segment: 0, offset: 0, length: 0, hash: "" }),
    position: `${chain}/${row["ordinal"]}`,
    seq: Number(row["seq"]),
    timeMs: Number(row["time_ms"]),
    kind: KIND_NAMES[Number(row["kind"])] as RecordBody["kind"],
    ...(view === "calls" && outcome && { outcome }),
  };
}

function pointer(chain: string, row: Row, prefix: "" | "o_"): Pointer | undefined {
  const hash = row[`${prefix}hash`];
  if (!(hash instanceof Uint8Array)) return undefined;
  const number = (column: string) => Number(row[`${prefix}${column}`]);
  return {
    chain,
    segment: number("segment"),
    offset: number("offset"),
    length: number("length"),
    hash: Buffer.from(hash).toString("hex"),
  };
}
