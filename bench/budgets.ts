import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openBudgets } from "../src/budget/store.ts";
import { COUNTERS } from "../src/budget/windows.ts";
import type { Decision } from "../src/policy/decision.ts";
import { type Row, row } from "./row.ts";

const LOOKS = 2_000;
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MINUTES = 1_440;
const SPENDER = { principalId: "local:bench", sessionId: "ses-bench" };
const PERMIT: Decision = {
  outcome: "permit",
  policies: [],
  problems: [],
  bundle: { name: "bench", version: "1.0.0", digest: "sha256:0" },
};

/** What a look at the budgets costs, with every slot of every window in use, beside reading one row by its key. */
export function benchBudgets(): Row[] {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-budgets-"));
  try {
    const file = join(directory, "budgets.sqlite");
    let nowMs = Date.now();
    const log = { warn: console.error, error: console.error } as never;
    const open = () => openBudgets({ file, nowMs: () => nowMs, log });
    {
      using budgets = open();
      for (let minutes = 0; minutes < DAY_MINUTES; minutes += 1) {
        nowMs += MINUTE_MS;
        for (const counter of COUNTERS) budgets.add(SPENDER, counter, 1);
      }
      for (let seconds = 0; seconds < 60; seconds += 1) {
        nowMs += SECOND_MS;
        budgets.add(SPENDER, "calls", 1);
      }
    }
    const database = new DatabaseSync(file);
    const one = database.prepare("SELECT amount FROM slots WHERE scope = (SELECT min(scope) FROM slots)");
    const baseline = timesOf(() => one.get());
    database.close();
    using budgets = open();
    const looked = timesOf(() => budgets.usage(SPENDER));
    const reserved = timesOf(() => budgets.reserve(SPENDER, () => PERMIT));
    const name = "one row of the same file";
    return [
      row("what was used, with all windows full", looked, "ms", name, baseline),
      row("the same and a call counted, alone in the file", reserved, "ms", name, baseline),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Milliseconds each, the first ones left out. */
function timesOf(run: () => unknown): number[] {
  const times = Array.from({ length: LOOKS }, () => {
    const startedMs = performance.now();
    run();
    return performance.now() - startedMs;
  });
  return times.slice(LOOKS / 10);
}
