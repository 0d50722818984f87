import fc from "fast-check";
import { expect, test } from "vitest";
import type { Asked } from "../../src/approval/approval.ts";
import { covers, type Grant, grantOf, MAX_GRANT_MS, stillAsks } from "../../src/approval/grants.ts";
import { patternOf } from "../../src/approval/pattern.ts";
import { decide, policyOf } from "../../src/policy/decide.ts";
import { type PackageFacts, packageRequest } from "../../src/policy/package.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { ADA, askedFor, askingPolicy, START_MS } from "../support/approval.ts";
import { layerOf } from "../support/bundle.ts";

type Call = readonly [tool: string, args: Record<string, unknown>];

function keyOf([tool, args]: Call) {
  return patternOf(askedFor(tool, args))?.key;
}

const exec = (...argv: string[]): Call => ["exec", { argv }];
const imported = (include: string[]): Call => ["importFiles", { mount: "home", path: ".", include }];
const push = exec("git", "push", "origin");
const SSH = { GIT_SSH_COMMAND: "sh -c evil" };

test.each<[string, Call, Call]>([
  ["further arguments of a subcommand", push, exec("git", "push", "--force", "elsewhere")],
  ["another time limit", push, ["exec", { argv: ["git", "push"], timeoutMs: 9_000 }]],
  ["the very same", exec("make", "all"), exec("make", "all")],
  ["the same script", ["shell", { script: "a | b" }], ["shell", { script: "a | b" }]],
  [
    "another file of a directory",
    ["writeFile", { path: "/workspace/a/b", content: "1" }],
    ["writeFile", { path: "a/c", content: "2" }],
  ],
  ["an edit beside it", ["editFile", edit("/workspace/a")], ["editFile", edit("/workspace/b")]],
  [
    "another path of a host",
    ["connect", { host: "example.org", path: "/a", method: "GET" }],
    ["connect", { host: "EXAMPLE.org", path: "/b", method: "GET" }],
  ],
  ["the same port", ["exposePort", { port: 8080 }], ["exposePort", { port: 8080 }]],
])("a pattern takes in %s", (_what, asked, other) => {
  expect(keyOf(asked)).toBeDefined();
  expect(keyOf(other)).toBe(keyOf(asked));
});

test.each<[string, Call, Call]>([
  ["another subcommand", push, exec("git", "fetch", "origin")],
  ["an option in its place", push, exec("git", "-c", "core.sshCommand=evil", "push")],
  ["another program", push, exec("/tmp/git", "push", "origin")],
  ["arguments that are joined", exec("make", "a b"), exec("make", "a", "b")],
  ["another target", exec("make", "all"), exec("make", "install")],
  ["another directory", push, ["exec", { argv: ["git", "push"], cwd: "/tmp" }]],
  ["a terminal", push, ["exec", { argv: ["git", "push"], terminal: true }]],
  ["the background", push, ["exec", { argv: ["git", "push"], background: true }]],
  ["variables", push, ["exec", { argv: ["git", "push"], env: SSH }]],
  ["an input", push, ["exec", { argv: ["git", "push"], stdin: "x" }]],
  ["another script", ["shell", { script: "a" }], ["shell", { script: "a " }]],
  ["a deeper directory", ["writeFile", { path: "a/b", content: "" }], ["writeFile", { path: "a/b/c", content: "" }]],
  ["an outer directory", ["writeFile", { path: "a/b", content: "" }], ["writeFile", { path: "b", content: "" }]],
  ["another mode", ["writeFile", { path: "a", content: "" }], ["writeFile", { path: "a", content: "", mode: "755" }]],
  ["another tool", ["writeFile", { path: "a", content: "" }], ["readFile", { path: "a" }]],
  ["another host", ["connect", { host: "example.org" }], ["connect", { host: "a.example.org" }]],
  ["another port", ["connect", { host: "example.org" }], ["connect", { host: "example.org", port: 8443 }]],
  [
    "another method",
    ["connect", { host: "example.org", method: "GET", path: "/" }],
    ["connect", { host: "example.org", method: "PUT", path: "/" }],
  ],
  [
    "requests that are not read",
    ["connect", { host: "example.org", method: "GET", path: "/" }],
    ["connect", { host: "example.org" }],
  ],
  ["another port of the sandbox", ["exposePort", { port: 8080 }], ["exposePort", { port: 8081 }]],
  ["other packages", install("lodash"), install("lodash", "left-pad")],
  ["another project", install("lodash"), ["installPackage", { ...install("lodash")[1], directory: "/tmp/x" }]],
  ["packages for the user", install("lodash"), ["installPackage", { ...install("lodash")[1], global: true }]],
  ["files of the host that others match", imported(["a/*"]), imported(["**"])],
  ["another pattern as long", ["searchFiles", { pattern: "TODO" }], ["searchFiles", { pattern: "key=" }]],
])("a pattern leaves out %s", (_what, asked, other) => {
  expect(keyOf(asked)).toBeDefined();
  expect(keyOf(other)).not.toBe(keyOf(asked));
});

test.each<[string, Call]>([
  ["an input", ["exec", { argv: ["bash"], stdin: "x" }]],
  ["variables", ["exec", { argv: ["git", "push"], env: SSH }]],
  ["variables of a script", ["shell", { script: "a", env: SSH }]],
  ["more arguments than policy sees", exec("make", "1", "2", "3", "4", "5", "6", "7", "8")],
  ["a longer argument than policy sees", exec("make", "x".repeat(5_000))],
  ["what a process is given", ["writeProcess", { processId: "proc-1", stdin: "x" }]],
  ["the root", ["writeFile", { path: "/", content: "" }]],
])("there is no pattern for %s: policy does not see what would run", (_what, call) => {
  expect(keyOf(call)).toBeUndefined();
});

test.each(["nohup", "env", "xargs", "sudo", "bash", "python3", "timeout"])(
  "%s is allowed with exactly its arguments",
  (program) => {
    expect(keyOf(exec(program, "something", "else"))).not.toBe(keyOf(exec(program, "something")));
  },
);
test.each(["npm run", "npm exec", "docker run", "kubectl exec", "go run", "git submodule"])("so is %s", (command) => {
  expect(keyOf(exec(...command.split(" "), "x"))).not.toBe(keyOf(exec(...command.split(" "), "y")));
});

test("of a package any version is allowed of which nothing worse is known", () => {
  const facts: PackageFacts = {
    purl: "pkg:npm/lodash@1.0.0",
    ...{
      ecosystem: "npm",
      name: "lodash",
      version: "1.0.0",
      requested: true,
      licenses: ["MIT"],
      knownMalicious: false,
    },
    ...{ knownVulnerable: false, advisories: [], hasInstallScript: false, buildsFromSource: false, yanked: false },
    ...{ verified: true, similarTo: [], withinPin: true, registry: "registry.example.org:443" },
  };
  const key = (changes: Partial<PackageFacts>) =>
    patternOf({ request: packageRequest(ADA, { ...facts, ...changes }), details: [] })?.key;
  expect(key({ version: "2.0.0", purl: "pkg:npm/lodash@2.0.0", ageHours: 4 })).toBe(key({}));
  const others: Partial<PackageFacts>[] = [
    ...[
      { knownMalicious: true },
      { hasInstallScript: true },
      { advisories: ["GHSA-1"] },
      { licenses: [] },
      { verified: false },
    ],
    ...[
      { name: "lodash-es" },
      { ecosystem: "pip" as const },
      { registry: "mirror.example.org:443" },
      { similarTo: ["x"] },
    ],
  ];
  for (const it of others) expect(key(it)).not.toBe(key({}));
  // The tool's call is another thing than what comes of it.
  expect(keyOf(install("lodash"))).not.toBe(key({}));
});

const calls = fc.constantFrom<Call>(
  ...[push, exec("git", "push"), exec("git", "fetch"), exec("make"), exec("make", "a"), exec("npm", "run", "x")],
  ...([
    ["shell", { script: "git push" }],
    ["shell", { script: "git push", cwd: "/tmp" }],
  ] as Call[]),
  ...([
    ["writeFile", { path: "a/b", content: "" }],
    ["readFile", { path: "a/c" }],
    ["editFile", edit("a/b")],
  ] as Call[]),
  ...([
    ["connect", { host: "example.org" }],
    ["connect", { host: "example.org", method: "GET" }],
    ["exposePort", { port: 80 }],
  ] as Call[]),
);
const policy = fc.constantFrom(askingPolicy(), askingPolicy("", " "));
const asks = fc.record({
  call: calls,
  sessionId: fc.constantFrom("ses-1", "ses-2"),
  id: fc.constantFrom("local:ada", "local:eve"),
  policy,
});

function made({
  call: [tool, args],
  sessionId,
  id,
  policy,
}: typeof asks extends fc.Arbitrary<infer T> ? T : never): Asked {
  return askedFor(tool, args, { sessionId, principal: { ...ADA, id }, policy });
}

function granted(asked: Asked): Grant | undefined {
  return grantOf(asked, { approvalId: "apr_1", digest: "0", approver: "local:ada", nowMs: START_MS });
}

test("what a grant covers is of the same session, principal, action, policies and place, and in time", () => {
  fc.assert(
    fc.property(asks, asks, fc.integer({ min: 0, max: 2 * MAX_GRANT_MS }), (one, other, afterMs) => {
      const [asked, again] = [made(one), made(other)];
      const grant = granted(asked);
      if (!grant || !covers(grant, again, START_MS + afterMs)) return;
      expect(afterMs).toBeLessThan(MAX_GRANT_MS);
      expect(again.request.action).toBe(asked.request.action);
      expect(again.request.principal).toEqual(asked.request.principal);
      expect([again.sessionId, again.decision.bundle.digest]).toEqual([asked.sessionId, asked.decision.bundle.digest]);
      expect(again.decision.policies).toEqual(asked.decision.policies);
      for (const name of ["cwd", "terminal", "background", "port", "scheme", "method", "argv0", "scriptSha256"])
        expect(again.request.context[name]).toEqual(asked.request.context[name]);
    }),
  );
});

test("a grant covers what it was given for", () => {
  fc.assert(
    fc.property(asks, (it) => {
      const grant = granted(made(it));
      expect(grant && covers(grant, made(it), START_MS + MAX_GRANT_MS - 1)).not.toBe(false);
    }),
  );
});

test("of several layers only those that asked have to be the same", () => {
  const asking = (text: string) =>
    `@id("ask") @outcome("ask") @reason("r") forbid(principal, action == Glovebox::Action::"${text}", resource);`;
  const all = 'permit(principal, action in [Glovebox::Action::"exec", Glovebox::Action::"shell"], resource);';
  const of = (organisation: string, user: string) =>
    policyOf([layerOf("organisation", organisation), layerOf("user", user)], profileSchema.parse({}));
  const { request, details } = askedFor("exec", { argv: ["make"] });
  const asked = (policy: ReturnType<typeof of>) => ({
    request,
    details,
    sessionId: "ses-1",
    decision: decide(policy, request),
  });
  const before = of(all + asking("exec"), all);
  const [other, same] = [of(`${all}${all}${asking("exec")}`, all), of(all + asking("exec"), all + asking("shell"))];
  const grant = granted(asked(before));
  if (!grant) throw new Error("there is a pattern");
  expect([before, same, other].map((it) => covers(grant, asked(it), START_MS))).toEqual([true, true, false]);
  expect([before, same, other].map((it) => stillAsks(grant, it.identity))).toEqual([true, true, false]);
  const both = of(all + asking("exec"), all + asking("exec"));
  expect(covers(grant, asked(both), START_MS)).toBe(false);
});

function edit(path: string) {
  return { path, edits: [{ oldText: "a", newText: "b" }] };
}

function install(...names: string[]): Call {
  return ["installPackage", { ecosystem: "npm", packages: names.map((name) => ({ name })) }];
}
