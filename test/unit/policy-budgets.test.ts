import fc from "fast-check";
import { expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { assembleBundle } from "../../src/policy/assemble.ts";
import { problemText } from "../../src/policy/bundle.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { packageRequest } from "../../src/policy/package.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { ACTIONS } from "../../src/policy/schema.ts";
import { NO_USAGE, type UsageFact, type UsageFacts } from "../../src/policy/usage.ts";

const PRINCIPAL = { id: "local:ada", client: { name: "t", version: "1" }, transport: "stdio" as const };
const MIB = 1_048_576;
const PROCESS = `proc-${"0".repeat(25)}`;

/** All is permitted but what the budgets forbid. */
function bundleWith(profile: string, { tests = "", cedar = "" } = {}) {
  const files = {
    "all.cedar": `permit (principal, action, resource);\n${cedar}`,
    "bundle.yaml": "name: t\nversion: 1.0.0\nnarrows: true\n",
    "profile.yaml": profile,
    "tests.yaml": tests,
  };
  const checked = assembleBundle(new Map(Object.entries(files)), new Map(), { describe: describeCall });
  if (!checked.valid) throw new Error(checked.problems.map(problemText).join("\n"));
  return checked.bundle;
}

function requestOf(tool: string, args: unknown): PolicyRequest {
  const described = describeCall(tool, args, PRINCIPAL);
  if ("problem" in described) throw new Error(described.problem);
  return described.request;
}

const PACKAGE = packageRequest(PRINCIPAL, {
  purl: "pkg:npm/x@1.0.0",
  ecosystem: "npm",
  name: "x",
  version: "1.0.0",
  requested: true,
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
  registry: "r.test:443",
});

const REQUESTS: Readonly<Record<string, PolicyRequest>> = {
  exec: requestOf("exec", { argv: ["true"] }),
  writeFile: requestOf("writeFile", { path: "/workspace/a", content: "" }),
  writeProcess: requestOf("writeProcess", { processId: PROCESS, stdin: "" }),
  installPackage: requestOf("installPackage", { ecosystem: "npm", packages: [{ name: "x" }] }),
  package: PACKAGE,
  connect: requestOf("connect", { host: "example.org" }),
  openSession: requestOf("openSession", {}),
  forkSession: requestOf("forkSession", {}),
  resetSession: requestOf("resetSession", {}),
  deleteSnapshot: requestOf("deleteSnapshot", { snapshot: "s" }),
  listProcesses: requestOf("listProcesses", {}),
  readProcess: requestOf("readProcess", { processId: PROCESS }),
  stopProcess: requestOf("stopProcess", { processId: PROCESS }),
  sessionStatus: requestOf("sessionStatus", {}),
  listSessions: requestOf("listSessions", {}),
  closeSession: requestOf("closeSession", { sessionId: "ses-1" }),
  explainPolicy: requestOf("explainPolicy", { tool: "exec" }),
};

const WORK = ["exec", "writeFile", "writeProcess", "installPackage"];
const TENANCY = ["openSession", "forkSession", "resetSession", "deleteSnapshot"];
const CALLS = [...WORK, ...TENANCY];

/** By limit: the fact, how much of it is one, and the requests that it is about. */
const TABLE: readonly (readonly [string, UsageFact, number, readonly string[]])[] = [
  ["callsPerMinute", "callsLastMinute", 1, CALLS],
  ["callsPerHour", "callsLastHour", 1, CALLS],
  ["callsPerDay", "callsLastDay", 1, CALLS],
  ["runSecondsPerHour", "runSecondsLastHour", 1, CALLS],
  ["runSecondsPerDay", "runSecondsLastDay", 1, CALLS],
  ["egressMiBPerHour", "egressBytesLastHour", MIB, ["connect", "installPackage", "package"]],
  ["egressMiBPerDay", "egressBytesLastDay", MIB, ["connect", "installPackage", "package"]],
  ["packagesPerHour", "packagesLastHour", 1, ["installPackage", "package"]],
  ["packagesPerDay", "packagesLastDay", 1, ["installPackage", "package"]],
];

function deniedBy(bundle: ReturnType<typeof bundleWith>, usage: UsageFacts): Record<string, readonly string[]> {
  const decided = Object.entries(REQUESTS).map(([name, request]) => [name, evaluate(bundle, { ...request, usage })]);
  const denied = decided as [string, ReturnType<typeof evaluate>][];
  expect(denied.flatMap(([, it]) => it.problems)).toEqual([]);
  return Object.fromEntries(
    denied.filter(([, it]) => it.outcome !== "permit").map(([name, it]) => [name, it.policies.map(({ id }) => id)]),
  );
}

for (const whose of ["principal", "session"] as const) {
  test.for(TABLE)(
    `${whose}: %s denies from its number on, what it is about, and nothing else`,
    ([limit, fact, unit, about]) => {
      const most = 7;
      const bundle = bundleWith(`budgets:\n  ${whose}:\n    ${limit}: ${most}\n`);
      const used = (amount: number): UsageFacts => ({ ...NO_USAGE, [whose]: { ...NO_USAGE[whose], [fact]: amount } });
      expect(deniedBy(bundle, used(most * unit - 1))).toEqual({});
      const id = `profile.yaml#budgets.${whose}.${limit}`;
      const expected = Object.fromEntries(about.map((it) => [it, [id]]));
      expect(deniedBy(bundle, used(most * unit))).toEqual(expected);
      expect(deniedBy(bundle, used(most * unit + 1))).toEqual(expected);
      const policy = bundle.policies.get(id);
      expect(policy).toMatchObject({
        file: "profile.yaml",
        line: 3,
        usage: [`${whose}.${fact}`],
        usageLimit: most * unit,
      });
      expect(policy?.reason).toContain(`budget of ${most} `);
    },
  );
}

test("no more sessions are opened than there may be, by whatever would open one; those that are open go on", () => {
  const bundle = bundleWith("budgets:\n  principal:\n    sessions: 2\n");
  const open = (openSessions: number, sessionIsOpen: boolean) =>
    Object.keys(deniedBy(bundle, { ...NO_USAGE, openSessions, sessionIsOpen }));
  expect(open(0, false)).toEqual([]);
  expect(open(1, false)).toEqual([]);
  expect(open(1, true)).toEqual([]);
  expect(open(2, true)).toEqual(["openSession", "forkSession"]);
  const opensNone = ["package", "connect", "deleteSnapshot", "sessionStatus", "listSessions", "closeSession"];
  const opening = Object.keys(REQUESTS).filter((it) => ![...opensNone, "explainPolicy"].includes(it));
  for (const count of [2, 3]) expect(open(count, false)).toEqual(opening);
});

test("every action but those that look or end things is a call that budgets are about", () => {
  const policy = bundleWith("budgets: { session: { callsPerDay: 1 } }").policies.get(
    "profile.yaml#budgets.session.callsPerDay",
  );
  const free = ["connect", "sessionStatus", "listSessions", "listProcesses", "readProcess", "stopProcess"];
  const others = ACTIONS.filter((it) => ![...free, "closeSession", "explainPolicy"].includes(it));
  expect([...(policy?.actions ?? [])].sort()).toEqual(others.toSorted());
});

test("budgets say nothing of a bundle that has none, and nothing of a would-be call", () => {
  expect([...bundleWith("").policies.keys()]).toEqual(["all.cedar#0"]);
  const all = TABLE.map(([limit]) => `${limit}: 1`).join(", ");
  const bundle = bundleWith(`budgets: { principal: { ${all}, sessions: 1 }, session: { ${all} } }`);
  expect(bundle.policies.size).toBe(20);
  expect(deniedBy(bundle, NO_USAGE)).toEqual({});
});

test.for([
  ["budgets: { principal: { callsPerHuor: 1 } }", "callsPerHuor"],
  ["budgets: { session: { sessions: 1 } }", "sessions"],
  ["budgets: { team: {} }", "team"],
  ["budgets: { session: { callsPerDay: 0 } }", "callsPerDay"],
  ["budgets: { session: { callsPerDay: 1.5 } }", "callsPerDay"],
  ["budgets: { session: { egressMiBPerDay: 1000000001 } }", "egressMiBPerDay"],
])("%s is refused with its place", ([profile = "", named]) => {
  expect(() => bundleWith(profile)).toThrow(new RegExp(`profile\\.yaml:1:\\d+: .*${named}`));
});

test("a bundle's test says what was used; what it doesn't say is nothing", () => {
  const tests = (usage: string, expected: string) =>
    `- name: n\n  tool: exec\n  arguments: { argv: ["true"] }\n  expect: ${expected}\n  usage: ${usage}\n`;
  const profile = "budgets: { principal: { callsPerHour: 100, sessions: 2 }, session: { runSecondsPerDay: 60 } }";
  const held = [
    tests("{ principal: { callsLastHour: 99 } }", "permit"),
    tests("{ principal: { callsLastHour: 100 } }", "deny"),
    tests("{ session: { runSecondsLastDay: 60 } }", "deny"),
    tests("{ openSessions: 2 }", "permit"),
    tests("{ openSessions: 2, sessionIsOpen: false }", "deny"),
  ];
  expect(bundleWith(profile, { tests: held.join("") }).tests.map((it) => it.passed)).toEqual(held.map(() => true));
  expect(() => bundleWith(profile, { tests: tests("{ principal: { callsLastHour: 100 } }", "permit") })).toThrow(
    "expected permit, got deny (profile.yaml#budgets.principal.callsPerHour)",
  );
  for (const usage of ["{ principal: { callsLastHuor: 1 } }", "{ sessions: 3 }", "{ session: { callsLastDay: -1 } }"]) {
    expect(() => bundleWith(profile, { tests: tests(usage, "deny") })).toThrow(/tests\.yaml:5:/);
  }
});

test("the number that a policy denies by is known where it denies by nothing else", () => {
  const limitOf = (conditions: string) => {
    const cedar = `@id("x") @reason("r") forbid (principal, action == Glovebox::Action::"exec", resource) ${conditions};`;
    const { usage, usageLimit } = bundleWith("", { cedar }).policies.get("all.cedar#x") ?? {};
    return [usage, usageLimit];
  };
  const calls = "principal.usage.callsLastHour";
  expect(limitOf(`when { ${calls} >= 5 }`)).toEqual([["principal.callsLastHour"], 5]);
  expect(limitOf(`when { ${calls} > 5 }`)).toEqual([["principal.callsLastHour"], 6]);
  expect(limitOf(`when { context.background && ${calls} >= 5 } unless { context.argc == 1 }`)).toEqual([
    ["principal.callsLastHour"],
    5,
  ]);
  expect(limitOf(`when { ${calls} >= 5 } when { ${calls} >= 9 }`)).toEqual([["principal.callsLastHour"], 9]);
  for (const unsure of [`${calls} >= 5 || context.argc == 1`, `!(${calls} < 5)`, `5 <= ${calls}`, `${calls} == 5`]) {
    expect(limitOf(`when { ${unsure} }`)).toEqual([["principal.callsLastHour"], undefined]);
  }
  const two = ["principal.callsLastHour", "session.callsLastHour"];
  expect(limitOf(`when { ${calls} >= 5 && principal.session.callsLastHour >= 2 }`)).toEqual([two, undefined]);
  expect(limitOf("when { principal.openSessions >= 3 && !principal.sessionIsOpen }")).toEqual([
    ["openSessions", "sessionIsOpen"],
    undefined,
  ]);
});

test("a call that one budget denies is denied, whatever the others say", () => {
  const limits = Object.fromEntries(TABLE.map(([limit], index) => [limit, 1 + (index % 3)]));
  const bundle = bundleWith(JSON.stringify({ budgets: { principal: limits, session: limits } }));
  const used = fc.record(
    Object.fromEntries(
      TABLE.map(([, fact, unit]) => [fact, fc.integer({ min: 0, max: 3 }).map((it) => it * unit)]),
    ) as Record<UsageFact, fc.Arbitrary<number>>,
  );
  const property = fc.property(used, used, (principal, session) => {
    const expected = Object.keys(REQUESTS).filter((name) =>
      TABLE.some(([limit, fact, unit, about]) => {
        const most = (limits[limit] ?? 0) * unit;
        return about.includes(name) && (principal[fact] >= most || session[fact] >= most);
      }),
    );
    const denied = deniedBy(bundle, { principal, session, openSessions: 1, sessionIsOpen: true });
    expect(Object.keys(denied).sort()).toEqual(expected.sort());
  });
  fc.assert(property, { numRuns: 40 });
});
