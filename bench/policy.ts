import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAuthorized } from "@cedar-policy/cedar-wasm/nodejs";
import { describeCall } from "../src/call/describe.ts";
import { evaluate } from "../src/policy/evaluate.ts";
import { loadBundle } from "../src/policy/load.ts";
import { type Row, row } from "./row.ts";

const DECISIONS = 300;

/** Median time of one decision with 10 and 200 policies, beside handing Cedar the same policies as text at every call. */
export async function benchPolicy(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of [10, 200]) {
    const texts = Array.from({ length: count }, (_, index) => policyText(index));
    const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-policy-"));
    try {
      writeFileSync(join(directory, "bundle.yaml"), "name: bench\nversion: 1.0.0\n", { mode: 0o644 });
      writeFileSync(join(directory, "rules.cedar"), texts.join("\n"), { mode: 0o644 });
      const bundle = await loadBundle(directory, { describe: describeCall });
      const principal = { id: "local:bench", client: { name: "bench", version: "1" }, transport: "stdio" as const };
      const described = describeCall("exec", { argv: ["program-7", "x"] }, principal);
      if ("problem" in described) throw new Error(described.problem);
      const { request } = described;
      const prepared = timesOf(() => evaluate(bundle, request), DECISIONS);
      const policies = { staticPolicies: Object.fromEntries(texts.map((text, index) => [`p${index}`, text])) };
      const call = {
        principal: { type: "Glovebox::Principal", id: principal.id },
        action: { type: "Glovebox::Action", id: "exec" },
        resource: { type: "Glovebox::Session", id: "default" },
        context: { argv0: "program-7" },
        policies,
        entities: [],
      };
      const text = timesOf(() => isAuthorized(call), Math.max(20, DECISIONS / 10));
      rows.push(row(`decision with ${count} policies`, prepared, "ms", "the same policies as text at each call", text));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  return rows;
}

function policyText(index: number): string {
  const action = 'action == Glovebox::Action::"exec"';
  return index % 2 === 0
    ? `@id("p${index}") permit (principal, ${action}, resource) when { context.argv0 == "program-${index}" };`
    : `@id("p${index}") @reason("r") forbid (principal, ${action}, resource) when { context.argv0 == "bad-${index}" };`;
}

/** Milliseconds each. */
function timesOf(run: () => unknown, times: number): number[] {
  return Array.from({ length: times }, () => {
    const startedMs = performance.now();
    run();
    return performance.now() - startedMs;
  });
}
