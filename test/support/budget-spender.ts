import { writeSync } from "node:fs";
import { NO_DECISION, openTestBudgets, SPENDER } from "./budgets.ts";

/** Another gateway that uses the same budgets: `node budget-spender.ts <file> add|reserve|for-ever|session <number>`. */
const [, , file = "", mode = "", number = "0"] = process.argv;
const count = Number(number);
const say = (text: string) => writeSync(1, `${text}\n`);

try {
  const budgets = openTestBudgets(file);
  if (mode === "add") {
    for (let done = 0; done < count; done += 1) budgets.add(SPENDER, "calls", 1);
    budgets[Symbol.dispose]();
    say("done");
  } else if (mode === "reserve") {
    let permitted = 0;
    const tryOne = () =>
      budgets.reserve(SPENDER, ({ principal }) => ({
        ...NO_DECISION,
        outcome: principal.callsLastDay < count ? "permit" : "deny",
      }));
    while (tryOne().outcome === "permit") permitted += 1;
    say(String(permitted));
    budgets[Symbol.dispose]();
  } else if (mode === "for-ever") {
    for (let done = 1; ; done += 1) {
      budgets.add(SPENDER, "calls", 1);
      say(String(done));
    }
  } else {
    budgets.openSession({ ...SPENDER, sessionId: `ses-of-${process.pid}` });
    say("open");
    // Whoever started it may be gone without having ended it.
    setTimeout(() => undefined, 60_000);
  }
} catch (error) {
  say(error instanceof Error && "code" in error ? String(error.code) : String(error));
  process.exitCode = 1;
}
