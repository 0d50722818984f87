import fc from "fast-check";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { describeCall } from "../../src/call/describe.ts";
import { connectRequest } from "../../src/policy/connect.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { type Learned, learn } from "../../src/policy/learn/learn.ts";
import { cedarString, remark } from "../../src/policy/learn/quote.ts";
import { packageRequest } from "../../src/policy/package.ts";
import type { PastDecision } from "../../src/policy/past.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { statementsOf } from "../../src/policy/statements.ts";
import { ADA, requestOf } from "../support/past.ts";

const SOURCE = { log: "/var/lib/example/audit", session: "ses-1", notes: [] };

function past(request: PolicyRequest, more: Partial<PastDecision> = {}): PastDecision {
  return { time: "2026-11-21T09:30:00.000Z", decided: "permit", policies: [], assumed: [], request, ...more };
}
const called = (tool: string, args: object, more: Partial<PastDecision> = {}) =>
  past(requestOf(tool, args), { arguments: args, ...more });
const connected = (host: string, port = 443) => past(connectRequest(ADA, { host, port, scheme: "https" }));

function learned(...decisions: readonly PastDecision[]): Learned {
  return learn(decisions, SOURCE, { describe: describeCall });
}
function decides(it: Learned, tool: string, args: object) {
  return evaluate(it.bundle, requestOf(tool, args)).outcome;
}
function package_(name: string, ageHours: number | undefined): PastDecision {
  return past(
    packageRequest(ADA, {
      purl: `pkg:npm/${name}@1.0.0`,
      ecosystem: "npm",
      name,
      version: "1.0.0",
      requested: true,
      ...(ageHours !== undefined && { ageHours }),
      licenses: [],
      knownMalicious: false,
      knownVulnerable: false,
      advisories: [],
      hasInstallScript: false,
      buildsFromSource: false,
      yanked: false,
      verified: true,
      similarTo: [],
      withinPin: true,
      registry: "packages.example.org:443",
    }),
  );
}

test("a few calls are permitted as they were, and nothing near them", () => {
  const it = learned(
    called("exec", { argv: ["git", "status"] }),
    called("exec", { argv: ["npm", "install", "left-pad"], cwd: "/workspace/app" }),
    called("shell", { script: "ls | wc -l" }),
    called("readFile", { path: "/workspace/app/a.txt" }),
    called("readFile", { path: "/etc/os-release" }),
    connected("example.org"),
    package_("left-pad", 900),
    called("listProcesses", {}),
  );
  expect(it.leftOut).toEqual([]);
  const permitted: [string, object][] = [
    ["exec", { argv: ["git", "status"] }],
    ["shell", { script: "ls | wc -l" }],
    ["readFile", { path: "/workspace/app/deep/b.txt" }],
    ["connect", { host: "example.org" }],
    ["listProcesses", {}],
    ["installPackage", { ecosystem: "npm", packages: [{ name: "left-pad" }] }],
  ];
  for (const [tool, args] of permitted) expect([tool, args, decides(it, tool, args)]).toEqual([tool, args, "permit"]);
  const denied: [string, object][] = [
    ["exec", { argv: ["git", "push"] }],
    ["exec", { argv: ["git", "status", "--short"] }],
    ["exec", { argv: ["git", "status"], cwd: "/workspace/app" }],
    ["exec", { argv: ["/usr/bin/git", "status"] }],
    ["exec", { argv: ["git", "status"], cwd: "/tmp" }],
    ["exec", { argv: ["git", "status"], env: { GIT_PAGER: "sh" } }],
    ["exec", { argv: ["git", "status"], terminal: true }],
    ["exec", { argv: ["git", "status"], stdin: "x" }],
    ["shell", { script: "ls | wc -l " }],
    ["readFile", { path: "/workspace/b.txt" }],
    ["readFile", { path: "/workspace/app-evil/a.txt" }],
    ["readFile", { path: "/etc/passwd" }],
    ["writeFile", { path: "/workspace/app/a.txt", content: "" }],
    ["listDirectory", { path: "/workspace/app" }],
    ["connect", { host: "www.example.org" }],
    ["connect", { host: "example.org", port: 8443, scheme: "https" }],
    ["connect", { host: "example.org", port: 443, scheme: "http" }],
    ["stopProcess", { processId: "proc-1" }],
    ["installPackage", { ecosystem: "pip", packages: [{ name: "six" }] }],
  ];
  for (const [tool, args] of denied) expect([tool, args, decides(it, tool, args)]).toEqual([tool, args, "deny"]);
  const other = package_("right-pad", 900).request;
  expect(evaluate(it.bundle, other).outcome).toBe("deny");
  expect(it.files.get("learned.cedar")).toContain("// session: ses-1, 8 decisions\n");
});

test("of many calls that begin alike, the beginning is permitted; behind an option it never is", () => {
  const many = (argv: (index: number) => string[]) =>
    Array.from({ length: 6 }, (_, index) => called("exec", { argv: argv(index) }));
  const it = learned(
    ...many((index) => ["npm", "run", `task${index}`]),
    ...many((index) => ["python3", "-c", `print(${index})`]),
    ...many((index) => ["env", "bash", "-c", `echo ${index}`]),
  );
  expect(decides(it, "exec", { argv: ["env", "bash", "-c", "echo 3"] })).toBe("permit");
  expect(decides(it, "exec", { argv: ["env", "bash", "-c", "id"] })).toBe("deny");
  expect(decides(it, "exec", { argv: ["npm", "run", "other"] })).toBe("permit");
  expect(decides(it, "exec", { argv: ["npm", "publish"] })).toBe("deny");
  expect(decides(it, "exec", { argv: ["python3", "-c", "print(3)"] })).toBe("permit");
  expect(decides(it, "exec", { argv: ["python3", "-c", "import os"] })).toBe("deny");
});

test("what policy can't see whole, and what has lost a secret, is left to a person", () => {
  const it = learned(
    called("exec", { argv: ["true"] }),
    called("exec", { argv: ["bash", "-c", "x".repeat(5_000)] }),
    called("exec", { argv: ["y".repeat(5_000)] }),
    called("exec", { argv: ["curl", "--password", "[redacted:flag]"] }, { assumed: ["redacted"] }),
    past({ ...requestOf("exec", { argv: ["ls"] }), context: { argv0: "ls" } }),
    past({ principal: ADA, action: "readFile", resource: { type: "path", path: "/workspace/../etc" }, context: {} }),
  );
  expect(it.leftOut).toHaveLength(5);
  expect(decides(it, "exec", { argv: ["bash", "-c", "z".repeat(5_000)] })).toBe("deny");
  expect(decides(it, "exec", { argv: ["curl", "--password", "x"] })).toBe("deny");
  expect(it.files.get("learned.cedar")).toMatch(/\/\/ 1 x exec curl: was permitted, and is left to you: a secret/);
});

test("what was denied, and what a person was asked about, is listed and not permitted", () => {
  const it = learned(
    called("exec", { argv: ["true"] }),
    called("exec", { argv: ["sudo", "id"] }, { decided: "deny" }),
    called("exec", { argv: ["rm", "-r", "x"] }, { decided: "ask" }),
  );
  expect(decides(it, "exec", { argv: ["sudo", "id"] })).toBe("deny");
  expect(decides(it, "exec", { argv: ["rm", "-r", "x"] })).toBe("deny");
  const text = it.files.get("learned.cedar");
  expect(text).toContain("// 1 x exec sudo id: was denied\n");
  expect(text).toContain("// 1 x exec rm -r x: a person was asked\n");
  expect(() => learned(called("exec", { argv: ["true"] }, { decided: "deny" }))).toThrow(/nothing is on record/);
});

test("a script is shown only as it was run", () => {
  const it = learned(
    called("shell", { script: "echo one" }),
    called("shell", { script: "echo two" }, { arguments: { script: "echo harmless" } }),
  );
  const text = it.files.get("learned.cedar");
  expect(text).toMatch(/\/\/ [0-9a-f]{64} echo one\n/);
  expect(text).toMatch(/\/\/ [0-9a-f]{64} \(the log does not have it whole\)\n/);
  expect(decides(it, "shell", { script: "echo two" })).toBe("permit");
  expect(decides(it, "shell", { script: "echo harmless" })).toBe("deny");
});

test("packages are permitted by name, and as young as they were", () => {
  const it = learned(package_("old", 900), package_("young", 10), package_("Not A Name", 900));
  const { packages } = parse(it.files.get("profile.yaml") ?? "");
  expect(packages).toEqual({
    allow: ["npm:old", "npm:young"],
    minimumAgeHours: { default: 72, npm: 10 },
    unverified: "deny",
  });
  expect(evaluate(it.bundle, package_("old", 900).request).outcome).toBe("permit");
  expect(evaluate(it.bundle, package_("other", 900).request).outcome).toBe("deny");
  // A package that was asked for, and of which nothing entered, is not permitted.
  const asked = learned(called("installPackage", { ecosystem: "npm", packages: [{ name: "left-pad" }] }));
  expect(decides(asked, "installPackage", { ecosystem: "npm", packages: [{ name: "left-pad" }] })).toBe("permit");
  expect(evaluate(asked.bundle, package_("left-pad", 900).request).outcome).toBe("deny");
});

const HOSTILE = [
  '"); permit(principal, action, resource); //',
  "\n*/ permit(principal, action, resource);",
  "\r\npermit(principal, action, resource);//",
  '\\"); permit(principal, action, resource); //',
  "\u2028permit(principal, action, resource);\u2029",
  "\u0085\u001b[2K\u202e",
  "#\n- name: x\n  tool: exec\n",
  "{{*}} &a *a !!js",
  "\u{1f4a3}\\u{22}",
];

test("nothing that an agent chose becomes a rule of its own", () => {
  const decisions = HOSTILE.flatMap((text) => [
    called("exec", { argv: ["echo", text] }),
    called("exec", { argv: [text] }, { decided: "deny" }),
    called("exec", { argv: ["env"], env: {}, cwd: `/workspace/${text.replaceAll("/", "_")}` }),
    called("shell", { script: text }),
    called("readFile", { path: `/tmp/${text.replaceAll("/", "_")}/x` }),
    called("searchFiles", { path: "/workspace", pattern: text, glob: text }, { decided: "deny" }),
    called("importFiles", { mount: "app", path: text.replaceAll(/[/\0]/g, "_") }),
  ]);
  const it = learn(decisions, { ...SOURCE, log: HOSTILE.join(""), notes: HOSTILE }, { describe: describeCall });
  const text = it.files.get("learned.cedar") ?? "";
  expect(statementsOf(text)).toHaveLength(it.bundle.policies.size);
  for (const policy of it.bundle.policies.values()) {
    expect(policy.effect).toBe("permit");
    expect(policy.actions.size).toBe(1);
  }
  for (const file of it.files.values()) expect(file).toMatch(/^[\n\x20-\x7e]*$/);
  const left = new Set(it.leftOut.map(({ decision }) => decision));
  expect(left.size).toBeGreaterThan(HOSTILE.length);
  for (const decision of decisions.filter((it) => it.decided === "permit")) {
    expect(evaluate(it.bundle, decision.request).outcome).toBe(left.has(decision) ? "deny" : "permit");
  }
  expect(decides(it, "exec", { argv: ["echo", "other"] })).toBe("deny");
});

test("strings and remarks say what they were made of, and end where they end", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(remark(text)).toMatch(/^[\x20-\x7e]*$/);
      const quoted = cedarString(text);
      expect(quoted).toMatch(/^"([^"\\]|\\["\\]|\\u\{[0-9a-f]{1,6}\})*"$/);
      const read = quoted
        .slice(1, -1)
        .replaceAll(/\\u\{([0-9a-f]+)\}|\\(.)/g, (_, hex?: string, plain?: string) =>
          hex === undefined ? (plain ?? "") : String.fromCodePoint(Number.parseInt(hex, 16)),
        );
      expect(read).toBe(text.toWellFormed());
    }),
  );
});

const word = fc.oneof(
  fc.constantFrom("git", "npm", "run", "-c", "status", "a b", "ä", ...HOSTILE),
  fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 8 }).map((it) => it.replaceAll("\0", "_")),
);
const segment = fc.constantFrom("a", "b", "c d", "ü", '"');
const path = fc
  .tuple(
    fc.constantFrom("/workspace", "/tmp", "/home/agent", "/etc", "/workspace-x"),
    fc.array(segment, { maxLength: 4 }),
  )
  .map(([root, names]) => [root, ...names].join("/"));
const anyCall = fc.oneof(
  fc
    .record({
      argv: fc.array(word, { minLength: 1, maxLength: 10 }),
      cwd: path,
      env: fc.dictionary(fc.constantFrom("A", "B"), fc.constant("x")),
      stdin: fc.constantFrom("", "x"),
      terminal: fc.boolean(),
    })
    .map((args) => called("exec", args)),
  word.map((script) => called("shell", { script })),
  fc.tuple(fc.constantFrom("readFile", "listDirectory"), path).map(([tool, it]) => called(tool, { path: it })),
  path.map((it) => called("writeFile", { path: it, content: "x" })),
  fc
    .record({ path, dryRun: fc.boolean() })
    .map((it) => called("editFile", { ...it, edits: [{ oldText: "a", newText: "b" }] })),
  fc
    .record({ path, dryRun: fc.boolean(), overwrite: fc.boolean() })
    .map((it) => called("exportFiles", { ...it, mount: "app", to: "x" })),
  fc
    .tuple(fc.constantFrom("example.org", "a.example.org", "192.0.2.7"), fc.constantFrom(443, 8443))
    .map((it) => connected(...it)),
  fc.constantFrom(1, 80, 8080).map((port) => called("exposePort", { port })),
  fc.constantFrom(undefined, "before").map((snapshot) => called("forkSession", snapshot ? { snapshot } : {})),
  fc.constantFrom("sessionStatus", "listSessions", "resetSession").map((tool) => called(tool, {})),
);

test("whatever was permitted is permitted, whatever the order, and another program or host is not", () => {
  fc.assert(
    fc.property(fc.array(anyCall, { maxLength: 15 }), (some) => {
      const decisions = [called("listProcesses", {}), ...some];
      const it = learn(decisions, SOURCE, { describe: describeCall });
      const left = new Set(it.leftOut.map(({ decision }) => decision));
      for (const decision of decisions) {
        const { resource, context } = decision.request;
        const texts = [resource, context].flatMap((of) => Object.values(of)).flat();
        const isForeign = texts.some((text) => /[^\x20-\x7e]/.test(String(text)));
        expect(left.has(decision)).toBe(isForeign);
        if (!left.has(decision)) expect(evaluate(it.bundle, decision.request)).toMatchObject({ outcome: "permit" });
      }
      expect(learn(decisions.toReversed(), SOURCE, { describe: describeCall }).files).toEqual(it.files);
      expect(decides(it, "exec", { argv: ["never-recorded"] })).toBe("deny");
      expect(decides(it, "readFile", { path: "/workspace-y/a" })).toBe("deny");
      expect(decides(it, "writeFile", { path: "/workspaces", content: "" })).toBe("deny");
      expect(decides(it, "connect", { host: "b.example.org" })).toBe("deny");
      expect(decides(it, "shell", { script: "never recorded" })).toBe("deny");
    }),
    { numRuns: 8 },
  );
});
