import type { Logger } from "../log.ts";
import type { Decision } from "../policy/decision.ts";
import type { Budgets } from "./budgets.ts";
import { openBudgetsFile, orUnreadable } from "./file.ts";
import { Pending } from "./pending.ts";
import { openPresence } from "./presence.ts";
import { createRows, type Rows } from "./rows.ts";

/** Bytes that flow are written together so often. */
const COALESCE_MS = 250;
/** The time of what runs is written so often; a gateway that is killed loses no more of it. */
const BEAT_MS = 10_000;
/** So many beats apart, what is in no window any more is removed. */
const BEATS_A_PRUNE = 60;
/** From then on a clock that was set back is worth a warning. */
const SET_BACK_MS = 60_000;

export interface BudgetsOptions {
  /** In a directory that is there; files beside it begin with its name. */
  readonly file: string;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly log: Pick<Logger, "warn" | "error">;
}

/**
 * Opens the budgets in `file`, or makes it; other gateways may have it open too.
 * @throws GatewayError BUDGETS_UNREADABLE
 */
export function openBudgets({ file, nowMs, log }: BudgetsOptions): Budgets {
  using stack = new DisposableStack();
  const database = stack.adopt(openBudgetsFile(file), (it) => it.close());
  const presence = stack.use(orUnreadable(() => openPresence(`${file}-gateways`)));
  const rows = createRows(database, presence, nowMs);
  const behindMs = rows.now() - nowMs();
  if (behindMs > SET_BACK_MS)
    log.warn({ file, behindMs }, "the clock is behind the budgets: nothing is freed until it has caught up");
  rows.prune();
  const budgets = stack.use(createBudgets(rows, log));
  const owned = stack.move();
  return { ...budgets, [Symbol.dispose]: () => owned.dispose() };
}

function createBudgets(rows: Rows, log: BudgetsOptions["log"]): Budgets {
  const pending = new Pending();
  /** Rows of sessions that are closed. */
  const ended = new Set<number | bigint>();
  let isFailing = false;

  const flush = () => {
    pending.settle(rows.add);
    for (const id of ended) {
      rows.close(id);
      ended.delete(id);
    }
    isFailing = false;
  };
  /** For what has no caller to refuse: what can't be written is kept, and whoever asks next is refused. */
  const quietly = (work: () => void) => {
    try {
      work();
    } catch (error) {
      if (!isFailing) log.error({ err: error }, "what was used can't be written; it is kept for later");
      isFailing = true;
    }
  };

  let beats = 0;
  const beat = setInterval(() => {
    beats += 1;
    quietly(flush);
    if (beats % BEATS_A_PRUNE === 0) quietly(rows.prune);
  }, BEAT_MS).unref();
  let soon: NodeJS.Timeout | undefined;
  const flushSoon = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      quietly(flush);
    }, COALESCE_MS).unref();
  };

  return {
    usage: (of) => {
      // Else what can't be written would go unnoticed by whoever only looks.
      if (isFailing) flush();
      return rows.usage(of, pending.sums(of));
    },
    reserve: (of, decide, runs = isPermitted) => {
      flush();
      return rows.reserve(of, (usage) => {
        const result = decide(usage);
        return { result, used: runs(result) ? [{ ...of, counter: "calls", amount: 1 }] : [] };
      });
    },
    add: (of, counter, amount) => rows.add([{ ...of, counter, amount }]),
    openSession: (of, atMost) => {
      flush();
      const id = rows.open(of, atMost);
      return once(() => {
        ended.add(id);
        quietly(flush);
      });
    },
    startRun: (of) => {
      const run = pending.startRun(of);
      return once(() => {
        run[Symbol.dispose]();
        quietly(flush);
      });
    },
    meter: (of) => ({
      add: (bytes) => {
        pending.add(of, "egressBytes", bytes);
        flushSoon();
      },
      flush: () => quietly(flush),
    }),
    freesAt: (names, of, limit) => {
      flush();
      const moments = names.map((it) => rows.freesAt(it, of, limit)).filter((it) => it !== undefined);
      return moments.length === 0 ? undefined : Math.min(...moments);
    },
    nowMs: rows.now,
    [Symbol.dispose]: () => {
      clearInterval(beat);
      clearTimeout(soon);
      quietly(flush);
    },
  };
}

function isPermitted({ outcome }: Decision): boolean {
  return outcome === "permit";
}

function once(work: () => void): Disposable {
  let isDone = false;
  return {
    [Symbol.dispose]: () => {
      if (isDone) return;
      isDone = true;
      work();
    },
  };
}
