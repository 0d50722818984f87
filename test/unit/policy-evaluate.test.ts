import fc from "fast-check";
import { expect, test } from "vitest";
import { canEverPermit, evaluate } from "../../src/policy/evaluate.ts";
import { argvFacts, normalisePath, pathAncestors } from "../../src/policy/facts.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { bundleOf } from "../support/bundle.ts";

const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };

function execOf(argv: readonly string[], cwd = "/workspace"): PolicyRequest {
  const rest = { cwd, envNames: [], stdinBytes: 0, background: false, terminal: false, timeoutMs: 0 };
  return {
    principal,
    action: "exec",
    resource: { type: "session", id: "s" },
    context: { ...argvFacts(argv), ...rest },
  };
}

const readOf = (path: string): PolicyRequest => ({
  principal,
  action: "readFile",
  resource: { type: "path", path },
  context: { encoding: "utf8" },
});

const PERMITS = [
  `@id("p1") permit (principal, action == Glovebox::Action::"exec", resource);`,
  `@id("p2") permit (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "a" };`,
  `@id("p3") permit (principal, action, resource) when { resource in Glovebox::Path::"/workspace" };`,
] as const;
const FORBIDS = [
  `@id("f1") @reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argv0 == "b" };`,
  `@id("f2") @reason("r") forbid (principal, action, resource) when { context has cwd && context.cwd in Glovebox::Path::"/etc" };`,
  `@id("f3") @reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argvPrefixes.contains("[\\"git\\",\\"push\\"]") };`,
] as const;

const requests = fc.oneof(
  fc
    .tuple(
      fc.array(fc.constantFrom("a", "b", "git", "push", "git push"), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("/workspace", "/etc/x", "/"),
    )
    .map(([argv, cwd]) => execOf(argv, cwd)),
  fc.constantFrom("/workspace/a", "/etc/a", "/workspacex/a", "/").map(readOf),
);

test("what nothing permits is denied, and a forbid overrides every permit [G3]", () => {
  expect(evaluate(bundleOf([PERMITS[2]]), execOf(["a"]))).toMatchObject({
    outcome: "deny",
    policies: [],
    problems: [],
  });
  const both = bundleOf([PERMITS[0], FORBIDS[0]]);
  expect(evaluate(both, execOf(["a"]))).toMatchObject({ outcome: "permit", policies: [{ id: "t.cedar#p1" }] });
  expect(evaluate(both, execOf(["b"]))).toMatchObject({
    outcome: "deny",
    policies: [{ id: "t.cedar#f1", effect: "forbid", reason: "r" }],
  });
});

test("the order of policies never matters", () => {
  const all = [...PERMITS, ...FORBIDS];
  const straight = bundleOf([...all]);
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), requests, (shuffled, request) => {
      const { bundle: _, ...decision } = evaluate(bundleOf([...shuffled]), request);
      expect(decision).toEqual((({ bundle: __, ...it }) => it)(evaluate(straight, request)));
    }),
    { numRuns: 50 },
  );
});

test("adding a forbid never turns a denial into a permit, and adding a permit never removes a forbid", () => {
  const subsets = fc.tuple(
    fc.subarray([...PERMITS]),
    fc.subarray([...FORBIDS]),
    fc.constantFrom(...FORBIDS),
    fc.constantFrom(...PERMITS),
  );
  fc.assert(
    fc.property(subsets, requests, ([permits, forbids, forbid, permit], request) => {
      const rest = forbids.filter((it) => it !== forbid);
      const before = evaluate(bundleOf([...permits, ...rest]), request);
      const after = evaluate(bundleOf([...permits, ...rest, forbid]), request);
      if (before.outcome === "deny") expect(after.outcome).toBe("deny");
      const more = evaluate(bundleOf([...permits.filter((it) => it !== permit), permit, ...rest, forbid]), request);
      if (after.policies.some((it) => it.effect === "forbid")) expect(more.outcome).toBe("deny");
    }),
    { numRuns: 60 },
  );
});

test("an evaluation error denies, whatever else the bundle says [G3]", () => {
  // They overflow when there are two arguments or more; Cedar skips such a policy, and would allow.
  const overflow = 'action == Glovebox::Action::"exec", resource) when { context.argc * 9223372036854775807 > 0 };';
  const failing = [`@id("o") @reason("r") forbid (principal, ${overflow}`, `@id("o") permit (principal, ${overflow}`];
  const rest = fc.tuple(fc.subarray([...PERMITS]), fc.subarray([...FORBIDS]), fc.constantFrom(...failing));
  const argvs = fc.array(fc.constantFrom("a", "b", "git", "push"), { minLength: 2, maxLength: 9 });
  fc.assert(
    fc.property(rest, argvs, ([permits, forbids, policy], argv) => {
      const decision = evaluate(bundleOf([...permits, ...forbids, policy]), execOf(argv));
      expect(decision).toMatchObject({
        outcome: "deny",
        policies: [],
        problems: [expect.stringContaining("t.cedar#o")],
      });
    }),
  );
  expect(evaluate(bundleOf([PERMITS[0], failing[0] ?? ""]), execOf(["a"])).policies).toMatchObject([
    { id: "t.cedar#o" },
  ]);
});

test("a path that nobody normalised is denied, although a permit would apply [G12]", () => {
  const bundle = bundleOf([PERMITS[0], PERMITS[2]]);
  for (const path of ["/workspace/../etc/passwd", "/workspace//a", "/workspace/", "/workspace/.", "workspace/a", ""]) {
    expect(evaluate(bundle, readOf(path))).toMatchObject({ outcome: "deny", problems: [expect.any(String)] });
    expect(evaluate(bundle, execOf(["a"], path))).toMatchObject({ outcome: "deny", problems: [expect.any(String)] });
  }
});

test("a decision depends on the request and the bundle alone", () => {
  const bundle = bundleOf([...PERMITS, ...FORBIDS]);
  fc.assert(
    fc.property(requests, fc.array(requests, { maxLength: 3 }), (request, others) => {
      const first = evaluate(bundle, request);
      for (const other of others) evaluate(bundle, other);
      expect(evaluate(bundle, structuredClone(request))).toEqual(first);
    }),
    { numRuns: 50 },
  );
});

test("a request that does not fit the schema denies", () => {
  const bundle = bundleOf([`permit (principal, action, resource is Glovebox::Session);`]);
  const fine = execOf(["a"]);
  expect(evaluate(bundle, fine).outcome).toBe("permit");
  const { argv0: _, ...withoutProgram } = fine.context;
  for (const request of [
    { ...fine, action: "formatDisk" },
    { ...fine, context: withoutProgram },
    { ...fine, context: { ...fine.context, surprise: 1 } },
    { ...fine, context: { ...fine.context, argc: "2" } },
    { ...fine, resource: { type: "path" as const, path: "/workspace" } },
  ]) {
    expect(evaluate(bundle, request)).toMatchObject({ outcome: "deny", problems: [expect.any(String)] });
  }
});

test("a tool is hidden when nothing permits it, or something always forbids it", () => {
  const bundle = bundleOf([PERMITS[0], PERMITS[2]]);
  expect(canEverPermit(bundle, "exec")).toBe(true);
  expect(canEverPermit(bundle, "readFile")).toBe(true);
  expect(canEverPermit(bundle, "shell")).toBe(false);
  const all = `@id("all") permit (principal, action, resource is Glovebox::Session);`;
  const noShell = `@id("no") @reason("r") forbid (principal, action == Glovebox::Action::"shell", resource);`;
  expect(canEverPermit(bundleOf([all, noShell]), "shell")).toBe(false);
  expect(canEverPermit(bundleOf([all, noShell]), "exec")).toBe(true);
  const sometimes = [
    `@id("s") @reason("r") forbid (principal, action == Glovebox::Action::"shell", resource) when { context.background };`,
    `@id("s") @reason("r") forbid (principal == Glovebox::Principal::"eve", action == Glovebox::Action::"shell", resource);`,
    `@id("s") @reason("r") forbid (principal, action == Glovebox::Action::"shell", resource == Glovebox::Session::"x");`,
  ];
  for (const forbid of sometimes) expect(canEverPermit(bundleOf([all, forbid]), "shell")).toBe(true);
});

test("no request for a hidden tool is permitted", () => {
  const bundles = fc.tuple(fc.subarray([...PERMITS]), fc.subarray([...FORBIDS]));
  fc.assert(
    fc.property(bundles, requests, ([permits, forbids], request) => {
      const bundle = bundleOf([...permits, ...forbids]);
      if (!canEverPermit(bundle, request.action)) expect(evaluate(bundle, request).outcome).toBe("deny");
    }),
    { numRuns: 60 },
  );
});

const names = fc.oneof(
  fc.constantFrom("..", ".", "", "a", "workspace", "etc"),
  fc.string({ minLength: 1, maxLength: 8 }),
);
const paths = fc
  .array(names, { minLength: 1, maxLength: 8 })
  .map((it) => it.join("/"))
  .filter((it) => it !== "" && !it.includes("\0"));

test("a normalised path is absolute, has no dots or doubled slashes, and stays as it is [G12]", () => {
  fc.assert(
    fc.property(paths, (path) => {
      const normal = normalisePath(path);
      expect(normal).toMatch(/^\//);
      expect(
        normal
          .split("/")
          .slice(1)
          .filter((it) => it === ".." || it === "."),
      ).toEqual([]);
      if (normal !== "/") expect(normal).not.toMatch(/\/\/|\/$/);
      expect(normalisePath(normal)).toBe(normal);
    }),
  );
  expect(normalisePath("a/../../x", "/workspace")).toBe("/x");
  expect(normalisePath("/../../..")).toBe("/");
  expect(normalisePath("a/../".repeat(2_000))).toBe("/workspace");
  for (const bad of ["", "a\0b", "\ud800", "a".repeat(256), `/${"b".repeat(250)}`.repeat(20), "/a".repeat(257)]) {
    expect(() => normalisePath(bad)).toThrow(/^path: must/);
    expect(() => normalisePath(bad, "/", "cwd")).toThrow(/^cwd: must/);
  }
});

test("a path is in exactly the directories above it", () => {
  expect(pathAncestors("/")).toEqual([]);
  expect(pathAncestors("/a")).toEqual(["/"]);
  expect(pathAncestors("/a/b/c")).toEqual(["/a/b", "/a", "/"]);
  const bundle = bundleOf([PERMITS[2]]);
  expect(evaluate(bundle, readOf("/workspace/a/b")).outcome).toBe("permit");
  expect(evaluate(bundle, readOf("/workspace")).outcome).toBe("permit");
  for (const path of ["/workspacex", "/", "/a/workspace/b", "/workspace\\/..", "/WORKSPACE/a"]) {
    expect(evaluate(bundle, readOf(path)).outcome).toBe("deny");
  }
});

test("an argv has at most eight prefixes, none of them longer than a policy would name", () => {
  expect(argvFacts(Array.from({ length: 20 }, () => "a"))).toMatchObject({ argc: 20, argvPrefixes: { length: 8 } });
  expect(argvFacts(["git", "push", "x".repeat(5_000)]).argvPrefixes).toEqual(['["git"]', '["git","push"]']);
});

test("two argvs share a prefix exactly when they begin with the same arguments", () => {
  const argv = fc.array(fc.constantFrom("git", "push", "git push", '"', "", "a,b"), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(argv, argv, (one, two) => {
      const longest = argvFacts(two).argvPrefixes as string[];
      const full = JSON.stringify(one);
      const begins = one.every((argument, index) => two[index] === argument);
      expect(longest.includes(full)).toBe(begins);
    }),
  );
});
