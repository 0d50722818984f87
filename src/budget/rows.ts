import { createHash } from "node:crypto";
import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { GatewayError } from "../errors.ts";
import { USAGE_FACTS, type Usage, type UsageFacts } from "../policy/usage.ts";
import type { Spender } from "./budgets.ts";
import { orUnreadable, transaction } from "./file.ts";
import type { Amount, Pending } from "./pending.ts";
import type { Presence } from "./presence.ts";
import { COUNTERS, factOf, leavesAt, MEASURES, oldestSlot, slotAt, usageOf, WINDOWS, windowsOf } from "./windows.ts";

/** One question, and for each sum a place in the index: grouping takes thrice as long. */
const SELECT_SUMS = `SELECT ${["principal", "session"].flatMap(sumsOf).join(",\n")}`;
const SELECT_SLOTS = `SELECT slot_ms AS slotMs, amount FROM slots
  WHERE scope = ? AND counter = ? AND window = ? AND slot_ms >= ? ORDER BY slot_ms`;
const ADD = `INSERT INTO slots VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (scope, counter, window, slot_ms) DO UPDATE SET amount = amount + excluded.amount`;
const ADVANCE = "UPDATE clock SET ms = max(ms, ?)";

/** ?1 and ?2 are the scopes, ?3 to ?5 the oldest slots of the windows. */
function sumsOf(whose: string, index: number): string[] {
  return COUNTERS.flatMap((counter) =>
    windowsOf(counter).map(
      (window) => `(SELECT coalesce(sum(amount), 0) FROM slots WHERE scope = ?${index + 1} AND counter = '${counter}'
        AND window = '${window}' AND slot_ms >= ?${3 + WINDOWS.indexOf(window)}) AS "${whose} ${counter} ${window}"`,
    ),
  );
}

type Unwritten = ReturnType<Pending["sums"]>;

/** The tables of budgets, as questions and changes. Every method throws GatewayError BUDGETS_UNREADABLE. */
export type Rows = ReturnType<typeof createRows>;

/** @throws GatewayError BUDGETS_UNREADABLE */
export function createRows(database: DatabaseSync, presence: Presence, nowMs: () => number) {
  const prepare = (sql: string) => orUnreadable(() => database.prepare(sql));
  const selectClock = prepare("SELECT ms FROM clock");
  const advance = prepare(ADVANCE);
  const selectSums = prepare(SELECT_SUMS);
  const selectSlots = prepare(SELECT_SLOTS);
  const add = prepare(ADD);
  const selectSessions = prepare("SELECT gateway, session FROM sessions WHERE principal = ?");
  const insertSession = prepare("INSERT INTO sessions (gateway, principal, session) VALUES (?, ?, ?)");
  const deleteSession = prepare("DELETE FROM sessions WHERE id = ?");
  const selectGateways = prepare("SELECT DISTINCT gateway FROM sessions");
  const deleteGateway = prepare("DELETE FROM sessions WHERE gateway = ?");
  const deleteSlots = prepare("DELETE FROM slots WHERE window = ? AND slot_ms < ?");
  let latestMs = 0;

  /** Never earlier than what it was before, for anybody. */
  const now = () => {
    latestMs = Math.max(latestMs, Math.floor(nowMs()), wholeOf(selectClock.get()?.["ms"]));
    return latestMs;
  };

  const openOf = (principalId: string): ReadonlySet<string> => {
    const rows = selectSessions.all(scopeOf(principalId));
    return new Set(rows.filter((it) => presence.isLive(String(it["gateway"]))).map(({ session }) => String(session)));
  };

  const usage = ({ principalId, sessionId }: Spender, unwritten: Unwritten = () => 0): UsageFacts => {
    const atMs = now();
    const [principal, session] = [scopeOf(principalId), scopeOf(principalId, sessionId)];
    const oldest = WINDOWS.map((it) => oldestSlot(it, atMs));
    const sums = selectSums.get(principal, session, ...oldest) ?? {};
    const of = (whose: "principal" | "session"): Usage =>
      usageOf(({ counter, window }) => wholeOf(sums[`${whose} ${counter} ${window}`]) + unwritten(whose, counter));
    const open = openOf(principalId);
    return {
      principal: of("principal"),
      session: of("session"),
      openSessions: open.size,
      sessionIsOpen: open.has(session),
    };
  };

  /** Within a transaction. */
  const addAll = (amounts: readonly Amount[]) => {
    const atMs = now();
    advance.run(atMs);
    for (const { principalId, sessionId, counter, amount } of amounts) {
      if (!Number.isSafeInteger(amount) || amount < 0)
        throw new GatewayError("INTERNAL", "an amount is not a whole number");
      if (amount === 0) continue;
      for (const scope of [scopeOf(principalId), scopeOf(principalId, sessionId)]) {
        for (const window of windowsOf(counter)) add.run(scope, counter, window, slotAt(window, atMs), amount);
      }
    }
  };

  const open = ({ principalId, sessionId }: Spender, atMost: number | undefined) => {
    const others = openOf(principalId);
    const session = scopeOf(principalId, sessionId);
    if (atMost !== undefined && others.size >= atMost && !others.has(session))
      throw new GatewayError("SESSION_LIMIT", `${others.size} sessions are open, as many as the budget permits`);
    return insertSession.run(presence.gateway, scopeOf(principalId), session).lastInsertRowid;
  };

  const freesAt = (name: string, { principalId, sessionId }: Spender, limit: number | undefined) => {
    const [whose, named] = name.split(".");
    const fact = USAGE_FACTS.find((it) => it === named);
    // The number of open sessions falls when somebody closes one.
    if (fact === undefined) return undefined;
    const { counter, window } = MEASURES[fact];
    const scope = whose === "session" ? scopeOf(principalId, sessionId) : scopeOf(principalId);
    const slots = selectSlots
      .all(scope, counter, window, oldestSlot(window, now()))
      .map(({ slotMs, amount }) => ({ slotMs: wholeOf(slotMs), amount: wholeOf(amount) }));
    let left = slots.reduce((sum, it) => sum + it.amount, 0);
    const below = Math.min(limit ?? Number.POSITIVE_INFINITY, factOf(fact, left));
    for (const { slotMs, amount } of slots) {
      left -= amount;
      if (factOf(fact, left) < below) return leavesAt(window, slotMs);
    }
    return undefined;
  };

  /** What is in no window any more, and sessions of dead gateways. */
  const prune = () => {
    const atMs = now();
    // Else a clock that was ahead and is set back would have freed what it removed.
    advance.run(atMs);
    for (const window of WINDOWS) deleteSlots.run(window, oldestSlot(window, atMs));
    const gateways = selectGateways.all().map((it) => String(it["gateway"]));
    for (const it of gateways) if (!presence.isLive(it)) deleteGateway.run(it);
  };

  return {
    now: () => orUnreadable(now),
    usage: (of: Spender, unwritten: Unwritten) => orUnreadable(() => usage(of, unwritten)),
    /** `work` with what was used; what it answers besides is added before anybody else looks. */
    reserve: <T>(
      of: Spender,
      work: (usage: UsageFacts) => { readonly result: T; readonly used: readonly Amount[] },
    ): T =>
      transaction(database, () => {
        const { result, used } = work(orUnreadable(() => usage(of)));
        if (used.length > 0) orUnreadable(() => addAll(used));
        return result;
      }),
    add: (amounts: readonly Amount[]) => transaction(database, () => orUnreadable(() => addAll(amounts))),
    /** @throws GatewayError SESSION_LIMIT */
    open: (of: Spender, atMost?: number) => transaction(database, () => orUnreadable(() => open(of, atMost))),
    close: (id: number | bigint) => void orUnreadable(() => deleteSession.run(id)),
    freesAt: (name: string, of: Spender, limit?: number) => orUnreadable(() => freesAt(name, of, limit)),
    prune: () => transaction(database, () => orUnreadable(prune)),
  };
}

/** Of one length whatever an agent names: a session's id may come from it. 128 bits of SHA-256. */
function scopeOf(principalId: string, sessionId?: string): string {
  const named = JSON.stringify(sessionId === undefined ? [principalId] : [principalId, sessionId]);
  return createHash("sha256").update(named).digest("base64url").slice(0, 22);
}

/** A number of the file: what is none, or negative, must not pass for little. */
function wholeOf(value: SQLOutputValue | undefined): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new GatewayError("BUDGETS_UNREADABLE", "the file of the budgets has a number in it that can't be");
}
