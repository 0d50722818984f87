import { join } from "node:path";
import fc from "fast-check";
import { expect, onTestFinished, test, vi } from "vitest";
import { catchUp } from "../../src/audit/index/catch-up.ts";
import type { Filter } from "../../src/audit/index/filter.ts";
import { type AuditIndex, openIndex } from "../../src/audit/index/open.ts";
import { type Answer, type QueryOptions, query } from "../../src/audit/index/query.ts";
import { readBack } from "../../src/audit/index/read-back.ts";
import { statsOf } from "../../src/audit/index/stats.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { scratch } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { bodies, canBe, expected, filters, type Scanned, scan } from "../support/audit-scan.ts";

const VIEWS = ["calls", "records"] as const;

/** A log of these records in two chains, and its index. */
async function indexed(root: string, records: readonly RecordBody[], second: readonly RecordBody[] = []) {
  const directory = join(root, "audit");
  {
    await using one = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 4_000 });
    await using two = await openAuditLog({ directory, gateway: "gw-2", segmentBytes: 4_000 });
    for (const it of records) await one.append(it);
    for (const it of second) await two.append(it);
  }
  const index = await openIndex(join(root, "audit-index", "index.sqlite"));
  await catchUp(index, directory);
  return { index, directory };
}

const positions = (list: readonly (Scanned | Answer["hits"][number])[]) => list.map((it) => it.position);

function ask(index: AuditIndex, filter: Filter, options: Partial<QueryOptions> = {}): Answer {
  return query(index, filter, { view: "calls", order: "newest", limit: 1_000, ...options });
}

test("what the index answers is what a look at every record finds", async () => {
  await fc.assert(
    fc.asyncProperty(
      bodies,
      bodies,
      fc.array(filters, { minLength: 30, maxLength: 30 }),
      async (one, two, questions) => {
        const root = scratch();
        const { index, directory } = await indexed(root, one, two);
        using _index = index;
        const all = await scan(directory);
        const middleMs = Date.parse(all[Math.floor(all.length / 2)]?.record.time ?? "");
        for (const [n, asked] of questions.entries()) {
          const filter =
            n % 5 === 0 ? { ...asked, sinceMs: middleMs } : n % 5 === 1 ? { ...asked, untilMs: middleMs } : asked;
          for (const view of VIEWS) {
            if (!canBe(filter, view)) {
              expect(() => ask(index, filter, { view })).toThrow(/so this would find nothing: /);
              expect(expected(all, filter, view)).toEqual([]);
              continue;
            }
            const { hits, more } = ask(index, filter, { view, order: "oldest" });
            expect([view, filter, positions(hits).sort()]).toEqual([
              view,
              filter,
              positions(expected(all, filter, view)).sort(),
            ]);
            expect(more).toBe(false);
            for (const hit of hits) {
              const read = await readBack(directory, hit);
              expect("record" in read && read.record.seq).toBe(hit.seq);
            }
            const times = hits.map((it) => it.timeMs);
            expect(times).toEqual(times.toSorted((a, b) => a - b));
            expect(positions(ask(index, filter, { view }).hits)).toEqual(positions(hits).reverse());
          }
        }
      },
    ),
    { numRuns: 12 },
  );
});

test("pages put together are the whole, in either order, while a gateway goes on writing", async () => {
  const root = scratch();
  const { index, directory } = await indexed(
    root,
    Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? intent(`call-${n}`) : outcome(`call-${n - 1}`))),
    Array.from({ length: 15 }, (_, n) => event({ n, host: "example.org" }, "connection-opened")),
  );
  using _index = index;
  const questions: [Filter, "calls" | "records"][] = [
    [{}, "calls"],
    [{}, "records"],
    [{ tool: "exec" }, "records"],
    [{ host: "example.org" }, "calls"],
  ];
  for (const [filter, view] of questions) {
    for (const order of ["newest", "oldest"] as const) {
      const whole = positions(ask(index, filter, { view, order }).hits);
      const paged: string[] = [];
      for (let last: string | undefined, more = true; more; ) {
        const from = last === undefined ? {} : order === "newest" ? { before: last } : { after: last };
        const page = ask(index, filter, { view, order, limit: 7, ...from });
        paged.push(...positions(page.hits));
        last = page.hits.at(-1)?.position;
        ({ more } = page);
        if (order === "oldest") continue;
        await using log = await openAuditLog({ directory, gateway: "gw-3" });
        await log.append(intent("call-later"));
        await catchUp(index, directory);
      }
      expect(paged).toEqual(whole);
    }
  }
  expect(() => ask(index, {}, { before: "chain-x/1" })).toThrow(/no record `chain-x\/1`/);
  expect(() => ask(index, {}, { after: "1; DROP TABLE records" })).toThrow(/no record/);
});

test("a call is found by what its outcome says, also when that came in another round", async () => {
  const root = scratch();
  const { index, directory } = await indexed(root, [intent("call-1"), intent("call-2")]);
  using _index = index;
  expect(ask(index, {}).hits.map((it) => it.outcome)).toEqual([undefined, undefined]);
  {
    await using log = await openAuditLog({ directory, gateway: "gw-3" });
    await log.append(outcome("call-2", { exitCode: 7, message: "no such module" }));
  }
  await catchUp(index, directory);
  // The next gateway's start wrote of both that they were interrupted; an outcome after that is one too many.
  const calls = ask(index, { status: "interrupted" }).hits;
  expect(calls).toHaveLength(2);
  const read = await readBack(directory, calls[0]?.outcome ?? Object.assign({}, calls[0]));
  expect(read).toMatchObject({ record: { body: { kind: "outcome", callId: "call-2", status: "interrupted" } } });
  expect(ask(index, { exitCode: 7 }).hits).toHaveLength(0);
  expect(ask(index, { exitCode: 7 }, { view: "records" }).hits).toHaveLength(1);
});

test.each<[Filter, "calls" | "records", RegExp]>([
  [
    { event: "connection-refused", principal: "local:ada" },
    "calls",
    /^no event has --principal, .* give --host, --package or --exit-code without --event, --kind and --records/,
  ],
  [{ kind: "event", tool: "exec", status: "ok" }, "records", /^no event has --tool and --status, .* give --host/],
  [{ kind: "outcome", principal: "local:ada" }, "records", /^no outcome has --principal, .* leave out --kind outcome/],
  [{ kind: "outcome", event: "process-ended" }, "records", /^no outcome has --event, .* leave out --kind outcome$/],
  [{ kind: "intent", exitCode: 1 }, "records", /^no intent has --exit-code, .* leave out --kind intent/],
  [{ client: "test", code: "TIMEOUT" }, "records", /^no one record has --client and --code, .* leave out --records/],
])("what no record can have, %j as %s, is refused with what to ask", async (filter, view, why) => {
  const { index } = await indexed(scratch(), [intent("call-1"), outcome("call-1"), event({ exitCode: 1 })]);
  using _index = index;
  const asked = () => ask(index, filter, { view });
  expect(asked).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENTS", message: expect.stringMatching(why) }));
});

test("a call is found by what the events that name it say, also behind its end, together with who called", async () => {
  const { index, directory } = await indexed(
    scratch(),
    [
      { ...intent("call-1", { argv: ["curl", "evil.example"] }), tool: "exec" },
      intent("call-2"),
      outcome("call-1"),
      event({ host: "evil.example", calls: ["call-1"] }, "connection-refused"),
      event({ purl: "pkg:npm/left-pad@1.0.0", calls: ["call-1", "call-9"] }, "package-admitted"),
    ],
    // The same number in another chain is another call.
    [intent("call-1")],
  );
  using _index = index;
  {
    await using log = await openAuditLog({ directory, gateway: "gw-3" });
    await log.append({ ...intent("call-3"), tool: "startProcess" });
    await log.append(outcome("call-3", {}));
    await log.append(event({ processId: "proc-1", callId: "call-3", exitCode: 137 }));
  }
  await catchUp(index, directory);
  const who = { principal: "local:ada", client: "test", decision: "permit" };
  const found = async (filter: Filter) => {
    const read = await Promise.all(ask(index, { ...who, ...filter }).hits.map((it) => readBack(directory, it)));
    return read.map((it) => ("record" in it ? [it.record.gateway, it.record.body.callId] : it));
  };
  expect(await found({ host: "evil.example", tool: "exec" })).toEqual([["gw-1", "call-1"]]);
  expect(await found({ host: "*.example" })).toEqual([["gw-1", "call-1"]]);
  expect(await found({ package: "npm:left-pad", status: "ok" })).toEqual([["gw-1", "call-1"]]);
  expect(await found({ exitCode: 137, tool: "startProcess" })).toEqual([["gw-3", "call-3"]]);
  expect(await found({ host: "evil.example", tool: "shell" })).toEqual([]);
  // Records are found by what they say themselves.
  expect(ask(index, { host: "evil.example" }, { view: "records" }).hits.map((it) => it.kind)).toEqual(["event"]);
  const stats = statsOf(index, { by: "host", limit: 10 });
  expect(stats.groups).toEqual([expect.objectContaining({ key: "evil.example", calls: 1 })]);
});

test("events of ever other hosts make no index grow without bounds for the calls that they name", async () => {
  const hosts = Array.from({ length: 1_200 }, (_, n) => `h${n}.d${n}.example.org`);
  const calls = ["call-1", "call-2"];
  const { index } = await indexed(scratch(), [
    ...calls.map((it) => intent(it)),
    ...hosts.map((host) => event({ host, calls }, "connection-opened")),
  ]);
  using _index = index;
  const each = index.database.prepare("SELECT count(*) AS terms FROM ended GROUP BY id").all();
  expect(each.map((it) => Number(it["terms"]))).toEqual([2_048, 2_048]);
  const found = (host = "") => ask(index, { host }).hits.map((it) => it.kind);
  expect(found(hosts[0])).toEqual(["event", "intent", "intent"]);
  expect(found(hosts.at(-1))).toEqual(["event"]);
});

test.each([
  '"',
  '""',
  "a\u0000",
  '" OR body:x',
  "NEAR(a b)",
  "a AND b*",
  "{a b}:c",
  "^a",
  "a + b",
  "-a",
  "%a_",
  "😀a",
  "\u001b[2Ja",
])("text %j is words to look for and nothing else", async (hostile) => {
  const root = scratch();
  const { index } = await indexed(root, [
    intent("call-1", { argv: ["plain"] }),
    intent("call-2", { argv: [hostile.slice(0, 9_000)] }),
  ]);
  using _index = index;
  if (!/[\p{L}\p{N}]/u.test(hostile)) {
    expect(() => ask(index, { text: [hostile] })).toThrow(/no word to look for/);
    return;
  }
  const { hits } = ask(index, { text: [hostile.slice(0, 9_000)] });
  expect(hits).toHaveLength(1);
  expect(
    ask(index, { tool: hostile, principal: hostile, session: hostile, policy: hostile, package: hostile }).hits,
  ).toEqual([]);
});

test("the records that have the beginning of a word are gathered once, and not for each record that is looked at", async () => {
  const { index } = await indexed(scratch(), [
    intent("call-1", { argv: ["word1"] }),
    intent("call-2", { argv: ["other"] }),
  ]);
  using _index = index;
  for (const view of VIEWS) {
    const prepared = vi.spyOn(index.database, "prepare");
    onTestFinished(() => prepared.mockRestore());
    expect(ask(index, { tool: "exec", text: ["wor*"] }, { view }).hits.map((it) => it.seq)).toEqual([0]);
    const [sql = ""] = prepared.mock.calls.map(([it]) => it).filter((it) => it.includes("MATCH"));
    prepared.mockRestore();
    const plan = index.database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all();
    expect(plan.map((it) => it["detail"])).toContainEqual(expect.stringMatching(/^LIST SUBQUERY/));
    expect(JSON.stringify(plan.map((it) => it["detail"]))).not.toContain("CORRELATED");
  }
});

test("a host is given in any spelling, and what is none is refused", async () => {
  const root = scratch();
  const opened = (host: string) => event({ host, port: 443 }, "connection-opened");
  const { index } = await indexed(root, [
    opened("xn--bcher-kva.example"),
    opened("2001:db8::1"),
    opened("api.example.org"),
    opened("notexample.org"),
  ]);
  using _index = index;
  const found = (host: string) => ask(index, { host }).hits.map((it) => it.seq);
  expect([found("Bücher.example"), found("[2001:DB8:0::1]"), found("*.example.org"), found("example.org")]).toEqual([
    [0],
    [1],
    [2],
    [],
  ]);
  expect(() => found("*.")).toThrow(/is no host/);
  expect(() => found("%")).toThrow(/is no host/);
});

test("a line that is gone or is another one is said to be, and not shown", async () => {
  const root = scratch();
  const { index, directory } = await indexed(root, [intent("call-1")]);
  using _index = index;
  const [hit] = ask(index, {}).hits;
  if (!hit) throw new Error("found nothing");
  expect(await readBack(directory, { ...hit, hash: "0".repeat(64) })).toEqual({ problem: "differs" });
  expect(await readBack(directory, { ...hit, offset: 10_000 })).toEqual({ problem: "gone" });
  expect(await readBack(directory, { ...hit, segment: 9 })).toEqual({ problem: "gone" });
  expect(await readBack(directory, { ...hit, length: 2 ** 40 })).toEqual({ problem: "gone" });
});
