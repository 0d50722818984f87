import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { CAPABILITIES } from "../../src/capability/registry.ts";
import { findGroup } from "../../src/packages/sources/groups.ts";
import { canEverPermit, evaluate } from "../../src/policy/evaluate.ts";
import { loadBundle } from "../../src/policy/load.ts";

const SHIPPED = ["default", "locked-down", "development"] as const;
const POLICIES = join(import.meta.dirname, "..", "..", "policies");

const bundles = await Promise.all(
  SHIPPED.map(async (name) => loadBundle(join(POLICIES, name), { describe: describeCall, findGroup })),
);

test("every folder of policies/ is a valid bundle that passes its own tests and forbids with reasons", () => {
  expect(readdirSync(POLICIES).toSorted()).toEqual(
    [...SHIPPED, "capabilities-only", "examples", "groups", "popular"].toSorted(),
  );
  expect(bundles.map((it) => it.identity.name)).toEqual([...SHIPPED]);
  for (const { tests, policies } of bundles) {
    expect(tests.length).toBeGreaterThanOrEqual(5);
    expect(tests.filter((it) => !it.passed)).toEqual([]);
    for (const { effect, reason } of policies.values()) if (effect === "forbid") expect(reason).toMatch(/\w{2,}/);
  }
});

const PROCESS = { processId: "proc-1" };
const EDIT = { edits: [{ oldText: "a", newText: "b" }] };

/** + permits, - denies: in the order of SHIPPED. */
const DECISIONS: readonly (readonly [tool: string, args: object, decisions: string])[] = [
  ["exec", { argv: ["python3", "main.py"] }, "+ + +"],
  ["exec", { argv: ["python3", "main.py"], background: true, stdin: "x" }, "+ + +"],
  ["exec", { argv: ["python3", "main.py"], terminal: false }, "+ + +"],
  ["exec", { argv: ["python3", "main.py"], terminal: true }, "+ - +"],
  ["exec", { argv: ["python3", "main.py"], timeoutMs: 600_000 }, "+ + +"],
  ["exec", { argv: ["python3", "main.py"], timeoutMs: 600_001 }, "+ - +"],
  ["exec", { argv: ["python3", "main.py"], env: { PATH: "/workspace" } }, "+ - +"],
  ["exec", { argv: ["python3", "main.py"], cwd: "/workspace/a/b" }, "+ + +"],
  ["exec", { argv: ["python3", "main.py"], cwd: "/" }, "+ - +"],
  ["exec", { argv: ["python3", "main.py"], cwd: "../tmp" }, "+ - +"],
  ["exec", { argv: ["/usr/bin/python3", "main.py"] }, "+ - +"],
  ["exec", { argv: ["./python3", "main.py"] }, "+ - +"],
  ["exec", { argv: ["python3 main.py"] }, "+ - +"],
  ["exec", { argv: ["bash", "-c", "ls"] }, "+ - +"],
  ["exec", { argv: ["env", "ls"] }, "+ - +"],
  ["exec", { argv: ["git", "status"] }, "+ + +"],
  ["exec", { argv: ["git", "commit", "-m", "a b"] }, "+ + +"],
  ["exec", { argv: ["git"] }, "+ - +"],
  ["exec", { argv: ["git", "push"] }, "+ - +"],
  ["exec", { argv: ["git", "-C", "/tmp", "status"] }, "+ - +"],
  ["exec", { argv: ["git status"] }, "+ - +"],
  ["exec", { argv: ["status", "git"] }, "+ - +"],
  ["exec", { argv: ["sudo", "ls"] }, "- - +"],
  ["exec", { argv: ["mount"] }, "- - +"],
  ["exec", { argv: ["docker", "ps"] }, "- - +"],
  ["shell", { script: "ls" }, "+ - +"],
  ["shell", { script: "ls", terminal: true }, "+ - +"],
  ["listProcesses", {}, "+ + +"],
  ["readProcess", PROCESS, "+ + +"],
  ["writeProcess", { ...PROCESS, stdin: "x" }, "+ + +"],
  ["stopProcess", PROCESS, "+ + +"],
  ["readFile", { path: "a" }, "+ + +"],
  ["readFile", { path: "/workspace" }, "+ + +"],
  ["readFile", { path: "/etc/passwd" }, "+ - +"],
  ["readFile", { path: "/workspace-evil/a" }, "+ - +"],
  ["readFile", { path: "/workspace/../etc/passwd" }, "+ - +"],
  ["writeFile", { path: "a", content: "x" }, "+ + +"],
  ["writeFile", { path: "a", content: "x".repeat(1_048_576) }, "+ + +"],
  ["writeFile", { path: "a", content: "x".repeat(1_048_577) }, "+ - +"],
  ["writeFile", { path: "/tmp/a", content: "x" }, "+ - +"],
  ["writeFile", { path: "/home/agent/a", content: "x" }, "+ - +"],
  ["writeFile", { path: "/home/other/a", content: "x" }, "- - +"],
  ["writeFile", { path: "/etc/hosts", content: "x" }, "- - +"],
  ["writeFile", { path: "/", content: "x" }, "- - +"],
  ["writeFile", { path: "/tmp/../etc/hosts", content: "x" }, "- - +"],
  ["writeFile", { path: "/WORKSPACE/a", content: "x" }, "- - +"],
  ["editFile", { path: "a", ...EDIT }, "+ + +"],
  ["editFile", { path: "/etc/hosts", ...EDIT }, "- - +"],
  ["listDirectory", {}, "+ + +"],
  ["listDirectory", { path: "/" }, "+ - +"],
  ["searchFiles", { pattern: "x" }, "+ + +"],
  ["searchFiles", { path: "/home/agent", pattern: "x" }, "+ - +"],
  ["installPackage", { ecosystem: "npm", packages: [{ name: "left-pad" }] }, "+ - +"],
  ["importFiles", { mount: "app" }, "+ - +"],
  ["importFiles", { mount: "app", to: "/home/agent/x", gitignore: true }, "+ - +"],
  ["importFiles", { mount: "app", to: "/opt/x" }, "- - +"],
  ["exportFiles", { path: "app", mount: "app", to: "." }, "+ - +"],
  ["exportFiles", { path: "/etc", mount: "app", to: "../x", overwrite: true }, "+ - +"],
  ["openSession", {}, "+ - +"],
  ["closeSession", { sessionId: "ses-1" }, "+ - +"],
  ["listSessions", {}, "+ - +"],
  ["sessionStatus", {}, "+ + +"],
  ["resetSession", {}, "+ + +"],
  ["snapshotSession", { snapshot: "a" }, "+ - +"],
  ["restoreSession", { snapshot: "a" }, "+ - +"],
  ["forkSession", {}, "+ - +"],
  ["forkSession", { snapshot: "a" }, "+ - +"],
  ["deleteSnapshot", { snapshot: "a" }, "+ - +"],
  ["exposePort", { port: 8000 }, "- - +"],
  ["explainPolicy", { tool: "exec", arguments: { argv: ["ls"] } }, "+ + +"],
];

test.each(DECISIONS.map(([tool, args, decisions], row) => ({ row, tool, args, decisions })))(
  "$tool is decided $decisions (row $row)",
  ({ tool, args, decisions }) => {
    const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
    const described = describeCall(tool, args, principal);
    if ("problem" in described) throw new Error(described.problem);
    const made = bundles.map((bundle) => evaluate(bundle, described.request));
    expect(made.map((it) => (it.outcome === "permit" ? "+" : "-")).join(" ")).toBe(decisions);
    expect(made.flatMap((it) => it.problems)).toEqual([]);
  },
);

test("the table has every tool, and a tool is hidden exactly where it is never permitted", () => {
  const names = CAPABILITIES.map((it) => it.name);
  expect([...new Set(DECISIONS.map(([tool]) => tool))].toSorted()).toEqual(names.toSorted());
  for (const [index, bundle] of bundles.entries()) {
    const permitted = DECISIONS.filter(([, , decisions]) => decisions.split(" ")[index] === "+").map(([tool]) => tool);
    const shown = names.filter((it) => canEverPermit(bundle, it));
    expect(shown.toSorted()).toEqual([...new Set(permitted)].toSorted());
  }
});
