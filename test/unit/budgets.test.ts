import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import type { Budgets } from "../../src/budget/budgets.ts";
import { COUNTERS, type Counter, MEASURES } from "../../src/budget/windows.ts";
import { NO_USAGE, USAGE_FACTS, type UsageFact } from "../../src/policy/usage.ts";
import { scratch } from "../support/audit.ts";
import { NO_DECISION, openTestBudgets, SPENDER } from "../support/budgets.ts";

const SPENDER_PROGRAM = join(import.meta.dirname, "..", "support", "budget-spender.ts");
const T0 = Date.UTC(2026, 10, 21, 14, 0);
const WINDOW_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };
const UNREADABLE = expect.objectContaining({ code: "BUDGETS_UNREADABLE" });

afterEach(() => {
  vi.useRealTimers();
});

function gateway(file: string, mode: string, count = 0) {
  const child = spawn(process.execPath, [SPENDER_PROGRAM, file, mode, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

function budgetsFile(): string {
  return join(scratch(), "budgets.sqlite");
}

interface Event {
  readonly atMs: number;
  readonly principalId: string;
  readonly sessionId: string;
  readonly counter: Counter;
  readonly amount: number;
}

/** What was used after a moment, by the list of all that happened. */
function usedAfter(events: readonly Event[], fact: UsageFact, sinceMs: number, session?: string): number {
  const { counter, unit } = MEASURES[fact];
  const counted = events.filter(
    (it) => it.counter === counter && it.atMs > sinceMs && (session === undefined || it.sessionId === session),
  );
  return Math.ceil(counted.reduce((sum, it) => sum + it.amount, 0) / unit);
}

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      who: fc.constantFrom("local:ada", "local:bob"),
      session: fc.constantFrom("ses-1", "ses-2"),
      counter: fc.constantFrom(...COUNTERS),
      amount: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 2 ** 40 })),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.oneof(
        fc.integer({ min: 0, max: 3_000 }),
        fc.integer({ min: 0, max: 180_000 }),
        fc.integer({ min: 0, max: 90_000_000 }),
        fc.constantFrom(...Object.values(WINDOW_MS), 1_000, 59_000),
        // Somebody sets the clock back.
        fc.integer({ min: -200_000_000, max: -1 }),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
);

test("every window shows all that was used in it, and nothing that is a sixtieth older than it is long", () => {
  const property = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const file = budgetsFile();
    let nowMs = T0;
    // What is seen is never earlier than what was, nor after a restart than what was written: at each start, and with what is added.
    let seenMs = T0;
    let writtenMs = T0;
    let budgets = openTestBudgets(file, () => nowMs);
    const events: Event[] = [];
    for (const it of steps) {
      if (it.kind === "wait") nowMs += it.ms;
      seenMs = Math.max(seenMs, nowMs);
      if (it.kind === "restart") {
        budgets[Symbol.dispose]();
        budgets = openTestBudgets(file, () => nowMs);
        seenMs = Math.max(writtenMs, nowMs);
        writtenMs = seenMs;
      }
      if (it.kind === "add") {
        const { who: principalId, session: sessionId, counter, amount } = it;
        budgets.add({ principalId, sessionId }, counter, amount);
        events.push({ atMs: seenMs, principalId, sessionId, counter, amount });
        writtenMs = seenMs;
      }
      for (const principalId of ["local:ada", "local:bob"]) {
        const own = events.filter((event) => event.principalId === principalId);
        const usage = budgets.usage({ principalId, sessionId: "ses-1" });
        for (const fact of USAGE_FACTS) {
          const windowMs = WINDOW_MS[MEASURES[fact].window];
          for (const [value, session] of [[usage.principal[fact]], [usage.session[fact], "ses-1"]] as const) {
            expect(value).toBeGreaterThanOrEqual(usedAfter(own, fact, seenMs - windowMs, session));
            expect(value).toBeLessThanOrEqual(usedAfter(own, fact, seenMs - windowMs - windowMs / 60, session));
          }
        }
      }
    }
    budgets[Symbol.dispose]();
  });
  fc.assert(property, { numRuns: 40 });
});

test("what was used is less than the limit at the moment that is told, and not a millisecond before", () => {
  const events = fc.array(
    fc.tuple(
      fc.constantFrom(...COUNTERS),
      fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 10_000 })),
      fc.integer({ min: 0, max: 4_000_000 }),
    ),
    { minLength: 1, maxLength: 12 },
  );
  const property = fc.property(
    events,
    fc.constantFrom(...USAGE_FACTS),
    fc.option(fc.integer({ min: 1, max: 20_000 }), { nil: undefined }),
    (all, fact, limit) => {
      const file = budgetsFile();
      let nowMs = T0;
      using budgets = openTestBudgets(file, () => nowMs);
      for (const [counter, amount, waitMs] of all) {
        nowMs += waitMs;
        budgets.add(SPENDER, counter, amount);
      }
      const valueAt = (atMs: number) => {
        nowMs = atMs;
        return budgets.usage(SPENDER).principal[fact];
      };
      const before = valueAt(nowMs);
      const below = Math.min(limit ?? before, before);
      const atMs = budgets.freesAt([`principal.${fact}`], SPENDER, limit);
      if (atMs === undefined) {
        expect(before).toBe(0);
        return;
      }
      expect(atMs).toBeGreaterThan(nowMs);
      expect(valueAt(atMs - 1)).toBeGreaterThanOrEqual(below);
      expect(valueAt(atMs)).toBeLessThan(below);
    },
  );
  fc.assert(property, { numRuns: 40 });
});

test("of several counters the first that falls is told; sessions that are open are none", () => {
  let nowMs = T0;
  using budgets = openTestBudgets(budgetsFile(), () => nowMs);
  budgets.add(SPENDER, "packages", 1);
  nowMs += 5_000;
  budgets.add(SPENDER, "calls", 1);
  expect(budgets.freesAt(["principal.packagesLastHour", "session.callsLastMinute"], SPENDER)).toBe(T0 + 66_000);
  expect(budgets.freesAt(["openSessions", "sessionIsOpen", "principal.egressBytesLastDay"], SPENDER)).toBeUndefined();
});

test("a call is counted when it is decided, and only if that permits", () => {
  using budgets = openTestBudgets(budgetsFile());
  const seen: number[] = [];
  const outcomes = ["permit", "deny", "ask", "permit"] as const;
  for (const outcome of outcomes) {
    budgets.reserve(SPENDER, ({ session }) => {
      seen.push(session.callsLastMinute);
      return { ...NO_DECISION, outcome };
    });
  }
  expect(seen).toEqual([0, 1, 1, 1]);
  expect(budgets.usage(SPENDER).principal.callsLastDay).toBe(2);
});

test("what fails while it decides counts nothing, and leaves the budgets usable", () => {
  using budgets = openTestBudgets(budgetsFile());
  const failing = () => {
    throw new RangeError("no decision");
  };
  expect(() => budgets.reserve(SPENDER, failing)).toThrow(RangeError);
  budgets.add(SPENDER, "calls", 1);
  expect(budgets.usage(SPENDER).principal.callsLastHour).toBe(1);
});

test("gateways that use the same budgets at once lose nothing, and together use no more than there is [G31]", async () => {
  const file = budgetsFile();
  const adding = [gateway(file, "add", 300), gateway(file, "add", 300), gateway(file, "add", 300)];
  expect(await Promise.all(adding.map((it) => text(it.stdout)))).toEqual(["done\n", "done\n", "done\n"]);
  using budgets = openTestBudgets(file);
  expect(budgets.usage(SPENDER).principal.callsLastDay).toBe(900);
  const reserving = [gateway(file, "reserve", 1_200), gateway(file, "reserve", 1_200)];
  const permitted = await Promise.all(reserving.map((it) => text(it.stdout)));
  expect(permitted.reduce((sum, it) => sum + Number(it), 0)).toBe(300);
});

test("a gateway that is killed while it writes has lost nothing that it was told is written [G31]", async () => {
  const file = budgetsFile();
  const child = gateway(file, "for-ever");
  let said = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    said = Number(line);
    if (said === 40) child.kill("SIGKILL");
  }
  expect(said).toBeGreaterThanOrEqual(40);
  using budgets = openTestBudgets(file);
  const { callsLastDay } = budgets.usage(SPENDER).principal;
  expect([said, said + 1]).toContain(callsLastDay);
});

test("a session is open until it is closed, or its gateway is dead, however that came", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const file = budgetsFile();
  using budgets = openTestBudgets(file);
  const child = gateway(file, "session");
  await once(child.stdout, "data");
  const openNow = () => budgets.usage(SPENDER).openSessions;
  expect(openNow()).toBe(1);
  const own = budgets.openSession(SPENDER);
  const again = budgets.openSession(SPENDER);
  expect(budgets.usage(SPENDER)).toMatchObject({ openSessions: 2, sessionIsOpen: true });
  expect(budgets.usage({ ...SPENDER, sessionId: "ses-2" }).sessionIsOpen).toBe(false);
  expect(budgets.usage({ ...SPENDER, principalId: "local:bob" }).openSessions).toBe(0);
  own[Symbol.dispose]();
  own[Symbol.dispose]();
  expect(openNow()).toBe(2);
  again[Symbol.dispose]();
  expect(openNow()).toBe(1);
  child.kill("SIGKILL");
  await once(child, "close");
  vi.advanceTimersByTime(1_001);
  expect(openNow()).toBe(0);
  expect(readdirSync(`${file}-gateways`)).toHaveLength(1);
});

test("no more sessions are opened than the number given, those of other gateways counted [G31]", () => {
  const file = budgetsFile();
  using one = openTestBudgets(file);
  using other = openTestBudgets(file);
  const of = (sessionId: string) => ({ ...SPENDER, sessionId });
  const first = one.openSession(of("a"), 2);
  other.openSession(of("b"), 2);
  expect(() => other.openSession(of("c"), 2)).toThrow(expect.objectContaining({ code: "SESSION_LIMIT" }));
  // One that is open may be registered again: its sandbox is replaced.
  one.openSession(of("b"), 2);
  first[Symbol.dispose]();
  expect(() => other.openSession(of("c"), 2)).not.toThrow();
});

test("a session that could not be taken off the list is taken off later", () => {
  const file = budgetsFile();
  using budgets = openTestBudgets(file);
  const session = budgets.openSession(SPENDER);
  const blocker = new DatabaseSync(file);
  blocker.exec("BEGIN IMMEDIATE");
  session[Symbol.dispose]();
  blocker.exec("ROLLBACK");
  blocker.close();
  expect(budgets.usage(SPENDER).openSessions).toBe(0);
});

test("a run counts while it runs: for its own gateway at once, for others every ten seconds", () => {
  vi.useFakeTimers({ now: T0 });
  const file = budgetsFile();
  using own = openTestBudgets(file);
  using other = openTestBudgets(file);
  const runs = [own.startRun(SPENDER), own.startRun({ ...SPENDER, sessionId: "ses-2" })];
  const seconds = (budgets: Budgets) => {
    const { principal, session } = budgets.usage(SPENDER);
    return [principal.runSecondsLastHour, session.runSecondsLastHour];
  };
  vi.advanceTimersByTime(9_500);
  expect(seconds(other)).toEqual([0, 0]);
  vi.advanceTimersByTime(1_000);
  expect(seconds(other)).toEqual([20, 10]);
  expect(seconds(own)).toEqual([21, 11]);
  for (const it of runs) it[Symbol.dispose]();
  expect(seconds(other)).toEqual([21, 11]);
  vi.advanceTimersByTime(60_000);
  expect(seconds(own)).toEqual([21, 11]);
});

test("bytes count as they flow: for their own gateway at once, for others a moment later", () => {
  vi.useFakeTimers({ now: T0 });
  const file = budgetsFile();
  using own = openTestBudgets(file);
  using other = openTestBudgets(file);
  const meter = own.meter(SPENDER);
  const bytes = (budgets: Budgets) => budgets.usage(SPENDER).session.egressBytesLastHour;
  meter.add(1_000);
  meter.add(24);
  expect(bytes(other)).toBe(0);
  vi.advanceTimersByTime(250);
  expect(bytes(other)).toBe(1_024);
  meter.add(1);
  expect(bytes(own)).toBe(1_025);
  meter.add(1);
  meter.flush();
  expect(bytes(other)).toBe(1_026);
});

test("while somebody holds the file whoever asks is refused, and what flows is kept until it can be written", () => {
  const file = budgetsFile();
  const logged: unknown[] = [];
  using budgets = openTestBudgets(file, Date.now, logged);
  const meter = budgets.meter(SPENDER);
  const blocker = new DatabaseSync(file);
  blocker.exec("BEGIN IMMEDIATE");
  meter.add(7);
  meter.flush();
  expect(logged).toEqual([{ err: UNREADABLE }]);
  expect(() => budgets.usage(SPENDER)).toThrow(UNREADABLE);
  expect(() => budgets.reserve(SPENDER, () => ({ ...NO_DECISION, outcome: "permit" }))).toThrow(UNREADABLE);
  blocker.exec("ROLLBACK");
  blocker.close();
  expect(budgets.usage(SPENDER).principal).toEqual({
    ...NO_USAGE.principal,
    egressBytesLastHour: 7,
    egressBytesLastDay: 7,
  });
});

test("a clock that was set back frees nothing, not by a restart either, and is told of", () => {
  const file = budgetsFile();
  let nowMs = T0;
  {
    using budgets = openTestBudgets(file, () => nowMs);
    budgets.add(SPENDER, "calls", 5);
    nowMs -= 10 * WINDOW_MS.day;
    expect(budgets.usage(SPENDER).principal.callsLastMinute).toBe(5);
    budgets.add(SPENDER, "calls", 1);
  }
  const logged: unknown[] = [];
  using budgets = openTestBudgets(file, () => nowMs, logged);
  expect(logged).toEqual([{ file, behindMs: 10 * WINDOW_MS.day }]);
  nowMs = T0 + 59_999;
  expect(budgets.usage(SPENDER).principal.callsLastMinute).toBe(6);
  nowMs = T0 + 61_000;
  expect(budgets.usage(SPENDER).principal).toMatchObject({ callsLastMinute: 0, callsLastHour: 6 });
});

test("what is in no window any more is removed", () => {
  const file = budgetsFile();
  let nowMs = T0;
  for (let days = 0; days < 3; days += 1) {
    using budgets = openTestBudgets(file, () => nowMs);
    for (const counter of COUNTERS) budgets.add(SPENDER, counter, 1);
    nowMs += 2 * WINDOW_MS.day;
  }
  openTestBudgets(file, () => nowMs)[Symbol.dispose]();
  const database = new DatabaseSync(file);
  expect(database.prepare("SELECT count(*) AS rows FROM slots").get()).toEqual({ rows: 0 });
  database.close();
});

test("a clock that was ahead stays ahead for the budgets, although nothing was used meanwhile", () => {
  const file = budgetsFile();
  openTestBudgets(file, () => T0 + 2 * WINDOW_MS.day)[Symbol.dispose]();
  using budgets = openTestBudgets(file, () => T0);
  expect(budgets.nowMs()).toBe(T0 + 2 * WINDOW_MS.day);
});

test("nobody else reads the files", () => {
  const file = budgetsFile();
  using budgets = openTestBudgets(file);
  budgets.add(SPENDER, "calls", 1);
  const names = readdirSync(join(file, "..")).sort();
  expect(names).toEqual(["-gateways", "-shm", "-wal", ""].map((it) => `budgets.sqlite${it}`).sort());
  for (const name of names) expect(statSync(join(file, "..", name)).mode & 0o077).toBe(0);
});

test("what an agent calls a session takes no more room than any other name", () => {
  const file = budgetsFile();
  using budgets = openTestBudgets(file);
  budgets.add({ ...SPENDER, sessionId: "x".repeat(1_000_000) }, "calls", 1);
  budgets.meter(SPENDER).flush();
  expect(statSync(file).size + statSync(`${file}-wal`).size).toBeLessThan(200_000);
});

function change(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

const DAMAGE: Readonly<Record<string, (file: string) => void>> = {
  "was cut to nothing": (file) => truncateSync(file, 0),
  "is no database": (file) => writeFileSync(file, "not a database, but long enough to be one".repeat(100)),
  "is damaged inside": (file) => {
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.fill(0xff, 4096, bytes.length));
  },
  "is another database": (file) => change(file, "PRAGMA application_id = 1"),
  "is of another version": (file) => change(file, "PRAGMA user_version = 2"),
  "can be written by others": (file) => chmodSync(file, 0o622),
};

test.for(Object.entries(DAMAGE))("a file that %s is refused, and stays as it is [G31]", ([, damage]) => {
  const file = budgetsFile();
  {
    using budgets = openTestBudgets(file);
    budgets.add(SPENDER, "calls", 1);
  }
  damage(file);
  const before = readFileSync(file);
  expect(() => openTestBudgets(file)).toThrow(UNREADABLE);
  expect(readFileSync(file).equals(before)).toBe(true);
});

test("numbers that can't be are not taken for little", () => {
  const file = budgetsFile();
  using budgets = openTestBudgets(file);
  budgets.add(SPENDER, "calls", 1);
  const other = new DatabaseSync(file);
  other.exec("PRAGMA ignore_check_constraints = 1; UPDATE slots SET amount = -1000");
  expect(() => budgets.usage(SPENDER)).toThrow(UNREADABLE);
  other.exec("UPDATE slots SET amount = 1; INSERT INTO sessions SELECT 1, '../x', scope, scope FROM slots LIMIT 1");
  expect(() => {
    budgets.usage(SPENDER);
    budgets.usage({ ...SPENDER, sessionId: "ses-2" });
  }).toThrow(UNREADABLE);
  other.exec("DELETE FROM clock");
  other.close();
  expect(() => budgets.usage(SPENDER)).toThrow(UNREADABLE);
  expect(() => budgets.add(SPENDER, "calls", 1)).toThrow(UNREADABLE);
});

test.for([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])("%d is no amount", (amount) => {
  using budgets = openTestBudgets(budgetsFile());
  expect(() => budgets.add(SPENDER, "calls", amount)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
});

test("a link, a folder, and a folder that is not there are refused", () => {
  const directory = scratch();
  const [link, folder, missing] = ["link", "folder", "missing/budgets.sqlite"].map((it) => join(directory, it));
  appendFileSync(join(directory, "target"), "");
  symlinkSync(join(directory, "target"), String(link));
  mkdirSync(String(folder));
  for (const it of [link, folder, missing]) {
    expect(() => openTestBudgets(String(it))).toThrow(UNREADABLE);
    // A client is told.
    expect(() => openTestBudgets(String(it))).not.toThrow(directory);
  }
});

/** Root may write whatever it likes. */
function asSomebodyElse(work: () => void): void {
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

test("a file that this user may not write is refused", () => {
  const file = budgetsFile();
  openTestBudgets(file)[Symbol.dispose]();
  chmodSync(file, 0o444);
  chmodSync(`${file}-gateways`, 0o777);
  chmodSync(join(file, ".."), 0o777);
  asSomebodyElse(() => expect(() => openTestBudgets(file)).toThrow(UNREADABLE));
});
