import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { decide, policyOf } from "../../src/policy/decide.ts";
import { type Call, edited } from "../../src/policy/explain/edit.ts";
import { editsOf } from "../../src/policy/explain/edits.ts";
import { explanationOf } from "../../src/policy/explain/explanation.ts";
import { changes, nearestPermitted } from "../../src/policy/explain/nearest.ts";
import { simpleCommand } from "../../src/policy/explain/simple-command.ts";
import type { LayerName, Policy, PolicyLayer } from "../../src/policy/layer.ts";
import { loadBundle } from "../../src/policy/load.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { scriptFacts } from "../../src/policy/shell/facts.ts";
import { layerOf } from "../support/bundle.ts";

const POLICIES = join(import.meta.dirname, "..", "..", "policies");
const PRINCIPAL = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };

const lockedDown = await loadBundle(join(POLICIES, "locked-down"), { describe: describeCall });
const LOCKED_DOWN = together({ name: "user", bundle: lockedDown, origin: "locked-down" });

/** All in one file, so that each has an id of its own. */
function layer(name: LayerName, ...policies: readonly string[]): PolicyLayer {
  return layerOf(name, policies.join("\n"));
}

function together(first: PolicyLayer, ...others: PolicyLayer[]): Policy {
  return policyOf([first, ...others], first.bundle.profile);
}

function nearest(policy: Policy, tool: string, args: Call["args"]) {
  const ports = { policy, describe: describeCall, decide: (it: PolicyRequest) => decide(policy, it) };
  return nearestPermitted({ tool, args }, PRINCIPAL, ports);
}

function requestOf({ tool, args }: Call): PolicyRequest | undefined {
  const described = describeCall(tool, args, PRINCIPAL);
  return "request" in described ? described.request : undefined;
}

const PYTHON = { argv: ["python3", "main.py"] };
const EDITS = { edits: [{ oldText: "a", newText: "b" }] };

/** A denied call, and what is changed for it to be permitted. */
const PROPOSALS: readonly (readonly [tool: string, args: Call["args"], change: object | undefined])[] = [
  ["exec", { ...PYTHON, timeoutMs: 700_000 }, { timeoutMs: 600_000 }],
  ["exec", { ...PYTHON, timeoutMs: 86_400_000 }, { timeoutMs: 600_000 }],
  ["exec", { ...PYTHON, cwd: "/" }, { cwd: "/workspace" }],
  ["exec", { ...PYTHON, cwd: "../tmp" }, { cwd: "/workspace" }],
  ["exec", { ...PYTHON, terminal: true }, { terminal: null }],
  ["exec", { ...PYTHON, env: { A: "1" } }, { env: null }],
  ["exec", { ...PYTHON, env: { A: "1", B: "2" } }, { env: null }],
  ["exec", { argv: ["/usr/bin/python3", "main.py"] }, { argv: ["python3", "main.py"] }],
  ["exec", { argv: ["/usr/bin/git", "log"], terminal: true }, { terminal: null, argv: ["git", "log"] }],
  ["exec", { ...PYTHON, terminal: true, timeoutMs: 700_000 }, { timeoutMs: 600_000, terminal: null }],
  ["shell", { script: "git status" }, { script: null, argv: ["git", "status"] }],
  ["shell", { script: " ls  -la\n" }, { script: null, argv: ["ls", "-la"] }],
  ["shell", { script: "ls", terminal: true }, { script: null, argv: ["ls"], terminal: null }],
  ["shell", { script: "ls", timeoutMs: 700_000 }, { script: null, argv: ["ls"], timeoutMs: 600_000 }],
  ["writeFile", { path: "/etc/hosts", content: "x" }, { path: "/workspace/hosts" }],
  ["writeFile", { path: "../tmp/a/b", content: "x" }, { path: "/workspace/b" }],
  ["searchFiles", { path: "/", pattern: "x" }, { path: "/workspace" }],
  ["listDirectory", { path: "/" }, { path: "/workspace" }],
  // Three changes are another call, and so is another program, file, host or content.
  ["exec", { ...PYTHON, terminal: true, timeoutMs: 700_000, cwd: "/" }, undefined],
  ["exec", { argv: ["rm", "-rf", "x"] }, undefined],
  ["exec", { argv: ["/tmp/python3", "main.py"] }, undefined],
  ["exec", { argv: ["./python3", "main.py"] }, undefined],
  ["exec", { argv: ["env", "python3"] }, undefined],
  ["exec", { argv: ["git", "push"] }, undefined],
  ["exec", { argv: ["git status"] }, undefined],
  ["shell", { script: "ls | wc -l" }, undefined],
  ["shell", { script: "cat $HOME/x" }, undefined],
  ["shell", { script: "git push" }, undefined],
  ["readFile", { path: "/etc/passwd" }, undefined],
  ["editFile", { path: "/etc/passwd", ...EDITS }, undefined],
  ["listDirectory", { path: "/etc" }, undefined],
  ["writeFile", { path: "a", content: "x".repeat(1_048_577) }, undefined],
  ["importFiles", { mount: "app", to: "/etc" }, undefined],
  ["openSession", {}, undefined],
  ["exposePort", { port: 8000 }, undefined],
  ["connect", { host: "example.org" }, undefined],
  // It is permitted as it is, or is no call.
  ["exec", PYTHON, undefined],
  ["exec", { argv: [] }, undefined],
  ["nothing", {}, undefined],
];

for (const [tool, args, change] of PROPOSALS) {
  const title = `locked-down: ${tool} ${JSON.stringify(args)}`.slice(0, 100);
  test(`${title} becomes ${JSON.stringify(change)}`, () => {
    const found = nearest(LOCKED_DOWN, tool, args);
    expect(found?.change).toEqual(change);
    expect(found?.outcome).toBe(change && "permit");
    expect(nearest(LOCKED_DOWN, tool, args)).toEqual(found);
  });
}

const RUN = 'permit (principal, action == Glovebox::Action::"exec", resource);';
const CONNECT = 'principal, action == Glovebox::Action::"connect"';

test("what is proposed follows the policies' own constants, in all layers", () => {
  const exec = 'principal, action == Glovebox::Action::"exec", resource';
  const team = layer("team", RUN, `@reason("r") forbid (${exec}) when { context.timeoutMs >= 60000 };`);
  const app = `@reason("r") forbid (${exec}) unless { context.cwd in Glovebox::Path::"/workspace/app" };`;
  const user = layer("user", RUN, app);
  expect(nearest(together(team), "exec", { argv: ["a"], timeoutMs: 90_000 })?.change).toEqual({ timeoutMs: 59_999 });
  expect(nearest(together(team, user), "exec", { argv: ["a"], timeoutMs: 90_000 })?.change).toEqual({
    timeoutMs: 59_999,
    cwd: "/workspace/app",
  });
  const loader =
    '@reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.envNames.contains("LD_PRELOAD") };';
  const env = { LD_PRELOAD: "x", LANG: "C" };
  expect(nearest(together(layer("user", RUN, loader)), "exec", { argv: ["a"], env })?.change).toEqual({
    env: { LANG: "C" },
  });
});

test("a policy's constants stand beside what they are compared with", () => {
  const text = `permit (principal, action == Glovebox::Action::"exec", resource)
when { ["a", "b"].contains(context.argv0) && 600000 >= context.timeoutMs && context.cwd in Glovebox::Path::"/workspace" }
unless { context.argvPrefixes.containsAny(["[\\"x\\"]"]) || principal.usage.callsLastHour > 5 || principal.client == "c" };
permit (principal, action == Glovebox::Action::"connect", resource in Glovebox::Host::"example.org");
permit (principal, action == Glovebox::Action::"readFile", resource is Glovebox::Path in Glovebox::Path::"/c");
@reason("r") forbid (principal, action == Glovebox::Action::"readFile", resource == Glovebox::Path::"/a") unless { resource in Glovebox::Path::"/b" };`;
  const { policies } = layer("user", text).bundle;
  expect(
    [...policies.values()].map((it) => it.constants.map(({ fact, value }) => `${fact} ${value}`).toSorted()),
  ).toEqual([
    ["argv0 a", "argv0 b", 'argvPrefixes ["x"]', "cwd /workspace", "timeoutMs 600000"],
    ["resource example.org"],
    ["resource /c"],
    ["resource /a", "resource /b"],
  ]);
});

test("a host is proposed only where it has the same owner", () => {
  const policy = together(
    layer(
      "user",
      `permit (${CONNECT}, resource == Glovebox::Host::"api.acme.example.org") when { context.port == 443 && context.scheme == "https" };`,
      `permit (${CONNECT}, resource == Glovebox::Host::"example.net") when { context.port == 443 };`,
    ),
  );
  const change = (args: Call["args"]) => nearest(policy, "connect", args)?.change;
  expect(change({ host: "acme.example.org" })).toEqual({ host: "api.acme.example.org" });
  expect(change({ host: "api.acme.example.org", port: 80 })).toEqual({ port: 443 });
  expect(change({ host: "api.acme.example.org", port: 80, scheme: "http" })).toEqual({ port: 443, scheme: "https" });
  expect(change({ host: "example.com" })).toBeUndefined();
  expect(change({ host: "192.0.2.1" })).toBeUndefined();
  const shared = together(
    layer("user", `permit (${CONNECT}, resource == Glovebox::Host::"acme.github.io") when { context.port == 443 };`),
  );
  expect(nearest(shared, "connect", { host: "www.acme.github.io" })?.change).toEqual({ host: "acme.github.io" });
  expect(nearest(shared, "connect", { host: "other.github.io" })).toBeUndefined();
});

test("what a person would be asked about is said to be so, and what is permitted at once comes first", () => {
  const asking =
    '@outcome("ask") @reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.cwd != Glovebox::Path::"/tmp" };';
  const never =
    '@reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.terminal };';
  const here =
    '@reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.cwd == Glovebox::Path::"/tmp" };';
  const asks = together(layer("user", RUN, asking, never, here));
  expect(nearest(asks, "exec", { argv: ["a"], terminal: true })).toMatchObject({
    outcome: "ask",
    change: { terminal: null },
    text: "a person would be asked, if it were called without `terminal`",
  });
  expect(nearest(asks, "exec", { argv: ["a"] })).toBeUndefined();
  const free = together(layer("user", RUN, asking, never));
  expect(nearest(free, "exec", { argv: ["a"], terminal: true })).toMatchObject({
    outcome: "permit",
    change: { terminal: null, cwd: "/tmp" },
  });
  expect(nearest(free, "exec", { argv: ["a"] })?.change).toEqual({ cwd: "/tmp" });
});

const call: fc.Arbitrary<Call> = fc.oneof(
  fc.record({
    tool: fc.constantFrom("exec", "shell"),
    args: fc.record(
      {
        argv: fc.constantFrom(["python3"], ["/usr/bin/git", "log"], ["git", "push"], ["/bin/ls"], ["rm"]),
        script: fc.constantFrom("ls -l", "git log", "a | b"),
        cwd: fc.constantFrom("/", "/workspace", "/workspace/a", "/tmp"),
        env: fc.dictionary(fc.constantFrom("A", "PATH", "LD_PRELOAD"), fc.constant("x")),
        timeoutMs: fc.constantFrom(1_000, 600_000, 600_001, 10_000_000),
        terminal: fc.boolean(),
        background: fc.boolean(),
        stdin: fc.constantFrom("", "x"),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    tool: fc.constantFrom("writeFile", "listDirectory", "searchFiles", "readFile"),
    args: fc.record(
      {
        path: fc.constantFrom("/", "/etc/x", "/workspace/x", "/tmp/x", "/home/agent/x"),
        content: fc.constant("x"),
        pattern: fc.constant("x"),
        mode: fc.constantFrom("644", "755"),
        depth: fc.constantFrom(1, 5, 16),
      },
      { requiredKeys: ["path"] },
    ),
  }),
);

/** Only the arguments that the tool knows, so that most calls are valid. */
const KNOWN: ReadonlyMap<string, readonly string[]> = new Map([
  ["exec", ["argv", "cwd", "env", "timeoutMs", "terminal", "background", "stdin"]],
  ["shell", ["script", "cwd", "env", "timeoutMs", "terminal", "background", "stdin"]],
  ["writeFile", ["path", "content", "mode"]],
  ["listDirectory", ["path", "depth"]],
  ["searchFiles", ["path", "pattern"]],
  ["readFile", ["path"]],
]);
const fitting = call.map(({ tool, args }) => {
  const entries = Object.entries(args).filter(([name]) => KNOWN.get(tool)?.includes(name));
  const needed = {
    exec: { argv: ["python3"] },
    shell: { script: "ls" },
    writeFile: { content: "" },
    searchFiles: { pattern: "x" },
  };
  return { tool, args: { ...(needed as Record<string, object>)[tool], ...Object.fromEntries(entries) } };
});

const NARROW = layer(
  "organisation",
  "permit (principal, action, resource is Glovebox::Session);",
  "permit (principal, action, resource is Glovebox::Path);",
  '@reason("r") forbid (principal, action in [Glovebox::Action::"exec", Glovebox::Action::"shell"], resource) when { context.background || context.stdinBytes > 0 };',
  '@outcome("ask") @reason("r") forbid (principal, action == Glovebox::Action::"listDirectory", resource) when { context.depth > 3 };',
  '@reason("r") forbid (principal, action == Glovebox::Action::"writeFile", resource) when { context has mode };',
);
const BOTH = together(NARROW, { name: "user", bundle: lockedDown, origin: "locked-down" });

test.each([
  ["one layer", LOCKED_DOWN],
  ["two layers", BOTH],
])("%s: what is proposed is permitted, differs in what is named alone, and is the smallest", (_, policy) => {
  fc.assert(
    fc.property(fitting, (asked): void => {
      const request = requestOf(asked);
      if (!request) return;
      const before = decide(policy, request).outcome;
      const found = nearest(policy, asked.tool, asked.args);
      expect(nearest(policy, asked.tool, asked.args)).toEqual(found);
      if (before === "permit") {
        expect(found).toBeUndefined();
        return;
      }
      const outcomeOf = (it: Call) => {
        const would = requestOf(it);
        return would && decide(policy, would).outcome;
      };
      const actions = asked.tool === "shell" ? ["shell", "exec"] : [asked.tool];
      const constants = policy.layers.flatMap(({ bundle }) =>
        [...bundle.policies.values()].flatMap((it) =>
          actions.some((tool) => it.actions.has(tool)) ? it.constants : [],
        ),
      );
      const edits = editsOf({ ...asked, request, constants });
      const singles = edits.filter((it) => outcomeOf(edited(asked, [it])) === "permit");
      if (found?.outcome !== "permit") expect(singles).toEqual([]);
      if (!found) return;
      expect(outcomeOf({ tool: found.tool, args: found.arguments })).toBe(found.outcome);
      const named = Object.keys(found.change);
      const differing = [...new Set([...Object.keys(asked.args), ...Object.keys(found.arguments)])].filter(
        (it) => JSON.stringify((asked.args as Call["args"])[it]) !== JSON.stringify(found.arguments[it]),
      );
      expect(named).toEqual(expect.arrayContaining(differing));
      for (const name of named) expect(found.arguments[name] ?? null).toEqual(found.change[name]);
      if (found.outcome === "ask") return;
      const first = changes(edits).find((it) => outcomeOf(edited(asked, it)) === "permit") ?? [];
      expect({ tool: found.tool, args: found.arguments }).toEqual(edited(asked, first));
      const [cheapest] = singles.map((it) => it.cost).toSorted((a, b) => a - b);
      if (cheapest !== undefined) expect(first.map((it) => it.cost)).toEqual([cheapest]);
    }),
    { numRuns: 20 },
  );
});

test("a script is a command only where bash would run exactly these words, and no builtin", () => {
  const argvOf = (script: string) => simpleCommand(script, scriptFacts(script, {}));
  expect(argvOf("git status")).toEqual(["git", "status"]);
  expect(argvOf("npm run build -- --out=dist/x\n")).toEqual(["npm", "run", "build", "--", "--out=dist/x"]);
  expect(argvOf("git commit -m 'a b' # done")).toEqual(["git", "commit", "-m", "a b"]);
  const others =
    `;a\nb;a&;a|b;a>b;a 2>/dev/null;a <b;a $b;a \`b\`;a *;a {b,c};a ~;A=1 b;(a);!a;cd /tmp;export A;source x;. x;eval ls;exec ls;time ls;echo -e x;kill 1;if a;: x;а b;a\u00a0b;a \u200bb;env ls;bash -c ls;true;type ls`.split(
      ";",
    );
  for (const it of [...others, "a; b", "a && b"]) expect({ it, argv: argvOf(it) }).toEqual({ it, argv: undefined });
});

test("a script that is hard to read is read once, however many other calls are tried", () => {
  const policy = together(
    layer(
      "user",
      'permit (principal, action == Glovebox::Action::"shell", resource) when { context.programs == ["x"] };',
    ),
  );
  const env = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`A${index}`, "1"]));
  const script = "$${".repeat(1_360);
  const readMs = timeOf(() => scriptFacts(script, {}));
  const searchMs = timeOf(() =>
    nearest(policy, "shell", { script, env, terminal: true, timeoutMs: 700_000, stdin: "x" }),
  );
  expect(searchMs).toBeLessThan(3_000 + 10 * readMs);
});

function timeOf(work: () => unknown): number {
  const startedMs = performance.now();
  work();
  return performance.now() - startedMs;
}

test("an explanation says what every layer makes of a call, with places, and what those in shadow mode would", () => {
  const team = layerOf(
    "team",
    `${RUN}\n\n@id("no-rm")\n@reason("keep it")\nforbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "rm" };`,
  );
  const trial = layerOf("project", '@id("trial") @reason("soon") forbid (principal, action, resource);', {
    mode: "shadow",
    narrows: true,
  });
  const shadowed = layerOf(
    "user",
    `${RUN} @id("soon") @mode("shadow") @reason("r") forbid (principal, action, resource);`,
  );
  const policy = together(team, trial, shadowed);
  const request = requestOf({ tool: "exec", args: { argv: ["rm"] } });
  if (!request) throw new Error("not described");
  const { decision, layers } = explanationOf(policy, request);
  expect(decision).toEqual(decide(policy, request));
  expect(layers).toMatchObject([
    {
      layer: "team",
      outcome: "deny",
      mode: "enforce",
      policies: [{ id: "t.cedar#no-rm", file: "t.cedar", line: 3, reason: "keep it" }],
    },
    { layer: "user", outcome: "permit", shadow: [{ would: "deny", policies: [{ id: "t.cedar#soon" }] }] },
    { layer: "project", outcome: "deny", mode: "shadow", policies: [{ id: "t.cedar#trial" }] },
  ]);
});
