import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { policyCommand } from "../../src/cli/policy.ts";
import { writeFolder } from "../../src/cli/policy-folder.ts";
import { findGroup } from "../../src/packages/sources/groups.ts";
import { scratch } from "../support/audit.ts";
import { runCommand } from "../support/command.ts";
import { intentOf, writeLog } from "../support/past.ts";

const BUNDLES = join(import.meta.dirname, "..", "..", "policies");
const DEFAULT = join(BUNDLES, "default");
const LOCKED_DOWN = join(BUNDLES, "locked-down");

const policy = (...args: readonly string[]) =>
  runCommand(policyCommand({ load: async () => ({ describe: describeCall, findGroup }) }), args);

async function log(): Promise<string> {
  const directory = scratch();
  const installs = Array.from({ length: 12 }, (_, it) =>
    intentOf("exec", { argv: ["npm", "install", `p${it}`] }, { callId: `call-${it}` }),
  );
  const coloured = intentOf("exec", { argv: ["git", "log", "\u001b[31m\nred"] }, { callId: "call-red" });
  const { request: _none, ...old } = intentOf("exec", { argv: ["ls"] });
  await writeLog(directory, [...installs, intentOf("exec", { argv: ["sudo", "id"] }), coloured, old]);
  return directory;
}

test("simulate shows what changes, grouped, with what could not be decided, and exits with 1", async () => {
  const directory = await log();
  const { status, stdout } = await policy("simulate", "--replay", directory, "--bundle", LOCKED_DOWN);
  expect(status).toBe(1);
  expect(stdout).toMatch(
    /^12 × exec npm install: permit → deny: no policy permits it\n {4}\S+ call-0 exec npm install p0\n/,
  );
  expect(stdout).toContain("    … and 9 more\n1 × exec sudo id: permit → deny: no policy permits it\n");
  expect(stdout).toMatch(
    /\n14 decisions made again( \(\d+\/s\))?, 13 changed\n {2}1 passed over: the record does not say/,
  );
  const json = await policy("simulate", "--replay", directory, "--bundle", DEFAULT, "--json");
  const lines = json.stdout
    .trim()
    .split("\n")
    .map((it) => JSON.parse(it));
  expect(lines).toMatchObject([
    { action: "exec", what: "exec sudo id", from: "permit", to: "deny", policies: [{ id: "sandbox.cedar#no-root" }] },
    { summary: { decided: 14, changed: 1, passedOver: { "no-request": 1 } } },
  ]);
  expect(await policy("simulate", "--replay", directory, "--bundle", join(BUNDLES, "development"))).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^14 decisions made again/),
  });
});

test("layers are decided together; what can't be answered exits with 2", async () => {
  const directory = await log();
  const layers = ["--layer", `organisation=${LOCKED_DOWN}`, "--layer", `user=${DEFAULT}`];
  const { status, stdout } = await policy("simulate", "--replay", directory, ...layers, "--session", "ses-1");
  expect(status).toBe(1);
  expect(stdout).toContain("12 × exec npm install: permit → deny: no policy permits it\n");
  const unanswered: [string[], RegExp][] = [
    [["--replay", "/nonexistent", "--bundle", DEFAULT], /there is none/],
    [["--replay", scratch(), "--bundle", DEFAULT], /no decision that could be made again/],
    [["--replay", directory], /--bundle/],
    [["--replay", directory, "--bundle", DEFAULT, "--bundle", LOCKED_DOWN], /both stand with the user/],
    [["--replay", directory, "--layer", `everybody=${DEFAULT}`], /no layer/],
    [["--replay", directory, "--bundle", DEFAULT, "--since", "today"], /give a date/],
    [["--replay", directory, "--bundle", DEFAULT, "--session", "ses-2"], /no decision/],
  ];
  for (const [args, message] of unanswered) {
    expect({ args, ...(await policy("simulate", ...args)) }).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(message),
    });
  }
});

test("learn writes a bundle that permits the session again, into a folder that was not there", async () => {
  const directory = await log();
  const to = join(scratch(), "proposal");
  const made = await policy("learn", "--replay", directory, "--session", "ses-1", "--to", to);
  expect(made).toMatchObject({
    status: 0,
    stderr: expect.stringContaining("14 decisions: 14 are permitted, 0 are left"),
  });
  expect((await policy("check", to)).status).toBe(0);
  expect((await policy("simulate", "--replay", directory, "--bundle", to)).status).toBe(0);
  expect(statSync(join(to, "learned.cedar")).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(to, "learned.cedar"), "utf8")).toContain("// 1 passed over: the record does not say");
  const again = await policy("learn", "--replay", directory, "--session", "ses-1", "--to", to);
  expect(again).toMatchObject({ status: 2, stderr: expect.stringContaining("it is there already") });
  const printed = await policy("learn", "--replay", directory, "--session", "ses-1");
  expect(printed.stdout).toContain("# ---- learned.cedar\n// A proposal");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
  expect(printed.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
});

test("new writes a valid bundle for every answer, and touches nothing that is there", async () => {
  const place = scratch();
  const answers: string[][] = [
    [],
    ["--base", "locked-down", "--shell", "yes"],
    [
      "--base",
      "development",
      "--shell",
      "ask",
      "--hosts",
      "example.org,*.example.net:8443",
      "--packages",
      "npm,pip:six",
    ],
    ["--programs", "git,npm,sudo,git", "--hosts", "192.0.2.7,example.org,example.org", "--name", "acme"],
  ];
  for (const [index, options] of answers.entries()) {
    const to = join(place, `policy-${index}`);
    expect(await policy("new", to, ...options)).toMatchObject({ status: 0, stderr: "" });
    expect(await policy("check", to)).toMatchObject({ status: 0 });
  }
  const tests = readFileSync(join(place, "policy-2", "tests.yaml"), "utf8");
  expect(tests).toMatch(/tool: shell\n {2}arguments:\n {4}script: ls \| wc -l\n {2}expect: ask\n/);
  const again = await policy("new", join(place, "policy-0"));
  expect(again).toMatchObject({ status: 2, stderr: expect.stringContaining("nothing is replaced") });
  const refused: [string[], RegExp][] = [
    [["--programs", "/bin/sh"], /without a path/],
    [["--hosts", "*"], /every host/],
    [["--packages", "nmp"], /names no package/],
    [["--shell", "perhaps"], /--shell/],
    [["--name", "A"], /--name/],
  ];
  for (const [options, message] of refused) {
    const to = join(place, "refused");
    expect(await policy("new", to, ...options)).toMatchObject({ status: 2, stderr: expect.stringMatching(message) });
    expect(existsSync(to)).toBe(false);
  }
});

test("what could not be loaded again is not written", async () => {
  const to = join(scratch(), "large");
  await expect(writeFolder(to, new Map([["a.cedar", "x".repeat(1_048_577)]]))).rejects.toThrow(/a\.cedar.* bytes/);
  expect(existsSync(to)).toBe(false);
});

test("diff exits with 0 for the same and 1 for others", async () => {
  expect(await policy("diff", DEFAULT, DEFAULT)).toMatchObject({ status: 0, stdout: "they mean the same\n" });
  const { status, stdout } = await policy("diff", DEFAULT, LOCKED_DOWN);
  expect(status).toBe(1);
  expect(stdout).toContain("\n  ~ resources.pids: 512 → 128 (narrower)\n");
  expect(JSON.parse((await policy("diff", LOCKED_DOWN, DEFAULT, "--json")).stdout)).toMatchObject({ same: false });
  expect((await policy("diff", DEFAULT, "/nonexistent")).status).toBe(2);
});
