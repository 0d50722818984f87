import canonicalize from "canonicalize";
import type { Entry } from "../read.ts";
import type { AuditRecord, Json } from "../record.ts";
import { COLUMNS } from "./postgres-schema.ts";

/** Longer text is cut in columns that have an index: an entry of one has at most 2,704 bytes, and a record must not fail to be kept. */
const MAX_CHARS = 300;
const MAX_ELEMENTS = 256;
const MAX_WORDS = 1_000;
const MAX_WORD_CHARS = 100;
/** The log's own writer cuts at 64; PostgreSQL's parser of JSON gives up at some thousands. */
const MAX_DEPTH = 100;
const INT4 = 2 ** 31;
/**
 * A word, and words that are joined (`api.example.com`, `etc/passwd`, `left-pad@1.3.0`). No two classes overlap: it never backtracks. Not by
 * Unicode's classes, which differ between versions of Node: the same record must always give the same words.
 */
const JOINED = /[0-9A-Za-z_\u0080-\u{10ffff}]+(?:[./@:+~-]+[0-9A-Za-z_\u0080-\u{10ffff}]+)*/gu;
const WORD = /[0-9A-Za-z_\u0080-\u{10ffff}]+/gu;

/**
 * A record as the table has it. `line` is the record, to the byte; everything else is made of it, for queries, and can be made anew.
 * Never throws, and holds nothing that PostgreSQL refuses: what an agent chose must not be able to stop the log.
 */
export interface PostgresRow {
  readonly seq: number;
  /** Milliseconds since 1970; null for a time that no calendar has. */
  readonly time_ms: number | null;
  readonly gateway: string;
  readonly kind: string;
  readonly event: string | null;
  readonly call_id: string | null;
  readonly session_id: string | null;
  readonly principal: string | null;
  readonly client: string | null;
  readonly tool: string | null;
  readonly decision: string | null;
  readonly status: string | null;
  readonly code: string | null;
  readonly exit_code: number | null;
  readonly duration_ms: number | null;
  readonly bundle: string | null;
  readonly policies: readonly string[];
  readonly hosts: readonly string[];
  /** Of each package `npm:left-pad`, `npm:left-pad@1.3.0`, and its package URL where the record has one. */
  readonly packages: readonly string[];
  /** The calls that ran while an event happened. */
  readonly calls: readonly string[];
  /** Lower-case words of the body's texts, each once. */
  readonly words: readonly string[];
  readonly hash: string;
  readonly prev: string;
  readonly line: string;
  /** U+FFFD for U+0000, which PostgreSQL cannot keep; null when it is nested too deeply. */
  readonly body: Json;
}

/**
 * Adds rows, given as JSON, of one chain: `$1` the chain, `$2` the rows. One parameter whatever their number: faster than an array for each
 * column, and lists within rows stay lists. Those that are there already are left as they are, and not counted.
 */
export function insertSql(schema: string): string {
  const given = Object.entries({ ...COLUMNS, time: "", chain: "", words: "text[]" })
    .filter(([, type]) => type !== "")
    .map(([name, type]) => `${name} ${type.replace(" NOT NULL", "")}`);
  const values = Object.keys(COLUMNS).map((name) => VALUES[name] ?? name);
  return `INSERT INTO ${schema}.records (${Object.keys(COLUMNS).join(", ")})
    SELECT ${values.join(", ")} FROM json_to_recordset($2::json) AS row (time_ms double precision, ${given.join(", ")})
    ON CONFLICT (time, chain, seq) DO NOTHING`;
}

/** What is not put in as it stands in a row. */
const VALUES: { readonly [column: string]: string } = {
  time: "coalesce(to_timestamp(time_ms / 1000), '-infinity')",
  chain: "$1",
  words: "array_to_tsvector(words)",
};

/** The columns as rows have them, but for `chain` and `seq`, which whoever selects them has already. */
export const SELECTED = Object.keys(COLUMNS)
  .filter((name) => name !== "chain" && name !== "seq")
  .map((name) => {
    if (name === "time") return "(extract(epoch FROM nullif(time, '-infinity')) * 1000)::double precision AS time_ms";
    return name === "words" ? "tsvector_to_array(words) AS words" : name;
  })
  .join(", ");

/** Names of columns that are not what the record makes them. `stored` is a row as `pg` reads it. */
export function differingColumns(stored: { readonly [column: string]: unknown }, entry: Entry): string[] {
  const expected = Object.entries({ ...postgresRow(entry) });
  return expected
    .filter(([name, value]) => comparable(name, stored[name]) !== comparable(name, value))
    .map(([name]) => name);
}

/** Big integers come as text, and words in an order of the server's. */
function comparable(name: string, value: unknown): string {
  if (name === "seq") return String(value);
  if (name === "words" && Array.isArray(value)) return JSON.stringify(value.toSorted());
  return canonicalize(value ?? null) ?? "";
}

export function postgresRow({ record, text }: Entry): PostgresRow {
  const { body, time } = record;
  const facts = factsOf(record);
  const ofIntent = body.kind === "intent" ? body : undefined;
  const ofOutcome = body.kind === "outcome" ? body : undefined;
  const timeMs = Date.parse(time);
  const { words, depth } = wordsOf(body as unknown as Json);
  return {
    seq: record.seq,
    time_ms: Number.isNaN(timeMs) ? null : timeMs,
    gateway: storable(record.gateway),
    kind: body.kind,
    event: body.kind === "event" ? body.event : null,
    call_id: textOr(body.callId ?? facts["callId"]),
    session_id: textOr(body.sessionId),
    principal: textOr(ofIntent?.principal.id),
    client: textOr(ofIntent && `${ofIntent.principal.client.name} ${ofIntent.principal.client.version}`),
    tool: textOr(ofIntent?.tool),
    decision: ofIntent?.decision ?? null,
    status: ofOutcome?.status ?? null,
    code: textOr(ofOutcome?.code),
    exit_code: exitCode(facts["exitCode"]),
    duration_ms: ofOutcome?.durationMs ?? null,
    bundle: textOr(ofIntent?.bundle.digest),
    policies: ofIntent ? texts(ofIntent.policies.map((it) => it.id)) : texts(facts["policies"]),
    hosts: texts(facts["host"]),
    packages: packagesOf(facts),
    calls: texts(facts["calls"]),
    words,
    hash: record.hash,
    prev: record.prev,
    line: text,
    body: depth > MAX_DEPTH ? null : withoutNul(body as unknown as Json, text),
  };
}

function factsOf({ body }: AuditRecord): { readonly [name: string]: Json } {
  if (body.kind === "intent") return {};
  const { facts } = body;
  return isObject(facts) ? facts : {};
}

function packagesOf({ ecosystem, name, version, purl, packages }: { readonly [name: string]: Json }): string[] {
  const base = typeof ecosystem === "string" && typeof name === "string" ? `${ecosystem}:${name}` : undefined;
  const own = base === undefined ? [] : [base, ...(typeof version === "string" ? [`${base}@${version}`] : [])];
  return texts([...own, ...list(purl), ...list(packages)]);
}

/** What can be kept and found again: without NUL, which PostgreSQL has no text for, and not too long for an index. */
function storable(text: string): string {
  return text.slice(0, MAX_CHARS).toWellFormed().replaceAll("\0", "\ufffd");
}

function textOr(value: Json | undefined): string | null {
  return typeof value === "string" ? storable(value) : null;
}

function list(value: Json | undefined): readonly Json[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function texts(value: Json | undefined): string[] {
  const all = list(value).filter((it) => typeof it === "string");
  return [...new Set(all.slice(0, MAX_ELEMENTS).map(storable))];
}

function exitCode(value: Json | undefined): number | null {
  return typeof value === "number" && Number.isInteger(value) && Math.abs(value) < INT4 ? value : null;
}

/** The words of all strings, and how deeply the value is nested. Walks without recursion: a depth is found out, not suffered. */
function wordsOf(body: Json): { words: string[]; depth: number } {
  const words = new Set<string>();
  const waiting: [value: Json, depth: number][] = [[body, 0]];
  let deepest = 0;
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [value, depth] = next;
    deepest = Math.max(deepest, depth);
    if (typeof value === "string") addWords(words, value);
    else if (typeof value === "object" && value !== null) {
      for (const child of Object.values(value)) waiting.push([child, depth + 1]);
    }
  }
  return { words: [...words], depth: deepest };
}

function addWords(words: Set<string>, text: string): void {
  for (const [joined] of text.matchAll(JOINED)) {
    if (words.size >= MAX_WORDS) return;
    addWord(words, joined);
    for (const [word] of joined.matchAll(WORD)) {
      if (words.size >= MAX_WORDS) return;
      if (word.length < joined.length) addWord(words, word);
    }
  }
}

function addWord(words: Set<string>, word: string): void {
  if (word.length > 1 && word.length <= MAX_WORD_CHARS) words.add(word.toLowerCase());
}

function withoutNul(body: Json, line: string): Json {
  return line.includes("\\u0000") ? cleaned(body) : body;
}

function cleaned(value: Json): Json {
  if (typeof value === "string") return value.replaceAll("\0", "\ufffd");
  if (Array.isArray(value)) return value.map(cleaned);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => [name.replaceAll("\0", "\ufffd"), cleaned(child)]),
  );
}

function isObject(value: Json): value is { readonly [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
