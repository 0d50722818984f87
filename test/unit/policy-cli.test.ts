import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { policyCommand } from "../../src/cli/policy.ts";
import { runCommand } from "../support/command.ts";

const BUNDLES = join(import.meta.dirname, "..", "..", "policies");
const DEFAULT = join(BUNDLES, "default");
const LOCKED_DOWN = join(BUNDLES, "locked-down");

const policy = (...args: readonly string[]) =>
  runCommand(policyCommand({ load: async () => ({ describe: describeCall }) }), args);

function broken(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-policy-cli-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, "bundle.yaml"), "name: broken\nversion: 1.0.0\n", { mode: 0o644 });
  const text = 'permit (principal, action == Glovebox::Action::"exce", resource);\n';
  writeFileSync(join(directory, "rules.cedar"), text, { mode: 0o644 });
  return directory;
}

test("check and test say that a bundle is valid, and exit with 0", async () => {
  expect(await policy("check", DEFAULT)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(
      /^default 1\.0\.0 is valid: \d+ policies, \d+ tests passed\nsha256:[0-9a-f]{64}\nthe sandbox may reach nothing\npackages: pip:\*, npm:\*, .*, as far as the other rules go\n$/,
    ),
  });
  const { status, stdout } = await policy("test", DEFAULT, "--json");
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ valid: true, name: "default", problems: [] });
});

test("check names every problem with its place, and exits with 1", async () => {
  const directory = broken();
  expect(await policy("check", directory)).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^rules\.cedar:1:\d+: .*exce.*; fix: did you mean .*\n.*not valid: \d+ problem/s),
  });
  const { status, stdout } = await policy("check", directory, "--json");
  expect(status).toBe(1);
  const problem = { file: "rules.cedar", line: 1, column: expect.any(Number), message: expect.any(String) };
  expect(JSON.parse(stdout)).toMatchObject({
    valid: false,
    problems: expect.arrayContaining([expect.objectContaining(problem)]),
  });
});

test("test lists what passed and what failed", async () => {
  const directory = broken();
  writeFileSync(join(directory, "rules.cedar"), "permit (principal, action, resource is Glovebox::Session);\n");
  const failing =
    "- { name: good, tool: listSessions, expect: permit }\n- { name: bad, tool: listSessions, expect: deny }\n";
  writeFileSync(join(directory, "tests.yaml"), failing, { mode: 0o644 });
  expect(await policy("test", directory)).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^passed good\nfailed bad\ntests\.yaml:2:11: test "bad" failed/),
  });
});

test("explain says what is decided and why: 0 permits, 1 denies", async () => {
  expect(await policy("explain", DEFAULT, "exec", '{"argv":["ls"]}')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^permit\n {2}permit by sandbox\.cedar#run \(sandbox\.cedar:\d+\)\n/),
  });
  expect(await policy("explain", DEFAULT, "writeFile", '{"path":"/etc/x","content":""}')).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^deny\n {2}forbid by files\.cedar#own-places-only .*: files may be written.*\n/),
  });
  expect(await policy("explain", LOCKED_DOWN, "shell", '{"script":"ls"}')).toMatchObject({
    status: 1,
    stdout: expect.stringContaining("no policy permits it"),
  });
  const { stdout } = await policy("explain", DEFAULT, "listSessions", "--json");
  expect(JSON.parse(stdout)).toMatchObject({ request: { action: "listSessions" }, decision: { outcome: "permit" } });
});

test("explain says what would be permitted instead, and what each layer makes of a call", async () => {
  const terminal = '{"argv":["git","log"],"terminal":true}';
  const alone = await policy("explain", LOCKED_DOWN, "exec", terminal);
  expect(alone).toMatchObject({
    status: 1,
    stdout: expect.stringContaining("\ninstead: it would be permitted without `terminal`\n"),
  });
  expect(alone.stdout).toContain('\n  argv0         "git"\n');
  const both = await policy("explain", LOCKED_DOWN, "exec", terminal, "--layer", `organisation=${DEFAULT}`);
  expect(both.stdout).toMatch(
    /^deny\n {2}organisation \(default 1\.0\.0\): permit\n {4}permit by sandbox\.cedar#run .*\n {2}user \(locked-down 1\.0\.0\): deny\n/,
  );
  const json = await policy("explain", LOCKED_DOWN, "exec", terminal, "--layer", `team=${DEFAULT}`, "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({
    decision: { outcome: "deny", policies: [{ layer: "user" }] },
    layers: [
      { layer: "team", outcome: "permit" },
      { layer: "user", outcome: "deny" },
    ],
    nearest: { change: { terminal: null }, outcome: "permit" },
  });
});

test("explain tells of policies that ask, and of those in shadow mode", async () => {
  const directory = broken();
  const text = `permit (principal, action, resource is Glovebox::Session);
@id("asks") @outcome("ask") @channels("slack") @reason("publishing is for people")
forbid (principal, action == Glovebox::Action::"exec", resource) when { context.argvPrefixes.contains("[\\"git\\",\\"push\\"]") };
@id("soon") @mode("shadow") @reason("soon") forbid (principal, action == Glovebox::Action::"exec", resource);
`;
  writeFileSync(join(directory, "rules.cedar"), text);
  expect(await policy("explain", directory, "exec", '{"argv":["git","push"]}')).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(
      /^ask\n {2}forbid by rules\.cedar#asks \(rules\.cedar:2\): publishing is for people\n {2}in shadow mode: would deny, by rules\.cedar#soon\n {2}may be allowed by: slack\n/,
    ),
  });
});

test("explain and test know would-be packages", async () => {
  const young = '{"ecosystem":"npm","name":"@acme/x","ageHours":2}';
  expect(await policy("explain", DEFAULT, "package", young)).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/minimumAgeHours .*resource {2,}pkg:npm\/%40acme\/x@1\.0\.0/s),
  });
  expect(await policy("explain", DEFAULT, "package", '{"ecosystem":"npm","name":"x"}')).toMatchObject({ status: 0 });
  expect(await policy("explain", DEFAULT, "package", '{"ecosystem":"npm","name":"../x"}')).toMatchObject({ status: 2 });
});

test("what could not be answered exits with 2, so that a typing error is no denial", async () => {
  const unanswered: readonly (readonly [readonly string[], RegExp])[] = [
    [["explain", DEFAULT, "exce", "{}"], /there is no tool `exce`/],
    [["explain", DEFAULT, "exec", "{"], /not JSON/],
    [["explain", DEFAULT, "exec", '{"argvs":[]}'], /argvs/],
    [["explain", broken(), "exec", '{"argv":["ls"]}'], /POLICY_INVALID.*rules\.cedar:1:/s],
    [["explain", DEFAULT, "exec", '{"argv":["a"]}', "--layer", "boss=x"], /`boss=x` is no layer: write `<name>=<dir>`/],
    [["explain", DEFAULT, "exec", '{"argv":["a"]}', "--layer", `user=${DEFAULT}`], /both stand with the user/],
    [["check", "/nonexistent"], /POLICY_UNREADABLE/],
    [["explain", DEFAULT], /missing required argument/],
    [["check", DEFAULT, "--jsno"], /unknown option/],
  ];
  for (const [args, message] of unanswered) {
    expect({ args, ...(await policy(...args)) }).toMatchObject({
      args,
      status: 2,
      stderr: expect.stringMatching(message),
    });
  }
  expect(await policy("--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("Exit codes:") });
});
