import { join } from "node:path";
import { catchUp } from "../../src/audit/index/catch-up.ts";
import { type AuditIndex, openIndex } from "../../src/audit/index/open.ts";
import { query } from "../../src/audit/index/query.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { scratch } from "./audit.ts";
import { event, intent, outcome } from "./audit-bodies.ts";

/** A log of so many calls, each with an outcome and an event, in small segments. */
export async function writeCalls(directory: string, calls: number, name = "call"): Promise<void> {
  await using log = await openAuditLog({ directory, gateway: "gw-test", segmentBytes: 4_000 });
  for (let n = 0; n < calls; n++) {
    await Promise.all([
      log.append(intent(`${name}-${n}`, { argv: ["echo", `word${n}`] })),
      log.append(outcome(`${name}-${n}`, { exitCode: n % 3 })),
      log.append(event({ host: `h${n % 4}.example.org`, calls: [`${name}-${n}`] }, "connection-opened")),
    ]);
  }
}

/** All that an index says, in words: numbers are given as they come, and say nothing. */
export function contents({ database }: AuditIndex): object {
  const all = (sql: string) =>
    database
      .prepare(sql)
      .all()
      .map((row) => JSON.stringify(row, (_, it) => (typeof it === "bigint" ? String(it) : it)));
  const words = (table: string) =>
    all(
      `SELECT c.name, r.ordinal, w.field, w.text FROM ${table} t JOIN words w ON w.id = t.word JOIN records r ON r.id = t.id JOIN chains c ON c.id = r.chain ORDER BY 1, 2, 3, 4`,
    );
  const texts = (table: string, word: string) =>
    database
      .prepare(`SELECT r.ordinal FROM ${table} t JOIN records r ON r.id = t.rowid WHERE ${table} MATCH ? ORDER BY 1`)
      .all(word)
      .map((it) => Number(it["ordinal"]));
  return {
    chains: all(
      "SELECT name, segment, offset, segments, ordinal, last_offset, hex(hash), records, damaged FROM chains ORDER BY name",
    ),
    records: all(
      `SELECT c.name, r.ordinal, r.segment, r.offset, r.length, r.seq, hex(r.hash), r.time_ms, r.kind, r.exit_code, r.duration_ms, r.only_counted, r.told, o.ordinal AS ended
       FROM records r JOIN chains c ON c.id = r.chain LEFT JOIN records o ON o.id = r.outcome ORDER BY c.name, r.ordinal`,
    ),
    terms: words("terms"),
    ended: words("ended"),
    texts: [texts("text", "echo"), texts("text", "word3"), texts("ended_text", "ok"), texts("ended_text", "call")],
    open: all("SELECT ordinal FROM open_calls ORDER BY chain, ordinal"),
  };
}

/** What an index says that is made of the log at once. */
export async function fresh(directory: string): Promise<object> {
  using index = await openIndex(join(scratch(), "fresh.sqlite"));
  await catchUp(index, directory);
  return contents(index);
}

/** How many records an index has. */
export const count = (index: AuditIndex) =>
  query(index, {}, { view: "records", order: "oldest", limit: 100_000 }).hits.length;
