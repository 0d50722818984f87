import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import canonicalize from "canonicalize";
import { readLines, segmentName } from "../src/audit/files.ts";
import { catchUp } from "../src/audit/index/catch-up.ts";
import type { Filter } from "../src/audit/index/filter.ts";
import { openIndex } from "../src/audit/index/open.ts";
import { query } from "../src/audit/index/query.ts";
import { statsOf } from "../src/audit/index/stats.ts";
import { GENESIS_HASH, sealLine } from "../src/audit/line.ts";
import type { Json, RecordBody } from "../src/audit/record.ts";
import { type Row, row, timed } from "./row.ts";

const SEGMENT_BYTES = 8 * 1024 * 1024;
const CHAIN = "chain-0mwplkhc8c2b36263ab4f8dbd";
const T0_MS = Date.UTC(2026, 10, 1);
const STEP_MS = 200;
const ROUNDS = 15;

/**
 * How fast the index is made of a log, beside an SQLite table that the same lines are inserted into; and how long questions take, beside
 * the table's answer to the simplest: its first 100 rows by number.
 */
export async function benchAuditIndex(say: (message: string) => void, records = 100_000): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-index-"));
  try {
    const audit = join(root, "audit");
    say(`the audit log's index, of ${records} records`);
    writeLog(join(audit, CHAIN), records);
    const bareMs = await timed(() => bareInserts(join(root, "bare.sqlite"), join(audit, CHAIN)));
    using index = await openIndex(join(root, "index.sqlite"));
    let told = 0;
    const onProgress = (progress: { readonly records: number }) => {
      if (progress.records - told < 100_000) return;
      told = progress.records;
      say(`the audit log's index, ${told} records`);
    };
    const rebuildMs = await timed(() => catchUp(index, audit, { onProgress }));
    const rate = (ms: number) => [(records / ms) * 1_000];
    const rows = [row("audit index, rebuilt", rate(rebuildMs), "records/s", "bare inserts of the lines", rate(bareMs))];
    const [indexMiB, lineMiB] = [sizeMiB(join(root, "index.sqlite")), sizeMiB(join(root, "bare.sqlite"))];
    rows.push(row("audit index, size", [indexMiB], "MiB", "a table of the lines", [lineMiB]));
    using bare = openBare(join(root, "bare.sqlite"));
    for (const [name, filter, view] of questions(records)) {
      const baseline: number[] = [];
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        baseline.push(await timed(async () => bare.first()));
        times.push(await timed(async () => query(index, filter, { view, order: "newest", limit: 100 })));
      }
      rows.push(row(`audit query, ${name}`, times, "ms", "100 lines by number", baseline));
    }
    const times: number[] = [];
    for (let round = 0; round < 3; round += 1)
      times.push(await timed(async () => statsOf(index, { by: "tool", limit: 10 })));
    rows.push(
      row("audit stats by tool, of all", times, "ms", "100 lines by number", [await timed(async () => bare.first())]),
    );
    return rows;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function questions(records: number): (readonly [string, Filter, "calls" | "records"])[] {
  const middleMs = T0_MS + (records * STEP_MS) / 2;
  const calls: [string, Filter][] = [
    ["no filter", {}],
    ["time", { sinceMs: middleMs, untilMs: middleMs + 3_600_000 }],
    ["principal", { principal: "local:user-7" }],
    ["client", { client: "client-1" }],
    ["session", { session: sessionOf(Math.floor(records / 6)) }],
    ["call", { call: callOf(Math.floor(records / 6)) }],
    ["tool, common", { tool: "exec" }],
    ["tool, rare", { tool: "exposePort" }],
    ["decision, common", { decision: "permit" }],
    ["decision, rare", { decision: "ask" }],
    ["status", { status: "error" }],
    ["error code", { code: "TIMEOUT" }],
    ["exit code", { exitCode: 137 }],
    ["event", { event: "connection-refused" }],
    ["policy", { policy: "organisation:net.cedar#deny" }],
    ["host", { host: "host-12.example.org" }],
    ["hosts below", { host: "*.example.org" }],
    ["package", { package: "npm:package-7" }],
    ["text, common word", { text: ["workspace"] }],
    ["text, rare word", { text: ["needle4711"] }],
    ["text, part of a path", { text: ["src/module-42/index"] }],
    ["text, beginning of a word", { text: ["needle47*"] }],
    ["text, common and rare", { text: ["workspace", "needle4711"] }],
    ["text nowhere", { text: ["absent"] }],
    ["tool and package", { tool: "exec", package: "npm:package-7" }],
    ["tool and text", { tool: "exec", text: ["workspace"] }],
    ["denied with a rare text", { decision: "deny", text: ["needle4711"] }],
  ];
  return [
    ...calls.map(([name, filter]) => [name, filter, "calls"] as const),
    ["kind, records", { kind: "outcome" }, "records"],
    ["text, records", { text: ["workspace"] }, "records"],
  ];
}

const callOf = (n: number) => `call-0mwplkhc8${(n * 2_654_435_761).toString(16).padStart(16, "0")}`;
const sessionOf = (n: number) =>
  `ses-0mwplkhc8${Math.floor(n / 40)
    .toString(16)
    .padStart(16, "0")}`;
/** Spread, and the same in every run. */
const spread = (n: number, of: number) => ((n * 2_654_435_761) >>> 7) % of;

/** Two calls and an event in each five records: of each third call a connection. */
function* bodies(records: number): Generator<RecordBody> {
  for (let n = 0, written = 0; written < records; n += 1) {
    const [callId, sessionId] = [callOf(n), sessionOf(n)];
    const common = { callId, sessionId };
    const principal = {
      id: `local:user-${spread(n, 20)}`,
      client: { name: `client-${spread(n, 3)}`, version: "1.2.3" },
      transport: "stdio" as const,
    };
    const rare = spread(n, 1_000);
    const tool =
      rare === 0
        ? "exposePort"
        : rare < 20
          ? "installPackage"
          : (["exec", "shell", "readFile", "writeFile"][spread(n, 4)] ?? "exec");
    const path = `/workspace/src/module-${spread(n, 500)}/index.ts`;
    const decision = rare < 30 ? "ask" : rare < 130 ? "deny" : "permit";
    const asked: { readonly [key: string]: Json } =
      tool === "installPackage"
        ? { ecosystem: "npm", packages: [{ name: `package-${spread(n, 300)}` }] }
        : { argv: ["node", "--test", path, `needle${spread(n, 100_000)}`, `--seed=${n}`], cwd: "/workspace" };
    const packages =
      tool === "installPackage"
        ? { ecosystem: "npm", packages: [`pkg:npm/package-${spread(n, 300)}@1.0.${n % 9}`] }
        : {};
    yield {
      kind: "intent",
      ...common,
      principal,
      tool,
      arguments: asked,
      decision,
      policies: [
        decision === "permit"
          ? { id: "sandbox.cedar#run", effect: "permit", layer: "user" }
          : { id: "net.cedar#deny", effect: "forbid", layer: "organisation", reason: "not from here" },
      ],
      problems: [],
      bundle: { name: "default", version: "1.0.0", digest: `sha256:${"a".repeat(64)}` },
      request: {
        action: tool,
        resource: { type: "session", id: sessionId },
        context: { cwd: "/workspace", ...packages },
      },
    };
    written += 1;
    if (n % 3 === 0 && written < records) {
      const host = `host-${spread(n, 400)}.${spread(n, 2) === 0 ? "example.org" : "example.net"}`;
      const refused = spread(n, 10) === 0;
      const facts = {
        connectionId: `conn-${n}`,
        host,
        port: 443,
        scheme: "https",
        policies: ["net.cedar#hosts"],
        calls: [callId],
      };
      yield { kind: "event", event: refused ? "connection-refused" : "connection-opened", sessionId, facts };
      written += 1;
    }
    if (decision !== "permit" || written >= records) continue;
    const failed = spread(n, 50) === 0;
    const exitCode = spread(n, 200) === 1 ? 137 : spread(n, 10) === 0 ? 1 : 0;
    yield failed
      ? {
          kind: "outcome",
          ...common,
          status: "error",
          code: spread(n, 100) === 0 ? "TIMEOUT" : "SESSION_CLOSED",
          durationMs: 10,
          facts: { message: "no such session" },
        }
      : {
          kind: "outcome",
          ...common,
          status: "ok",
          durationMs: spread(n, 4_000),
          facts: { endedBy: "exit", exitCode, stdoutBytes: spread(n, 9_999), processId: `proc-${n}` },
        };
    written += 1;
  }
}

/** As a gateway writes it, without the syncs. */
function writeLog(directory: string, records: number): void {
  mkdirSync(directory, { recursive: true });
  let position = { seq: -1, hash: GENESIS_HASH };
  let segment = 1;
  let file = openSync(join(directory, segmentName(segment)), "w");
  let bytes = 0;
  let lines: string[] = [];
  const flush = () => {
    bytes += writeSync(file, lines.join(""));
    lines = [];
    if (bytes < SEGMENT_BYTES) return;
    closeSync(file);
    segment += 1;
    bytes = 0;
    file = openSync(join(directory, segmentName(segment)), "w");
  };
  for (const body of bodies(records)) {
    const time = new Date(T0_MS + (position.seq + 1) * STEP_MS).toISOString();
    const sealed = sealLine({ chain: CHAIN, gateway: "gw-bench", time }, position, canonicalize(body) ?? "");
    position = sealed.position;
    lines.push(sealed.line);
    if (lines.length === 1_000) flush();
  }
  flush();
  closeSync(file);
}

async function bareInserts(path: string, chainDirectory: string): Promise<void> {
  const database = new DatabaseSync(path);
  database.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE lines (id INTEGER PRIMARY KEY, line TEXT) STRICT",
  );
  const insert = database.prepare("INSERT INTO lines (line) VALUES (?)");
  for (let segment = 1; ; segment += 1) {
    const file = join(chainDirectory, segmentName(segment));
    if (statSync(file, { throwIfNoEntry: false }) === undefined) break;
    database.exec("BEGIN");
    for await (const lines of readLines(file)) for (const { bytes } of lines) insert.run(bytes.toString("utf8"));
    database.exec("COMMIT");
  }
  database.close();
}

function openBare(path: string): Disposable & { first(): unknown } {
  const database = new DatabaseSync(path);
  const statement = database.prepare("SELECT line FROM lines ORDER BY id DESC LIMIT 100");
  return { first: () => statement.all(), [Symbol.dispose]: () => database.close() };
}

function sizeMiB(path: string): number {
  return statSync(path).size / 1024 / 1024;
}

if (import.meta.main) {
  const say = (message: string) => process.stderr.write(`measuring ${message}\n`);
  console.log(JSON.stringify(await benchAuditIndex(say, Number(process.argv[2] ?? 100_000)), null, 1));
}
