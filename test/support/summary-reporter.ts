import type { Reporter, TestModule } from "vitest/node";

/** Ends a run with why each skipped test was skipped, and one line of counts. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    const skips: string[] = [];
    for (const module of modules) {
      if (!module.ok() && module.children.size === 0) counts.failed += 1;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "pending") continue;
        counts[result.state] += 1;
        if (result.state === "skipped") skips.push(`${test.fullName}: ${result.note ?? "no reason given"}`);
      }
    }
    for (const skip of skips) console.log(`skipped: ${skip}`);
    console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  }
}
