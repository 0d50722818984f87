import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { exportLog, newExport } from "../../src/audit/export/export.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { chains, onlyChain, scratch, segments } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { everyEvent } from "../support/audit-records.ts";
import { readCef } from "../support/cef.ts";
import { ocsfProblems } from "../support/ocsf/validate.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");

function run(data: string, ...args: string[]) {
  const env = { ...process.env, NO_COLOR: "1" };
  const argv = [ENTRY, "audit", "export", "--data-dir", data, ...args];
  const ended = spawnSync(process.execPath, argv, { encoding: "utf8", env, maxBuffer: 1 << 28 });
  return { ...ended, lines: ended.stdout.split("\n").filter((line) => line !== "") };
}

const BODIES: readonly RecordBody[] = [
  ...everyEvent(),
  { ...intent("call-1"), decision: "ask" },
  ...everyEvent(),
  outcome("call-1"),
  { ...intent("call-2", { argv: ["echo", "\u2028 \u202e \u0085"] }), sessionId: "ses-2" },
  { ...intent("call-3"), decision: "deny", sessionId: "ses-2" },
];

/** A data directory with two chains of several segments. */
async function dataDirectory(): Promise<string> {
  const data = scratch();
  const directory = join(data, "audit");
  mkdirSync(directory);
  await using one = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 4_000 });
  await using two = await openAuditLog({ directory, gateway: "gw-2", segmentBytes: 4_000 });
  for (const body of BODIES) await one.append(body);
  await two.append(intent("call-4"));
  return data;
}

/** Its lines, as they stand in the files. */
function linesOf(data: string): string[] {
  const directory = join(data, "audit");
  return chains(directory)
    .sort()
    .flatMap((chain) =>
      segments(join(directory, chain)).map((name) => readFileSync(join(directory, chain, name), "utf8")),
    )
    .flatMap((text) => text.split("\n").filter((line) => line !== ""));
}

test("jsonl is the log's own lines, chain by chain, byte for byte", async () => {
  const data = await dataDirectory();
  const { stdout, status, stderr } = run(data, "--format", "jsonl");
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toBe(`${linesOf(data).join("\n")}\n`);
  const copy = scratch();
  const file = join(copy, "000001.jsonl");
  // The first chain's part is a chain that verifies.
  const [first] = linesOf(data);
  const chain = JSON.parse(first ?? "").chain;
  writeFileSync(
    file,
    linesOf(data)
      .filter((it) => JSON.parse(it).chain === chain)
      .map((it) => `${it}\n`)
      .join(""),
  );
  const verified = spawnSync(process.execPath, [ENTRY, "audit", "verify", file], { encoding: "utf8" });
  expect([verified.status, verified.stdout]).toEqual([0, expect.stringContaining("the log is whole")]);
});

test("ocsf is one sound event a line, and every record has one of its id", async () => {
  const data = await dataDirectory();
  const { lines, status } = run(data, "--format", "ocsf", "--with-raw");
  expect(status).toBe(0);
  const events = lines.map((it) => JSON.parse(it));
  expect(events.flatMap(ocsfProblems)).toEqual([]);
  const ids = new Set(events.map((it) => it.metadata.uid));
  expect(ids.size).toBe(events.length);
  const records = linesOf(data).map((it) => JSON.parse(it));
  expect(records.filter((it) => !ids.has(`${it.chain}/${it.seq}`))).toEqual([]);
  expect(events.filter((it) => it.raw_data_hash.value === records[0].hash).map((it) => it.raw_data.length > 0)).toEqual(
    [true],
  );
});

test("cef is one line a record", async () => {
  const data = await dataDirectory();
  const { lines, status } = run(data, "--format", "cef");
  expect(status).toBe(0);
  const records = linesOf(data).map((it) => JSON.parse(it));
  expect(lines.map((it) => readCef(it).fields.get("externalId"))).toEqual(records.map((it) => `${it.chain}/${it.seq}`));
});

test("a session and a span of time are all that is exported of, told with what was before", async () => {
  const data = await dataDirectory();
  const calls = run(data, "--format", "jsonl", "--session", "ses-2").lines.map((it) => JSON.parse(it).body.callId);
  expect(calls).toEqual(["call-2", "call-3"]);
  const records = linesOf(data).map((it) => JSON.parse(it));
  const at = records.find((it) => it.body.kind === "outcome").time;
  const since = run(data, "--format", "cef", "--since", at).lines.map(readCef);
  expect(since.find((it) => it.header[3] === "outcome.ok")?.fields.get("suser")).toBe("local:ada");
  const before = run(data, "--format", "jsonl", "--until", at).lines.map((it) => JSON.parse(it));
  expect(before).toEqual(records.filter((it) => it.time < at));
  expect(run(data, "--format", "jsonl", "--session", "nobody")).toMatchObject({ status: 0, stdout: "" });
});

test("an interrupted call belongs to the session of its intent", async () => {
  const data = scratch();
  const directory = join(data, "audit");
  mkdirSync(directory);
  await using log = await openAuditLog({ directory, gateway: "gw-1" });
  await log.append(intent("call-1"));
  await log.append({ kind: "outcome", callId: "call-1", status: "interrupted", durationMs: 0, facts: {} });
  const lines = run(data, "--format", "jsonl", "--session", "ses-1").lines.map((it) => JSON.parse(it).body.kind);
  expect(lines).toEqual(["intent", "outcome"]);
});

test("damaged lines are passed over, counted and named, and the exit code is 1", async () => {
  const data = await dataDirectory();
  const directory = join(data, "audit");
  const chain = chains(directory).sort()[0] ?? "";
  const file = join(directory, chain, "000001.jsonl");
  const [first = "", second = "", ...rest] = readFileSync(file, "utf8").split("\n");
  writeFileSync(file, [first, second.replace('"seq":1', '"seq":9'), "\u001b[31mno record", ...rest].join("\n"));
  const { status, stderr, lines } = run(data, "--format", "jsonl");
  expect(status).toBe(1);
  expect(stderr.split("\n").slice(0, 3)).toEqual([
    "warning: 2 damaged lines were passed over; see `glovebox audit verify`",
    expect.stringContaining(`${chain}/000001.jsonl:2: `),
    expect.stringContaining(`${chain}/000001.jsonl:3: `),
  ]);
  expect(lines.length).toBe(linesOf(data).length - 2);
});

test("half a line is damage, unless a gateway is writing it", async () => {
  const data = scratch();
  const directory = join(data, "audit");
  mkdirSync(directory);
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    await log.append(event({}));
    appendFileSync(join(onlyChain(directory), "000001.jsonl"), '{"body":');
    expect(run(data, "--format", "jsonl")).toMatchObject({ status: 0, stderr: "" });
  }
  const copy = scratch();
  cpSync(directory, join(copy, "audit"), { recursive: true });
  appendFileSync(join(onlyChain(join(copy, "audit")), "000001.jsonl"), '{"body":');
  expect(run(copy, "--format", "jsonl")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("1 damaged line"),
  });
});

test("a file appears whole, is its owner's alone, and replaces nothing without --force", async () => {
  const data = await dataDirectory();
  const out = scratch();
  const file = join(out, "events.ndjson");
  const made = run(data, "--format", "jsonl", "--output", file);
  expect([made.status, made.stdout]).toEqual([0, ""]);
  expect(made.stderr).toMatch(/^\d+ lines of \d+ records \(\d+ read, in 2 chains\)\n$/);
  expect(readFileSync(file, "utf8")).toBe(`${linesOf(data).join("\n")}\n`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  writeFileSync(file, "kept");
  const refused = run(data, "--format", "jsonl", "-o", file);
  expect([refused.status !== 0, refused.stderr]).toEqual([true, expect.stringContaining("--force")]);
  expect(readFileSync(file, "utf8")).toBe("kept");
  expect(run(data, "--format", "cef", "-o", file, "--force").status).toBe(0);
  expect(readFileSync(file, "utf8")).toMatch(/^CEF:0\|/);
  expect(readdirSync(out)).toEqual(["events.ndjson"]);
});

test("nothing but an ordinary file is replaced, and a failure leaves nothing behind", async () => {
  const data = await dataDirectory();
  const out = scratch();
  mkdirSync(join(out, "folder"));
  symlinkSync(join(out, "folder"), join(out, "link"));
  for (const name of ["folder", "link"]) {
    const { status, stderr } = run(data, "--format", "cef", "-o", join(out, name), "--force");
    expect([status !== 0, stderr]).toEqual([true, expect.stringContaining("not an ordinary file")]);
  }
  expect(run(data, "--format", "cef", "-o", join(out, "absent", "x")).stderr).toContain("cannot be written");
  // A segment that cannot be read ends the export.
  const chain = join(data, "audit", chains(join(data, "audit")).sort()[0] ?? "");
  const past = join(chain, `${String(segments(chain).length + 1).padStart(6, "0")}.jsonl`);
  symlinkSync(join(chain, "000001.jsonl"), past);
  expect(run(data, "--format", "cef", "-o", join(out, "x"))).toMatchObject({
    stderr: expect.stringContaining("cannot be read"),
  });
  expect(readdirSync(out).sort()).toEqual(["folder", "link"]);
});

test("an argument that does not fit is refused, with what to do", async () => {
  const data = scratch();
  for (const [args, said] of [
    [["--format", "xml"], "jsonl, ocsf, cef"],
    [[], "--format"],
    [["--format", "cef", "--with-raw"], "--format ocsf"],
    [["--format", "cef", "--force"], "--output"],
    [["--format", "cef", "--since", "yesterday"], "2026-11-21"],
  ] as const) {
    const { status, stderr } = run(data, ...args);
    expect([status !== 0, stderr]).toEqual([true, expect.stringContaining(said)]);
  }
});

test("whoever reads the output may stop", async () => {
  const data = await dataDirectory();
  const child = spawn(process.execPath, [ENTRY, "audit", "export", "--format", "ocsf", "--data-dir", data], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (it) => {
    said += it;
  });
  child.stdout.destroy();
  const [code] = await once(child, "close");
  expect([code, said]).toEqual([0, ""]);
});

test("a log is exported in bounded memory: a piece is a block's lines", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    const bodies = Array.from({ length: 2_000 }, (_, n) => event({ n, text: "x".repeat(1_000) }));
    await Promise.all(bodies.map((it) => log.append(it)));
  }
  const tally = newExport();
  let longest = 0;
  for await (const piece of exportLog(directory, { format: "jsonl" }, tally)) longest = Math.max(longest, piece.length);
  expect(tally).toMatchObject({ chains: 1, exported: 2_000, lines: 2_000, damaged: 0 });
  expect(longest).toBeLessThan(600_000);
});
