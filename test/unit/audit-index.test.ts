import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  cpSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { expect, onTestFinished, test } from "vitest";
import { catchUp } from "../../src/audit/index/catch-up.ts";
import { isDropped, readChains } from "../../src/audit/index/chains.ts";
import { isBusy, openIndex, withIndex } from "../../src/audit/index/open.ts";
import { query } from "../../src/audit/index/query.ts";
import { rowOf } from "../../src/audit/index/rows.ts";
import { statsOf } from "../../src/audit/index/stats.ts";
import { leaves } from "../../src/audit/index/walk.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import type { AuditRecord, Json, RecordBody } from "../../src/audit/record.ts";
import { onlyChain, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { contents, fresh, writeCalls } from "../support/audit-index.ts";

const INDEXER = join(import.meta.dirname, "..", "support", "audit-indexer.ts");

function places() {
  const root = scratch();
  return { directory: join(root, "audit"), path: join(root, "audit-index", "index.sqlite") };
}

function record(body: RecordBody): AuditRecord {
  const hash = "0".repeat(64);
  return {
    version: 1,
    chain: "chain-1",
    seq: 0,
    time: "2026-11-20T10:00:00.000Z",
    gateway: "gw-1",
    prev: hash,
    body,
    hash,
  };
}

test("a record's row has what it is found by, and nothing of another record", () => {
  const { policies, ...call } = intent("call-1", {
    argv: ["curl", "https://user:pw@Files.Example.ORG:8443/a?b", "ftp://[2001:DB8::1]/x", "://", "a://"],
  });
  const row = rowOf(
    record({
      ...call,
      policies: [...policies, { id: "net.cedar#no", effect: "forbid", layer: "organisation" }],
      request: {
        action: "installPackage",
        resource: { type: "session", id: "ses-1" },
        context: { packages: ["pkg:npm/%40acme/x@1.0.0"] },
      },
    }),
  );
  expect(row).toMatchObject({ kind: "intent", timeMs: Date.UTC(2026, 10, 20, 10), gateway: "gw-1" });
  expect(row.terms.map((it) => it.join(" "))).toEqual([
    ...["call call-1", "session ses-1", "principal local:ada", "client test", "tool exec", "decision permit"],
    ...[
      "policy main.cedar#exec",
      "layeredPolicy main.cedar#exec",
      "policy net.cedar#no",
      "layeredPolicy organisation:net.cedar#no",
    ],
    ...["host files.example.org", "host 2001:db8::1", "domain example.org", "domain org"],
    ...[
      "package pkg:npm/%40acme/x@1.0.0",
      "package pkg:npm/%40acme/x",
      "purl pkg:npm/%40acme/x",
      "package @acme/x",
      "package npm:@acme/x",
    ],
  ]);
  const refused = rowOf(
    record(
      event(
        { ecosystem: "maven", name: "com.acme:lib", version: "3", policies: ["p#q"], calls: ["call-1", 7] },
        "package-refused",
      ),
    ),
  );
  expect(refused.terms.map((it) => it.join(" "))).toEqual([
    ...["call call-1", "session ses-1", "event package-refused", "policy p#q", "layeredPolicy p#q"],
    ...[
      "package com.acme:lib",
      "package maven:com.acme:lib",
      "package pkg:maven/com.acme/lib@3",
      "package pkg:maven/com.acme/lib",
      "purl pkg:maven/com.acme/lib",
    ],
  ]);
  const end = rowOf(record({ ...outcome("call-1", { exitCode: 137 }), status: "error", code: "TIMEOUT" }));
  expect(end.terms.map((it) => it.join(" "))).toEqual([
    "call call-1",
    "session ses-1",
    "status error",
    "code TIMEOUT",
    "exitCode 137",
  ]);
});

test("an agent that writes many hosts of many labels makes no index grow without bounds", () => {
  const host = `${"a.".repeat(110)}example.org`;
  const urls = Array.from({ length: 500 }, (_, n) => `https://h${n}.${host}/`);
  const { terms } = rowOf(record(intent("call-1", { urls })));
  expect(terms.filter(([field]) => field === "host")).toHaveLength(64);
  expect(terms.filter(([field]) => field === "domain")).toHaveLength(8);
  expect(terms).toContainEqual(["domain", "example.org"]);
});

test("of one record so many URLs are looked at, in all of its texts together", () => {
  const same = Array.from({ length: 999 }, () => "https://a.example.org/");
  const { terms } = rowOf(
    record(intent("call-1", { urls: [...same, "https://b.example.org/ https://c.example.org/"] })),
  );
  expect(terms.filter(([field]) => field === "host").map(([, it]) => it)).toEqual(["a.example.org", "b.example.org"]);
});

test("a text takes no longer for lying deep", () => {
  const wide = Array.from({ length: 20_000 }, () => "x");
  const deep = Array.from({ length: 60 }).reduce<unknown>((inner) => [inner], wide);
  expect([...leaves([1, { a: ["x", null, [true, "y"]], b: {} }, [[]], "z"])]).toEqual(["1", "x", "y", "z"]);
  const timed = (value: unknown) =>
    Math.min(
      ...[0, 1, 2, 3, 4].map(() => {
        const { user } = process.cpuUsage();
        expect([...leaves(value)]).toHaveLength(wide.length);
        return process.cpuUsage().user - user;
      }),
    );
  expect(timed(deep)).toBeLessThan(12 * Math.max(1_000, timed(wide)));
});

test("facts of any form give a row", () => {
  const odd: Json[] = [
    null,
    1,
    "x",
    [],
    [[]],
    {
      host: 1,
      purl: {},
      calls: "x",
      policies: [null, 1, { id: 2 }],
      packages: [null],
      exitCode: "0",
      ecosystem: "npm",
      name: "../%",
    },
    { host: "a b", purl: "pkg:", calls: {} },
    { purl: "pkg:npm/%zz@%", ecosystem: "none", name: "x" },
  ];
  for (const facts of odd) expect(rowOf(record(event(facts, "package-refused"))).terms.length).toBeGreaterThan(0);
  expect(
    rowOf(record({ ...intent("x".repeat(5_000)), tool: "y".repeat(5_000) })).terms.every(([, it]) => it.length <= 512),
  ).toBe(true);
});

test("what was indexed round by round, chain by chain, is what is indexed at once", async () => {
  const { directory, path } = places();
  using index = await openIndex(path);
  for (let round = 0; round < 4; round++) {
    {
      await using _other = await openAuditLog({ directory, gateway: "gw-other" });
      await _other.append(event({ round }));
      await writeCalls(directory, 5, `call-${round}`);
    }
    await catchUp(index, directory, { batchRecords: 1 + round * 3 });
  }
  expect(contents(index)).toEqual(await fresh(directory));
  expect((await catchUp(index, directory)).records).toBe(0);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("whoever is killed while it indexes leaves an index that goes on to the same end", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 60);
  for (const kills of [1, 40, 90]) {
    const child = spawn(process.execPath, [INDEXER, path, directory, "3"], { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    for await (const line of createInterface({ input: child.stdout })) {
      if (line === "done" || Number(line) >= kills) break;
    }
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  using index = await openIndex(path);
  await catchUp(index, directory);
  expect(contents(index)).toEqual(await fresh(directory));
});

test("several processes that index at once double and miss nothing", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 60);
  const children = Array.from({ length: 3 }, () => {
    const child = spawn(process.execPath, [INDEXER, path, directory, "5"], { stdio: ["ignore", "ignore", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    return once(child, "exit");
  });
  expect(await Promise.all(children)).toEqual([
    [0, null],
    [0, null],
    [0, null],
  ]);
  using index = await openIndex(path);
  expect((await catchUp(index, directory)).records).toBe(0);
  expect(contents(index)).toEqual(await fresh(directory));
});

test("who looks at the path without the lock does not stand in the way of who makes the file anew", async () => {
  const { path } = places();
  (await openIndex(path))[Symbol.dispose]();
  const look = `
    import { DatabaseSync } from "node:sqlite";
    for (let looked = false; ; ) {
      try {
        const database = new DatabaseSync(${JSON.stringify(path)});
        database.prepare("SELECT name FROM sqlite_schema").all();
        database.close();
        if (!looked) console.log("looking");
        looked = true;
      } catch {}
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", look], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  for (let n = 0; n < 100; n++) (await openIndex(path, { rebuild: true }))[Symbol.dispose]();
});

test.each([
  [
    "no database",
    (path: string) =>
      writeFileSync(path, "not a database, and longer than a header of SQLite's, which has 100 bytes ".repeat(20)),
    /damaged/,
  ],
  ["an empty file", (path: string) => truncateSync(path, 0), /something else/],
  ["a page in ruins", (path: string) => ruin(path, 4_096 * 2), /damaged/],
  ["another program's", (path: string) => other(path, "PRAGMA application_id = 7"), /something else/],
  [
    "another version",
    (path: string) => other(path, "PRAGMA user_version = 99"),
    /of version 99, and this is version 3/,
  ],
  ["a link to elsewhere", link, /no regular file/],
  ["without a table", (path: string) => other(path, "DROP TABLE ended"), /not as it was made/],
] as const)("a file that is %s is thrown away, and that is said", async (_, spoil, why) => {
  const { directory, path } = places();
  await writeCalls(directory, 20);
  {
    using index = await openIndex(path);
    await catchUp(index, directory);
  }
  spoil(path);
  const told: string[] = [];
  const found = await withIndex(path, { onDiscarded: (it) => told.push(it) }, async (index) => {
    await catchUp(index, directory);
    return contents(index);
  });
  expect(told).toEqual([expect.stringMatching(why)]);
  expect(found).toEqual(await fresh(directory));
});

test("of another version, whoever has kept the index open does not throw it away", async () => {
  const { path } = places();
  (await openIndex(path))[Symbol.dispose]();
  other(path, "PRAGMA user_version = 99");
  await expect(openIndex(path, { keepsVersions: true })).rejects.toMatchObject({ code: "STATE_UNWRITABLE" });
});

test("damage that a question comes upon is mended by making the index anew, once", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 40);
  const told: string[] = [];
  let rounds = 0;
  const answer = await withIndex(path, { onDiscarded: (it) => told.push(it) }, async (index) => {
    await catchUp(index, directory);
    rounds += 1;
    if (rounds === 1) {
      const second = new DatabaseSync(path, { defensive: false });
      second.exec("UPDATE text_data SET block = x'ffffffffffffffff' WHERE id > 10");
      second.close();
    }
    return query(index, { text: ["echo"] }, { view: "calls", order: "newest", limit: 1_000 }).hits.length;
  });
  expect([answer, rounds, told]).toEqual([40, 2, [expect.stringMatching(/damaged/)]]);
});

test("a directory that cannot be written is an error that says so", async () => {
  const root = scratch();
  writeFileSync(join(root, "file"), "");
  await expect(openIndex(join(root, "file", "index.sqlite"))).rejects.toMatchObject({ code: "STATE_UNWRITABLE" });
});

test.each([
  ["cut off", (chain: string) => truncateSync(join(chain, segments(chain).at(-1) ?? ""), 10)],
  ["a segment short", (chain: string) => rmSync(join(chain, segments(chain)[1] ?? ""))],
  [
    "short of its first segment, without a record of that,",
    (chain: string) => rmSync(join(chain, segments(chain)[0] ?? "")),
  ],
  ["another one of the same size", (chain: string) => flip(join(chain, segments(chain).at(-1) ?? ""))],
  ["gone", (chain: string) => rmSync(chain, { recursive: true })],
])("a log that is %s below what was indexed is indexed anew", async (_, change) => {
  const { directory, path } = places();
  await writeCalls(directory, 20);
  using index = await openIndex(path);
  await catchUp(index, directory);
  const chain = onlyChain(directory);
  change(chain);
  const changed: string[] = [];
  const { damaged } = await catchUp(index, directory, { onChanged: (it) => changed.push(it) });
  expect(changed).toHaveLength(1);
  expect(contents(index)).toEqual(await fresh(directory));
  expect(damaged).toBeLessThanOrEqual(1);
});

test("whoever is killed while it drops a chain leaves what the next one goes on with", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 400);
  using index = await openIndex(path);
  await catchUp(index, directory);
  const chain = onlyChain(directory);
  for (const name of segments(chain).slice(1)) rmSync(join(chain, name));
  const changed: string[] = [];
  const killed = async (slices: number) => {
    const signal = new AbortController();
    const pause = async () => {
      slices -= 1;
      if (slices < 0) signal.abort(new Error("killed"));
    };
    await catchUp(index, directory, { signal: signal.signal, pause, onChanged: (it) => changed.push(it) });
  };
  for (const slices of [0, 1, 2]) {
    await expect(killed(slices)).rejects.toThrow("killed");
    expect([...readChains(index).values()].map(isDropped)).toEqual([true]);
  }
  await Promise.all([catchUp(index, directory), catchUp(index, directory)]);
  expect(changed).toHaveLength(1);
  expect(contents(index)).toEqual(await fresh(directory));
  const left = index.database.prepare("SELECT count(*) AS n FROM terms WHERE id NOT IN (SELECT id FROM records)").get();
  expect(left).toEqual({ n: 0n });
});

test("that another process has the file for itself is known as such", async () => {
  const { path } = places();
  (await openIndex(path))[Symbol.dispose]();
  const holder = new DatabaseSync(path);
  onTestFinished(() => holder.close());
  holder.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; UPDATE words SET uses = 0; COMMIT");
  const error = await openIndex(path, { busyMs: 1 }).catch((it: unknown) => it);
  expect(error).toMatchObject({ code: "STATE_UNWRITABLE" });
  expect(isBusy(error)).toBe(true);
});

test("a chain that is restored from a copy, and goes on in another way, is indexed as it is now", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 5);
  const copy = join(scratch(), "copy");
  cpSync(directory, copy, { recursive: true });
  await writeCalls(directory, 6, "call-first");
  using index = await openIndex(path);
  await catchUp(index, directory);
  rmSync(directory, { recursive: true });
  cpSync(copy, directory, { recursive: true });
  await writeCalls(directory, 9, "call-second");
  await catchUp(index, directory);
  expect(contents(index)).toEqual(await fresh(directory));
  expect(query(index, { call: "call-first-1" }, { view: "calls", order: "newest", limit: 1 }).hits).toEqual([]);
});

test("damaged lines are counted, and what stands around them is found", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 20);
  const chain = onlyChain(directory);
  const first = join(chain, segments(chain)[0] ?? "");
  writeFileSync(first, readFileSync(first, "utf8").replace("word1", "word9"));
  appendFileSync(first, '{"half of a');
  using index = await openIndex(path);
  const { damaged, records } = await catchUp(index, directory);
  expect([damaged, records]).toEqual([2, recordsWithout(chain) - 1]);
  expect(await catchUp(index, directory)).toEqual({ damaged: 2, records: 0 });
});

test("half a line at the end is read when it is whole", async () => {
  const { directory, path } = places();
  await writeCalls(directory, 3);
  const chain = onlyChain(directory);
  const last = join(chain, segments(chain).at(-1) ?? "");
  const whole = readFileSync(last);
  using index = await openIndex(path);
  for (const bytes of [whole.length - 100, whole.length - 1, whole.length]) {
    writeFileSync(last, whole.subarray(0, bytes));
    expect((await catchUp(index, directory)).damaged).toBe(0);
  }
  expect(contents(index)).toEqual(await fresh(directory));
});

test("statistics count calls once in each group that they are a part of", async () => {
  const { directory, path } = places();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test" });
    for (let n = 0; n < 10; n++) {
      await log.append({ ...intent(`call-${n}`), tool: n < 7 ? "exec" : "shell" });
      await log.append({
        ...outcome(`call-${n}`),
        durationMs: n + 1,
        ...(n === 9 && { status: "error", code: "TIMEOUT" }),
      });
    }
    await log.append({
      ...intent("call-denied"),
      decision: "deny",
      policies: [
        { id: "a#b", effect: "forbid", layer: "organisation" },
        { id: "c#d", effect: "forbid" },
      ],
    });
    await log.append({ ...intent("call-asked"), decision: "ask" });
    for (const host of ["a.org", "a.org", "b.org"]) await log.append(event({ host }, "connection-opened"));
    await log.append(event({ host: "b.org", unrecordedBefore: 37 }, "connection-refused"));
    await log.append(event({ unrecordedBefore: 2 }, "connection-refused"));
    await log.append(event({ purl: "pkg:npm/x@1.0.0" }, "package-admitted"));
    await log.append(event({ ecosystem: "npm", name: "x", version: "2.0.0" }, "package-refused"));
  }
  using index = await openIndex(path);
  await catchUp(index, directory);
  const ask = (by: "tool" | "policy" | "day" | "decision") => statsOf(index, { by, limit: 10 });
  expect(ask("tool")).toMatchObject({
    all: { calls: 12, denied: 1, asked: 1, errors: 1, interrupted: 0, medianMs: 5, p95Ms: 10 },
    groups: [
      { key: "exec", calls: 9, medianMs: 4 },
      { key: "shell", calls: 3, errors: 1, p95Ms: 10 },
    ],
    hosts: [
      { name: "a.org", permitted: 2, refused: 0 },
      { name: "b.org", permitted: 1, refused: 1 },
    ],
    packages: [{ name: "pkg:npm/x", permitted: 1, refused: 1 }],
    onlyCounted: 39,
  });
  expect(ask("policy").groups?.map((it) => [it.key, it.calls])).toEqual([
    ["main.cedar#exec", 11],
    ["c#d", 1],
    ["organisation:a#b", 1],
  ]);
  expect(ask("decision").groups?.map((it) => it.key)).toEqual(["permit", "ask", "deny"]);
  expect(ask("day").groups).toHaveLength(1);
  expect(statsOf(index, { untilMs: 0, by: "host", limit: 1 })).toEqual({
    all: { ...NONE },
    groups: [],
    groupCount: 0,
    hosts: [],
    hostCount: 0,
    packages: [],
    packageCount: 0,
    onlyCounted: 0,
  });
  expect(statsOf(index, { limit: 1 })).toMatchObject({
    ...{ hosts: [{ name: "a.org" }], hostCount: 2 },
    ...{ packages: [{ name: "pkg:npm/x" }], packageCount: 1 },
  });
});

const NONE = { calls: 0, denied: 0, asked: 0, invalid: 0, errors: 0, interrupted: 0 };

function ruin(path: string, from: number): void {
  const bytes = readFileSync(path);
  bytes.fill(0xa5, from, from + 4_096 * 8);
  writeFileSync(path, bytes);
}

function link(path: string): void {
  renameSync(path, `${path}.x`);
  symlinkSync(`${path}.x`, path);
}

function other(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

/** Damages the last line and keeps its length. */
function flip(path: string): void {
  const text = readFileSync(path, "utf8");
  const at = text.lastIndexOf("call-");
  writeFileSync(path, `${text.slice(0, at)}CALL-${text.slice(at + 5)}`);
}

function recordsWithout(chain: string): number {
  return segments(chain).flatMap((name) =>
    readFileSync(join(chain, name), "utf8")
      .split("\n")
      .filter((line) => line.endsWith("}")),
  ).length;
}
