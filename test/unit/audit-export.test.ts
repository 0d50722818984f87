import { spawn, spawnSync } from "node:child_process";
import { hash } from "node:crypto";
import { once } from "node:events";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ExportOptions, exportLog, newExport } from "../../src/audit/export/export.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { exportCommand } from "../../src/cli/audit-export.ts";
import { OutputFile } from "../../src/cli/output-file.ts";
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

/** What an export gives, without a process of its own. */
async function exported(data: string, options: ExportOptions) {
  const tally = newExport();
  let text = "";
  for await (const piece of exportLog(join(data, "audit"), options, tally)) text += piece;
  return { text, tally, lines: text.split("\n").filter((line) => line !== "") };
}

/** Reads RFC 4180. */
function tableOf(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, cell = "", end] of text.matchAll(/("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/g)) {
    rows.at(-1)?.push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end !== ",") rows.push([]);
  }
  return rows.slice(0, -1);
}

/** The command, in this process. */
async function command(data: string, ...args: string[]): Promise<void> {
  const it = exportCommand({ directory: () => join(data, "audit") });
  it.exitOverride().configureOutput({ writeErr: () => undefined });
  await it.parseAsync(args, { from: "user" });
}

test("jsonl is the log's own lines, chain by chain, byte for byte, so that a copy verifies", async () => {
  const data = await dataDirectory();
  const { stdout, status, stderr } = run(data, "--format", "jsonl");
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toBe(`${linesOf(data).join("\n")}\n`);
  const lines = stdout.split("\n").slice(0, -1);
  const chain = JSON.parse(lines[0] ?? "").chain;
  const file = join(scratch(), "000001.jsonl");
  writeFileSync(
    file,
    lines
      .filter((it) => JSON.parse(it).chain === chain)
      .map((it) => `${it}\n`)
      .join(""),
  );
  const copied = await verifyLog(file);
  expect(copied.records).toBe(lines.length - 1);
  // Among the bodies are proofs that prove nothing.
  expect(copied.problems.filter(({ kind }) => kind !== "signature" && kind !== "segment")).toEqual([]);
});

test("ocsf is one sound event a line, and every record has one of its id", async () => {
  const data = await dataDirectory();
  const { lines } = await exported(data, { format: "ocsf", withRaw: true });
  const events = lines.map((it) => JSON.parse(it));
  expect(events.flatMap(ocsfProblems)).toEqual([]);
  const ids = new Set(events.map((it) => it.metadata.uid));
  expect(ids.size).toBe(events.length);
  const records = linesOf(data).map((it) => JSON.parse(it));
  expect(records.filter((it) => !ids.has(`${it.chain}/${it.seq}`))).toEqual([]);
  expect(events.filter((it) => hash("sha256", it.raw_data) !== it.raw_data_hash.value)).toEqual([]);
});

test("what an agent wrote has no control characters in events that are printed", async () => {
  const data = await dataDirectory();
  const { stdout, lines } = run(data, "--format", "ocsf", "--session", "ses-2");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
  expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
  expect(JSON.parse(lines[0] ?? "").api.request.data).toEqual({ argv: ["echo", "\u2028 \u202e \u0085"] });
});

test("csv is a row a record below one of names, and no text of an agent's becomes a formula", async () => {
  const data = scratch();
  const directory = join(data, "audit");
  mkdirSync(directory);
  {
    await using log = await openAuditLog({ directory, gateway: "=gw" });
    await log.append(intent("call-1", { argv: ["=1+1", 'a"b', "two\r\nlines"] }));
    await log.append({ ...outcome("call-1"), facts: { exitCode: 3 } });
  }
  const { text } = await exported(data, { format: "csv" });
  const [header, asked, ended, ...rest] = tableOf(text);
  expect(rest).toEqual([]);
  const of = (row: string[] | undefined, name: string) => row?.[header?.indexOf(name) ?? -1];
  expect([of(asked, "kind"), of(asked, "call"), of(asked, "gateway")]).toEqual(["intent", "call-1", "'=gw"]);
  expect(JSON.parse(of(asked, "arguments") ?? "")).toEqual({ argv: ["=1+1", 'a"b', "two\r\nlines"] });
  expect([of(ended, "kind"), of(ended, "exitCode"), of(ended, "tool")]).toEqual(["outcome", "3", ""]);
});

test("csv names policies with their layer, and says what was wrong with a call", async () => {
  const data = scratch();
  const directory = join(data, "audit");
  mkdirSync(directory);
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    const policies = (["organisation", "user"] as const).map((layer) => ({
      ...{ id: "run.cedar#exec", effect: "forbid" as const, layer },
    }));
    await log.append({ ...intent("call-1"), decision: "deny", policies });
    const problems = ["argv: expected an array", "cwd: =1+1"];
    await log.append({ ...intent("call-2"), decision: "invalid", policies: [], problems });
  }
  const { text } = await exported(data, { format: "csv" });
  const [header, ...rows] = tableOf(text);
  const columns = ["policies", "problems"].map((name) => rows.map((row) => row[header?.indexOf(name) ?? -1]));
  expect(columns).toEqual([
    ["organisation:run.cedar#exec user:run.cedar#exec", ""],
    ["", "argv: expected an array; cwd: =1+1"],
  ]);
});

test("cef is one line a record", async () => {
  const data = await dataDirectory();
  const { lines } = await exported(data, { format: "cef" });
  const records = linesOf(data).map((it) => JSON.parse(it));
  expect(lines.map((it) => readCef(it).fields.get("externalId"))).toEqual(records.map((it) => `${it.chain}/${it.seq}`));
});

test("a session and a span of time are all that is exported of, told with what was before", async () => {
  const data = await dataDirectory();
  const { lines } = await exported(data, { format: "jsonl", session: "ses-2" });
  expect(lines.map((it) => JSON.parse(it).body.callId)).toEqual(["call-2", "call-3"]);
  const records = linesOf(data).map((it) => JSON.parse(it));
  const at = Date.parse(records.find((it) => it.body.kind === "outcome").time);
  const since = (await exported(data, { format: "cef", sinceMs: at })).lines.map(readCef);
  expect(since.find((it) => it.header[3] === "outcome.ok")?.fields.get("suser")).toBe("local:ada");
  const before = (await exported(data, { format: "jsonl", untilMs: at })).lines.map((it) => JSON.parse(it));
  expect(before).toEqual(records.filter((it) => Date.parse(it.time) < at));
  expect((await exported(data, { format: "jsonl", session: "nobody" })).text).toBe("");
});

test("an interrupted call belongs to the session of its intent", async () => {
  const data = scratch();
  await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-1" });
  await log.append(intent("call-1"));
  await log.append({ kind: "outcome", callId: "call-1", status: "interrupted", durationMs: 0, facts: {} });
  const { lines } = await exported(data, { format: "jsonl", session: "ses-1" });
  expect(lines.map((it) => JSON.parse(it).body.kind)).toEqual(["intent", "outcome"]);
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
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    await log.append(event({}));
    appendFileSync(join(onlyChain(directory), "000001.jsonl"), '{"body":');
    expect((await exported(data, { format: "jsonl" })).tally).toMatchObject({ exported: 1, damaged: 0 });
  }
  appendFileSync(join(onlyChain(directory), "000001.jsonl"), '{"body":');
  expect((await exported(data, { format: "jsonl" })).tally).toMatchObject({ exported: 1, damaged: 1 });
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
  await expect(command(data, "--format", "jsonl", "-o", file)).rejects.toThrow("exists; --force replaces it");
  expect(readFileSync(file, "utf8")).toBe("kept");
  await command(data, "--format", "cef", "-o", file, "--force");
  expect(readFileSync(file, "utf8")).toMatch(/^CEF:0\|/);
  expect(readdirSync(out)).toEqual(["events.ndjson"]);
});

test("a file that somebody makes meanwhile is not replaced", async () => {
  const out = scratch();
  const path = join(out, "x");
  {
    await using file = await OutputFile.open(path, { force: false });
    await file.write("mine");
    writeFileSync(path, "theirs");
    await expect(file.commit()).rejects.toThrow("--force");
  }
  expect([readFileSync(path, "utf8"), readdirSync(out)]).toEqual(["theirs", ["x"]]);
});

test("nothing but an ordinary file is replaced, and a failure leaves nothing behind", async () => {
  const data = await dataDirectory();
  const out = scratch();
  mkdirSync(join(out, "folder"));
  symlinkSync(join(out, "folder"), join(out, "link"));
  for (const name of ["folder", "link"])
    await expect(command(data, "--format", "cef", "-o", join(out, name), "--force")).rejects.toThrow("not an ordinary");
  await expect(command(data, "--format", "cef", "-o", join(out, "absent", "x"))).rejects.toThrow("cannot be written");
  // A segment that cannot be read ends the export.
  const chain = join(data, "audit", chains(join(data, "audit")).sort()[0] ?? "");
  const past = join(chain, `${String(segments(chain).length + 1).padStart(6, "0")}.jsonl`);
  symlinkSync(join(chain, "000001.jsonl"), past);
  await expect(command(data, "--format", "cef", "-o", join(out, "x"))).rejects.toThrow("cannot be read");
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
  ] as const)
    await expect(command(data, ...args)).rejects.toThrow(said);
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
