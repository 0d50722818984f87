import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { policyCommand } from "../../src/cli/policy.ts";

const BUNDLES = join(import.meta.dirname, "..", "..", "policies");
const DEFAULT = join(BUNDLES, "default");
const LOCKED_DOWN = join(BUNDLES, "locked-down");

/** Runs the command in this process, where it costs no start of a program; what it prints and its exit code are kept. */
async function policy(...args: readonly string[]) {
  const printed = { stdout: "", stderr: "" };
  const keep = (stream: "stdout" | "stderr") => (text: unknown) => {
    printed[stream] += String(text);
    return true;
  };
  using _log = vi.spyOn(console, "log").mockImplementation((text) => void keep("stdout")(`${text}\n`));
  using _error = vi.spyOn(console, "error").mockImplementation((text) => void keep("stderr")(`${text}\n`));
  using _stdout = vi.spyOn(process.stdout, "write").mockImplementation(keep("stdout"));
  using _stderr = vi.spyOn(process.stderr, "write").mockImplementation(keep("stderr"));
  using exit = vi.spyOn(process, "exit").mockImplementation(() => {
    throw new Error("exit");
  });
  const before = process.exitCode;
  try {
    await policyCommand({ describe: describeCall }).parseAsync(args, { from: "user" });
    return { status: process.exitCode, ...printed };
  } catch (error) {
    if (exit.mock.calls.length === 0) throw error;
    return { status: exit.mock.calls[0]?.[0], ...printed };
  } finally {
    process.exitCode = before;
  }
}

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

test("what could not be answered exits with 2, so that a typing error is no denial", async () => {
  const unanswered: readonly (readonly [readonly string[], RegExp])[] = [
    [["explain", DEFAULT, "exce", "{}"], /there is no tool `exce`/],
    [["explain", DEFAULT, "exec", "{"], /not JSON/],
    [["explain", DEFAULT, "exec", '{"argvs":[]}'], /argvs/],
    [["explain", broken(), "exec", '{"argv":["ls"]}'], /POLICY_INVALID.*rules\.cedar:1:/s],
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
