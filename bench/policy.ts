import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isAuthorized } from "@cedar-policy/cedar-wasm/nodejs";
import { parse } from "unbash";
import { describeCall } from "../src/call/describe.ts";
import { PACKAGE_ROOT } from "../src/config.ts";
import type { Bundle } from "../src/policy/bundle.ts";
import { alone, decide, policyOf } from "../src/policy/decide.ts";
import { evaluate } from "../src/policy/evaluate.ts";
import { LAYERS } from "../src/policy/layer.ts";
import { loadBundle } from "../src/policy/load.ts";
import type { PastDecision } from "../src/policy/past.ts";
import type { PolicyRequest } from "../src/policy/request.ts";
import { scriptFacts } from "../src/policy/shell/facts.ts";
import { emptyTally, simulate } from "../src/policy/simulate.ts";
import { type Row, row } from "./row.ts";

const DECISIONS = 300;
const RELOADS = 5;
const REPLAYED = 2_000;
const SCRIPT = "git log --format='%h %s' -20 2>/dev/null | grep -v merge && git status";

/**
 * Median time of one decision with 10, 200 and 1,000 policies, beside handing Cedar the same policies as text at every call; of four layers of
 * as many, beside one; of loading 1,000 policies anew while calls are decided; of replaying history; and of finding out what a script would run.
 */
export async function benchPolicy(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of [10, 200, 1_000]) {
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
      const four = policyOf(
        LAYERS.map((name) => ({ name, bundle, origin: "bench" })),
        bundle.profile,
      );
      const layered = timesOf(() => decide(four, request), DECISIONS);
      rows.push(row(`decision by four layers of ${count} policies`, layered, "ms", "by one of them", prepared));
      if (count === 1_000) rows.push(await reloading(directory, bundle, request));
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
  rows.push(await replaying());
  const facts = timesOf(() => scriptFacts(SCRIPT, {}), DECISIONS);
  rows.push(
    row(
      "facts of a shell script",
      facts,
      "ms",
      "parsing it alone",
      timesOf(() => parse(SCRIPT), DECISIONS),
    ),
  );
  return rows;
}

/** How long calls wait at most while a bundle is loaded beside them: validation is Cedar's, and keeps the thread. */
async function reloading(directory: string, bundle: Bundle, request: PolicyRequest): Promise<Row> {
  const longest: number[] = [];
  const loads: number[] = [];
  for (let round = 0; round < RELOADS; round += 1) {
    let [lastMs, waitedMs] = [performance.now(), 0];
    const calls = setInterval(() => {
      evaluate(bundle, request);
      waitedMs = Math.max(waitedMs, performance.now() - lastMs);
      lastMs = performance.now();
    }, 5);
    const startedMs = performance.now();
    await loadBundle(directory, { describe: describeCall });
    loads.push(performance.now() - startedMs);
    await sleep(20);
    clearInterval(calls);
    longest.push(waitedMs);
  }
  return row("longest wait of a call while 1,000 policies are loaded", longest, "ms", "loading them", loads);
}

/** Decisions of history made again: every call another one, beside calls that come again. */
async function replaying(): Promise<Row> {
  const bundle = await loadBundle(join(PACKAGE_ROOT, "policies", "default"), { describe: describeCall });
  const policy = alone(bundle, "bench");
  const replay = async (different: number) => {
    const startedMs = performance.now();
    async function* past(): AsyncGenerator<PastDecision> {
      for (let index = 0; index < REPLAYED; index += 1) yield pastExec(index % different);
    }
    for await (const _ of simulate(policy, past(), emptyTally()));
    return (REPLAYED * 1_000) / (performance.now() - startedMs);
  };
  const rounds = async (different: number) => [
    await replay(different),
    await replay(different),
    await replay(different),
  ];
  const every = await rounds(REPLAYED);
  return row(
    "history replayed, every call another one",
    every,
    "calls/s",
    "fifty calls again and again",
    await rounds(50),
  );
}

function pastExec(number: number): PastDecision {
  const principal = { id: "local:bench", client: { name: "bench", version: "1" }, transport: "stdio" as const };
  const described = describeCall("exec", { argv: ["python3", `main-${number}.py`] }, principal);
  if ("problem" in described) throw new Error(described.problem);
  const time = "2026-01-01T00:00:00.000Z";
  return { time, decided: "permit", policies: [], request: described.request, assumed: [] };
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
