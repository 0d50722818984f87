import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { followLog, tailLog } from "../../src/audit/read.ts";
import { chains, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const env = { ...process.env, NO_COLOR: "1" };

function audit(data: string, ...args: string[]) {
  const ended = spawnSync(process.execPath, [ENTRY, "audit", ...args, "--data-dir", data], { encoding: "utf8", env });
  return { ...ended, lines: ended.stdout.split("\n").filter((line) => line !== "") };
}

/** A data directory with a closed log: a session, an answered call, a denied one, over several segments. */
async function dataDirectory(): Promise<string> {
  const data = scratch();
  mkdirSync(join(data, "audit"));
  await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test", segmentBytes: 1_000 });
  await log.append(event({ isolation: "first" }, "session-opened"));
  await log.append(event({ why: "idle" }, "session-closed"));
  await log.append(event({ isolation: "second" }, "session-opened"));
  await log.append(intent("call-1"));
  await log.append(event({ why: "out of memory" }, "session-lost"));
  await log.append(outcome("call-1", { exitCode: 7 }));
  await log.append(event({ isolation: "third" }, "session-opened"));
  await log.append({ ...intent("call-2"), decision: "deny", sessionId: "ses-2" });
  await log.append(event({ isolation: "fourth" }, "session-opened"));
  return data;
}

test("[G7] verify: exit code 0 for a whole log, 1 and the place for a damaged one", async () => {
  const data = await dataDirectory();
  const whole = audit(data, "verify");
  expect([whole.status, whole.lines.at(-1)]).toEqual([
    0,
    expect.stringMatching(/^the log is whole: \d+ records in 1 chain$/),
  ]);
  const chain = onlyChain(join(data, "audit"));
  const path = join(chain, "000002.jsonl");
  writeFileSync(path, readFileSync(path, "utf8").replace("call-1", "call-9"));
  const damaged = audit(data, "verify");
  expect(damaged.status).toBe(1);
  expect(damaged.lines[0]).toMatch(
    /^hash chain-\w+\/000002\.jsonl:\d+ record \d+: its hash is not that of its content$/,
  );
  expect(damaged.lines.at(-1)).toMatch(/^1 problem: /);
  expect(JSON.parse(audit(data, "verify", "--json").stdout)).toMatchObject({
    problemCount: 1,
    problems: [{ kind: "hash", file: "000002.jsonl" }],
  });
  expect(audit(data, "verify", join(chain, "000001.jsonl")).status).toBe(0);
  const missing = audit(data, "verify", join(data, "nothing"));
  expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining("there is none")]);
});

test("show tells a call's story with what happened to its session, before, during and after", async () => {
  const data = await dataDirectory();
  const { stdout, status } = audit(data, "show", "call-1");
  expect(status).toBe(0);
  const order = [
    "session-opened",
    "second",
    "exec was asked for: permit",
    "local:ada",
    "programs may run",
    "session-lost",
  ];
  for (const text of [...order, "out of memory", "ended: ok after 5 ms", '"exitCode": 7', "third"]) {
    expect(stdout).toContain(text);
  }
  const told = stdout.slice(stdout.indexOf("\n\n"));
  expect(order.map((text) => told.indexOf(text))).toEqual(
    order.map((text) => told.indexOf(text)).sort((a, b) => a - b),
  );
  for (const text of ["first", "fourth", "call-2"]) expect(stdout).not.toContain(text);
  expect(audit(data, "show", "call-2").stdout).toContain("nothing was executed");
  expect(audit(data, "show", "call-1", "--json").lines.map((line) => JSON.parse(line).body.kind)).toEqual([
    "event",
    "intent",
    "event",
    "outcome",
    "event",
  ]);
  const unknown = audit(data, "show", "call-\u001b[2J");
  expect(unknown.status).toBe(1);
  expect(unknown.stderr).toContain("the log has no call");
  expect(unknown.stderr).not.toContain("\u001b");
});

test("a line that is damaged is missing from what show and tail tell, and they say so and end with 1", async () => {
  const data = await dataDirectory();
  const chain = onlyChain(join(data, "audit"));
  const path = segments(chain)
    .map((it) => join(chain, it))
    .find((it) => readFileSync(it, "utf8").includes('"kind":"outcome"'));
  writeFileSync(path ?? "", readFileSync(path ?? "", "utf8").replace('"exitCode":7', '"exitCode":0'));
  for (const args of [["show", "call-1"], ["show", "call-1", "--json"], ["tail"]]) {
    const { status, stderr } = audit(data, ...args);
    expect([args, status, stderr]).toEqual([args, 1, expect.stringContaining("1 line of the audit log is damaged")]);
  }
  expect(audit(data, "show", "call-2").status).toBe(0);
});

test("an empty audit directory is no log that is whole", async () => {
  const data = scratch();
  mkdirSync(join(data, "audit"));
  for (const command of ["verify", "status", "tail"]) {
    const { status, stderr } = audit(data, command);
    expect([command, status, stderr]).toEqual([command, 1, expect.stringContaining("has no log")]);
  }
});

test("what is printed into a file that has no room for it is an error", async () => {
  const data = scratch();
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
    for (let n = 0; n < 60; n++) await log.append(event({ n }));
  }
  // In KiB; whoever writes beyond it gets an error, after what there was room for.
  const script = 'ulimit -f 8; trap "" XFSZ; exec "$@" > "$OUT"';
  const args = [
    "-c",
    script,
    "bash",
    process.execPath,
    ENTRY,
    "audit",
    "tail",
    "-n",
    "100",
    "--json",
    "--data-dir",
    data,
  ];
  const ended = spawnSync("bash", args, { encoding: "utf8", env: { ...env, OUT: join(data, "out") } });
  expect([ended.status, ended.stderr]).toEqual([1, expect.stringContaining("EFBIG")]);
});

test("tail names the layer of each policy that decided: ids are the same in many bundles", async () => {
  const data = scratch();
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
    const by = (layer: "organisation" | "user") => ({ id: "rules.cedar#rest", effect: "permit" as const, layer });
    await log.append({ ...intent("call-1"), policies: [by("organisation"), by("user")] });
  }
  expect(audit(data, "tail").stdout).toContain("by organisation:rules.cedar#rest user:rules.cedar#rest");
});

test("tail shows the latest records of all chains, back through segments, by time", async () => {
  const directory = scratch();
  {
    await using one = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 1_500 });
    await using two = await openAuditLog({ directory, gateway: "gw-2", segmentBytes: 1_500 });
    for (let n = 0; n < 40; n++) await (n % 3 === 0 ? one : two).append(event({ n }));
  }
  const all = chains(directory).flatMap((chain) => recordsOf(join(directory, chain)));
  expect(all.length).toBeGreaterThan(40);
  const times = all.map((it) => it.time).sort();
  for (const count of [1, 7, 25, all.length, 1_000]) {
    const { entries } = await tailLog(directory, count);
    expect(entries.map((it) => it.record.time)).toEqual(times.slice(-count));
    expect(new Set(entries.map((it) => it.record.hash)).size).toBe(entries.length);
  }
});

test("tail looks at so many bytes of a chain, over all its segments, and tells when that is not enough", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 1_500 });
    for (let n = 0; n < 40; n++) await log.append(event({ n }));
  }
  const all = recordsOf(onlyChain(directory));
  const bytes = (entries: readonly { text: string }[]) => entries.reduce((sum, it) => sum + it.text.length + 1, 0);
  const whole = await tailLog(directory, 1_000);
  expect([whole.entries.length, whole.isCut]).toEqual([all.length, false]);
  for (const maxBytes of [100, 1_000, 4_000, 9_000]) {
    const { entries, isCut, cursors } = await tailLog(directory, 1_000, maxBytes);
    expect(isCut).toBe(true);
    expect(bytes(entries)).toBeLessThanOrEqual(maxBytes);
    expect(entries).toEqual(entries.length === 0 ? [] : whole.entries.slice(-entries.length));
    // As many as there is room for.
    expect(bytes(whole.entries.slice(-entries.length - 1))).toBeGreaterThan(maxBytes);
    expect(cursors).toEqual(whole.cursors);
  }
  expect((await tailLog(directory, 3, 4_000)).isCut).toBe(false);
});

test("following reads each record once, over new segments and in chains that are made meanwhile", async () => {
  const directory = scratch();
  await using one = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 2_000 });
  await one.append(event({ n: -1 }));
  const { entries, cursors } = await tailLog(directory, 10);
  expect(entries).toHaveLength(1);
  const stop = new AbortController();
  const write = async () => {
    for (let n = 0; n < 50; n++) await one.append(event({ n }));
    await using two = await openAuditLog({ directory, gateway: "gw-2", segmentBytes: 2_000 });
    for (let n = 50; n < 100; n++) await two.append(event({ n }));
  };
  const written = write();
  const seen: number[] = [];
  for await (const { record } of followLog(directory, cursors, { signal: stop.signal })) {
    const { body } = record;
    if (body.kind === "event" && body.event === "process-ended") seen.push((body.facts as { n: number }).n);
    if (seen.length === 100) stop.abort();
  }
  await written;
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
});

test("tail --follow prints what another process writes; a reader that goes away ends it quietly", async () => {
  const data = await dataDirectory();
  const child = spawn(process.execPath, [ENTRY, "audit", "tail", "-n", "1", "--follow", "--data-dir", data], {
    stdio: ["ignore", "pipe", "pipe"],
    env,
  });
  const errors: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  const ended = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toContain("fourth");
  await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-next" });
  await log.append(event({ fresh: "fifth" }));
  expect((await lines.next()).value).toContain("fifth");
  child.stdout.destroy();
  // It learns of it when it next has something to say.
  const writing = setInterval(() => void log.append(event({ more: 1 })), 50);
  const [code] = await ended;
  clearInterval(writing);
  expect([code, Buffer.concat(errors).toString()]).toEqual([0, ""]);
});

test("what an agent wrote reaches the terminal without control characters", async () => {
  const data = scratch();
  mkdirSync(join(data, "audit"));
  const hostile = "a\u001b[2Jb\u009b31mc\u202ed\u2066e\rf\u0007g\u2028h";
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
    const body = intent("call-1", { argv: [hostile] });
    await log.append({ ...body, tool: hostile, problems: [hostile], principal: { ...body.principal, id: hostile } });
    await log.append({ ...outcome("call-1", { [hostile]: hostile }), status: "error", code: hostile });
    await log.append(event({ hostile }));
  }
  const raw = recordsOf(onlyChain(join(data, "audit")));
  for (const args of [["tail"], ["tail", "--json"], ["show", "call-1"], ["show", "call-1", "--json"]]) {
    const { stdout, lines } = audit(data, ...args);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
    if (args.includes("--json")) expect(raw).toEqual(expect.arrayContaining(lines.map((line) => JSON.parse(line))));
  }
});
