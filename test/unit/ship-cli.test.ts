import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { newId } from "../../src/lib/id.ts";
import { loadSettings } from "../../src/settings.ts";
import { userFilePlace } from "../../src/settings-user.ts";
import { onlyChain, scratch } from "../support/audit.ts";
import { openHttpsReceiver } from "../support/https-receiver.ts";
import { testData, writeRecords } from "../support/shipping.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");

/** A data directory, a receiver, and the command line of who has set it up. */
async function stand() {
  const data = testData();
  const authority = await createSessionAuthority();
  const receiver = await openHttpsReceiver(authority);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  const [ca, config] = [join(data.dataDirectory, "ca.pem"), join(data.dataDirectory, "glovebox.yaml")];
  writeFileSync(ca, authority.certificate);
  const sink = `{ name: central, type: https, url: "https://localhost:${receiver.port}/", ca: ${ca} }`;
  writeFileSync(config, `logging:\n  sinks:\n    - ${sink}\n`);
  const audit = async (...args: string[]) => {
    const all = [ENTRY, "audit", ...args, "--data-dir", data.dataDirectory, "--config", config];
    const child = spawn(process.execPath, all, { env: { ...process.env, NO_COLOR: "1" } });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    return { stdout, stderr, status: child.exitCode };
  };
  return { data, receiver, audit };
}

test("ship --once ships all there is, and status says how far it came", async () => {
  const { data, receiver, audit } = await stand();
  await writeRecords(data.auditDirectory, 40);
  const before = await audit("status");
  expect(before.stdout).toMatch(/^log: 40 records in 1 chain, [\d.]+ KiB, from 20\S+Z to 20\S+Z\n/);
  expect(before.stdout).toMatch(
    /\ncentral \(never reached\): behind, 40 records \([\d.]+ KiB\) behind, the oldest \d+ s old\n/,
  );
  expect(before.status).toBe(0);
  const shipped = await audit("ship", "--once");
  expect([shipped.status, shipped.stdout]).toEqual([0, ""]);
  expect(shipped.stderr).toContain("central: current, 40 records confirmed, 0 not yet\n");
  expect(receiver.size()).toBe(40);
  const after = JSON.parse((await audit("status", "--json")).stdout);
  expect(after).toMatchObject({
    log: { chains: 1, records: 40 },
    sinks: [
      { name: "central", target: `localhost:${receiver.port}`, state: "current", delivered: 40, lag: { records: 0 } },
    ],
  });
  const metrics = (await audit("status", "--prometheus")).stdout;
  expect(metrics).toContain('glovebox_sink_state{sink="central",state="current"} 1\n');
  expect(metrics).not.toContain("last_error");
  for (const line of metrics.trimEnd().split("\n")) {
    expect(line).toMatch(
      /^(?:# (?:HELP|TYPE) glovebox_\w+ .+|glovebox_\w+(?:\{\w+="[\w-]+"(?:,\w+="\w+")?\})? [\d.e+]+)$/,
    );
  }
});

test("a sink that never confirmed anything is not said to be current", async () => {
  const { data, audit } = await stand();
  mkdirSync(join(data.auditDirectory, newId("chain")), { recursive: true });
  const shipped = await audit("ship", "--once");
  expect([shipped.status, shipped.stderr]).toEqual([
    0,
    expect.stringContaining("central: unreached, 0 records confirmed, 0 not yet: nothing was ever confirmed"),
  ]);
  const status = await audit("status");
  expect([status.status, status.stdout]).toEqual([
    0,
    expect.stringMatching(
      /\ncentral localhost:\d+: unreached\n.*\n {2}nothing was ever confirmed, .*`glovebox doctor`/,
    ),
  ]);
  expect(JSON.parse((await audit("status", "--json")).stdout)).toMatchObject({ sinks: [{ state: "unreached" }] });
  expect((await audit("status", "--prometheus")).stdout).toContain('{sink="central",state="unreached"} 1\n');
});

test("where the log can't say how far behind a sink is, the status says that it is unknown", async () => {
  const { data, audit } = await stand();
  await writeRecords(data.auditDirectory, 4);
  rmSync(join(onlyChain(data.auditDirectory), "head"));
  expect((await audit("status")).stdout).toMatch(
    /\ncentral \(never reached\): behind, at least 0 records \(0\.0 KiB\) behind, the oldest of unknown age\n/,
  );
  expect((await audit("status", "--prometheus")).stdout).toContain('glovebox_sink_lag_seconds{sink="central"} +Inf\n');
});

test("a receiver that stays away makes both end with 1, and the reason", async () => {
  const { data, receiver, audit } = await stand();
  await writeRecords(data.auditDirectory, 4);
  await receiver.stop();
  const shipped = await audit("ship", "--once");
  expect(shipped.status).toBe(1);
  expect(shipped.stderr).toMatch(/central: failing, 0 records confirmed, 4 not yet: .* did not answer: .*ECONNREFUSED/);
  const status = await audit("status");
  expect(status.status).toBe(1);
  expect(status.stdout).toMatch(/central localhost:\d+: failing, 4 records/);
  expect(status.stdout).toMatch(/last error at \S+, 5 in a row: .*ECONNREFUSED/);
  // What collects metrics is to have them all the more.
  expect((await audit("status", "--prometheus")).status).toBe(0);
  const at = Date.parse(/last error at (\S+),/.exec(status.stdout)?.[1] ?? "") / 1000;
  expect((await audit("status", "--prometheus")).stdout).toContain(
    `# TYPE glovebox_sink_last_error_timestamp_seconds gauge\nglovebox_sink_last_error_timestamp_seconds{sink="central"} ${at}\n`,
  );
});

test("where there is no log, nothing was shipped, and nothing is up to date", async () => {
  const { audit } = await stand();
  for (const args of [["ship", "--once"], ["status"], ["status", "--prometheus"]]) {
    const { status, stdout, stderr } = await audit(...args);
    expect([args, status, stdout]).toEqual([args, 1, ""]);
    expect(stderr).toMatch(/there is none|--data-dir/);
  }
});

test("a sink that failed is said to have succeeded since only when it has", async () => {
  const { data, audit } = await stand();
  await writeRecords(data.auditDirectory, 1);
  mkdirSync(data.sinkDirectory, { recursive: true });
  const report = { version: 1, pid: 1, failures: 0, stopped: [], notes: [] };
  const lastError = { message: "away", time: "2026-01-02T00:00:00.000Z" };
  for (const [lastSuccess, since] of [
    ["2026-01-01T00:00:00.000Z", ""],
    ["2026-01-03T00:00:00.000Z", ", and it succeeded since"],
  ] as const) {
    writeFileSync(join(data.sinkDirectory, "status.json"), JSON.stringify({ ...report, lastSuccess, lastError }));
    expect((await audit("status")).stdout).toContain(`last error at 2026-01-02T00:00:00.000Z${since}: away\n`);
  }
});

test("a sink that nobody configured is named as such", async () => {
  const { audit } = await stand();
  const other = await audit("ship", "--once", "--sink", "other");
  expect([other.status, other.stderr]).toEqual([1, expect.stringContaining("no sink `other`; configured: `central`")]);
});

test("glovebox.yaml names sinks strictly, each with a name of its own", async () => {
  const home = scratch();
  const load = (yaml: string) => {
    mkdirSync(join(home, ".config", "glovebox"), { recursive: true });
    writeFileSync(join(home, ".config", "glovebox", "glovebox.yaml"), yaml);
    const places = {
      systemDirectory: join(home, "etc"),
      user: userFilePlace(undefined, {}, home),
      defaultPolicy: "/p",
    };
    return loadSettings(places);
  };
  const sink = (name: string) => `    - { name: ${name}, type: https, url: "https://logs.example.com/" }\n`;
  expect((await load("")).sinks).toEqual([]);
  expect((await load(`logging:\n  sinks:\n${sink("a")}${sink("b")}`)).sinks.map(({ name }) => name)).toEqual([
    "a",
    "b",
  ]);
  await expect(load(`logging:\n  sinks:\n${sink("a")}${sink("a")}`)).rejects.toThrow(
    /yaml:4:\d+: logging\.sinks\.1\.name: is used twice/,
  );
  await expect(load("logging:\n  sinks: [{ name: a, type: carrier-pigeon }]\n")).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
  await expect(load("logging:\n  sink: []\n")).rejects.toThrow("correct its spelling");
});
