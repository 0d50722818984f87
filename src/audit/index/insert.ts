import type { AuditIndex } from "./open.ts";
import type { Row } from "./rows.ts";
import { FIELDS, type Field, ID_BITS, KINDS, MAX_IN_A_MILLISECOND } from "./schema.ts";

/** Words whose numbers are remembered. */
const MAX_REMEMBERED = 50_000;
/** What an outcome says of its call. Each call's own records are not counted: they are always few. */
const OF_OUTCOMES: ReadonlySet<Field> = new Set(["status", "code", "exitCode", "host", "domain", "package", "purl"]);

/** What an event says of the calls that it names: where their programs led, what they brought in, how they ended. */
const OF_EVENTS: ReadonlySet<Field> = new Set(["exitCode", "host", "domain", "package", "purl"]);
/** Terms that one call has by events: a program may go to new hosts for ever. */
const MAX_TOLD = 2_048;

/** Whether a call has it by its outcome, or by an event. */
export function isOfOutcomes(field: Field): boolean {
  return OF_OUTCOMES.has(field);
}

/** A row, and where its line stands. */
export interface Placed {
  readonly row: Row;
  readonly ordinal: number;
  readonly segment: number;
  readonly offset: number;
  /** Of the line without its newline, in bytes. */
  readonly length: number;
  readonly seq: number;
  readonly hash: Buffer;
}

/** Puts rows into an index; within a transaction each. */
export interface Inserter {
  /** @returns how many had no place: more records of one millisecond than an index can tell apart */
  insert(chain: bigint, rows: readonly Placed[]): number;
  /** After a transaction that was rolled back: numbers of words may be another's by now. */
  forget(): void;
}

export function createInserter({ database }: AuditIndex): Inserter {
  const prepared = {
    findWord: database.prepare("SELECT id FROM words WHERE field = ? AND text = ?"),
    addWord: database.prepare("INSERT INTO words (field, text, uses) VALUES (?, ?, 0)"),
    count: database.prepare("UPDATE words SET uses = uses + ? WHERE id = ?"),
    lastId: database.prepare("SELECT max(id) AS id FROM records WHERE id >= ? AND id < ?"),
    record: database.prepare(
      `INSERT INTO records (id, chain, ordinal, segment, offset, length, seq, hash, time_ms, kind, event, call, session, principal, client, tool,
       decision, status, code, exit_code, duration_ms, bundle, gateway, only_counted) VALUES (?${", ?".repeat(23)})`,
    ),
    term: database.prepare("INSERT OR IGNORE INTO terms (word, id) VALUES (?, ?)"),
    ended: database.prepare("INSERT OR IGNORE INTO ended (word, id) VALUES (?, ?)"),
    open: database.prepare("INSERT INTO open_calls (chain, call, ordinal, id) VALUES (?, ?, ?, ?)"),
    findOpen: database.prepare(
      "SELECT id, ordinal FROM open_calls WHERE chain = ? AND call = ? ORDER BY ordinal DESC LIMIT 1",
    ),
    close: database.prepare("DELETE FROM open_calls WHERE chain = ? AND call = ? AND ordinal = ?"),
    pair: database.prepare("UPDATE records SET outcome = ? WHERE id = ?"),
    findIntent: database.prepare(
      `SELECT id, told FROM records WHERE call = ? AND chain = ? AND kind = ${KINDS.intent} ORDER BY ordinal DESC LIMIT 1`,
    ),
    tell: database.prepare("UPDATE records SET told = ? WHERE id = ?"),
    text: database.prepare("INSERT INTO text (rowid, body) VALUES (?, ?)"),
    endedText: database.prepare("INSERT INTO ended_text (rowid, body) VALUES (?, ?)"),
  };
  const words = new Map<string, bigint>();

  const wordId = (field: Field, text: string): bigint => {
    const key = `${field}\0${text}`;
    const known = words.get(key);
    if (known !== undefined) return known;
    const found = prepared.findWord.get(FIELDS[field], text)?.["id"];
    const id = BigInt(found === undefined ? prepared.addWord.run(FIELDS[field], text).lastInsertRowid : Number(found));
    if (words.size >= MAX_REMEMBERED) words.clear();
    words.set(key, id);
    return id;
  };

  /** Gives the calls that an event names what it says. They may have ended before. @returns words, each as often as a call got it */
  const tell = (chain: bigint, ids: readonly (readonly [Field, bigint])[]): bigint[] => {
    const words = ids.filter(([field]) => OF_EVENTS.has(field)).map(([, word]) => word);
    const calls = words.length === 0 ? [] : ids.filter(([field]) => field === "call");
    return calls.flatMap(([, call]) => {
      const intent = prepared.findIntent.get(call, chain);
      if (!intent) return [];
      const { id = null, told } = intent;
      const before = Number(told);
      const got: bigint[] = [];
      for (const word of words) {
        if (before + got.length >= MAX_TOLD) break;
        if (Number(prepared.ended.run(word, id).changes) > 0) got.push(word);
      }
      if (got.length > 0) prepared.tell.run(before + got.length, id);
      return got;
    });
  };

  let last = 0n;
  /** The next of its millisecond. */
  const nextId = (timeMs: number): bigint | undefined => {
    const first = BigInt(timeMs) << ID_BITS;
    const end = first + MAX_IN_A_MILLISECOND;
    if (last < first || last >= end) {
      const found = prepared.lastId.get(first, end)?.["id"];
      last = typeof found === "bigint" ? found : first - 1n;
    }
    last += 1n;
    return last < end ? last : undefined;
  };

  return {
    forget: () => words.clear(),
    insert: (chain, rows) => {
      last = -1n;
      const uses = new Map<bigint, number>();
      const endings: { readonly id: bigint; readonly text: string }[] = [];
      let placeless = 0;
      for (const { row, ordinal, segment, offset, length, seq, hash } of rows) {
        const id = nextId(row.timeMs);
        if (id === undefined) {
          placeless += 1;
          continue;
        }
        const ids = row.terms.map(([field, text]) => [field, wordId(field, text)] as const);
        const one = (field: Field) => ids.find(([it]) => it === field)?.[1] ?? null;
        const call = one("call");
        const exit = row.terms.find(([it]) => it === "exitCode")?.[1];
        prepared.record.run(
          ...[id, chain, ordinal, segment, offset, length, seq, hash, row.timeMs, KINDS[row.kind], one("event"), call],
          ...[
            one("session"),
            one("principal"),
            one("client"),
            one("tool"),
            one("decision"),
            one("status"),
            one("code"),
          ],
          ...[exit === undefined ? null : Number(exit), row.durationMs ?? null, row.bundle ?? null, row.gateway],
          row.onlyCounted ?? null,
        );
        prepared.text.run(id, row.text);
        const outcomeOf = row.kind === "outcome" && call !== null ? prepared.findOpen.get(chain, call) : undefined;
        for (const [field, word] of ids) {
          prepared.term.run(word, id);
          if (outcomeOf && isOfOutcomes(field)) prepared.ended.run(word, outcomeOf["id"] ?? null);
          if (field !== "call") uses.set(word, (uses.get(word) ?? 0) + 1);
        }
        const told = row.kind === "event" ? tell(chain, ids) : [];
        for (const word of told) uses.set(word, (uses.get(word) ?? 0) + 1);
        if (row.kind === "intent" && call !== null) prepared.open.run(chain, call, ordinal, id);
        if (outcomeOf) {
          prepared.close.run(chain, call, outcomeOf["ordinal"] ?? null);
          prepared.pair.run(id, outcomeOf["id"] ?? null);
          endings.push({ id: BigInt(outcomeOf["id"] as bigint), text: row.text });
        }
      }
      // FTS5 writes what it has gathered whenever a row comes before the one before.
      endings.sort((a, b) => (a.id < b.id ? -1 : 1));
      for (const { id, text } of endings) prepared.endedText.run(id, text);
      for (const [word, count] of uses) prepared.count.run(count, word);
      return placeless;
    },
  };
}
