import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const env = { ...process.env, NO_COLOR: "1" };

function audit(data: string, ...args: string[]) {
  const ended = spawnSync(process.execPath, [ENTRY, "audit", ...args, "--data-dir", data], { encoding: "utf8", env });
  return { ...ended, lines: ended.stdout.split(/\r?\n/).filter((line) => line !== "") };
}

async function dataDirectory(): Promise<string> {
  const data = scratch();
  await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
  await log.append(intent("call-1", { argv: ["curl", "https://files.example.org/a"] }));
  await log.append(event({ host: "files.example.org", port: 443, calls: ["call-1"] }, "connection-opened"));
  await log.append(outcome("call-1", { exitCode: 7 }));
  await log.append({ ...intent("call-2", { argv: ["=cmd|' /C calc'!A0", "\u001b[2J"] }), decision: "deny" });
  await log.append({
    ...intent("call-3"),
    tool: "=HYPERLINK(1)",
    problems: ["=argv is no list", "cwd is no path"],
  });
  return data;
}

test("query shows calls with how they ended, newest first, and says how to go on", async () => {
  const data = await dataDirectory();
  const all = audit(data, "query");
  expect([all.status, all.stderr]).toEqual([0, ""]);
  expect(all.lines).toEqual([
    expect.stringMatching(/ call-3 permit =HYPERLINK\(1\) /),
    expect.stringMatching(/ call-2 deny exec .*/),
    expect.stringMatching(/ call-1 permit exec .*curl.* → ok after 5 ms, exit code 7$/),
  ]);
  expect(all.stdout).not.toContain("\u001b");
  const page = audit(data, "query", "--limit", "2");
  const [, position = ""] = /^there are more: --before (\S+)\n$/.exec(page.stderr) ?? [];
  expect(audit(data, "query", "--limit", "2", "--before", position).lines).toEqual(all.lines.slice(2));
  expect(audit(data, "query", "--exit-code", "7").lines).toEqual(all.lines.slice(2));
  expect(audit(data, "query", "--host", "*.example.org", "--oldest").lines).toEqual([
    expect.stringContaining("call-1"),
    expect.stringContaining("connection-opened"),
  ]);
  const nothing = audit(data, "query", "--text", "absent");
  expect([nothing.status, nothing.lines, nothing.stderr]).toEqual([0, [], "nothing was found\n"]);
});

test("an exit code finds what ended behind its call, whatever else is asked for", async () => {
  const data = await dataDirectory();
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
    await log.append(event({ processId: "proc-1", exitCode: 137, message: "killed" }));
  }
  const { lines } = audit(data, "query", "--exit-code", "137");
  expect(lines).toEqual([expect.stringContaining("process-ended")]);
  expect(audit(data, "query", "--exit-code", "137", "--text", "killed").lines).toEqual(lines);
});

test("as JSON, a call's records are the log's own, and records are its lines", async () => {
  const data = await dataDirectory();
  const log = recordsOf(onlyChain(join(data, "audit")));
  const [call] = audit(data, "query", "--status", "ok", "--json").lines.map((line) => JSON.parse(line));
  expect(call).toEqual({ position: `${log[0]?.chain}/0`, intent: log[0], outcome: log[2] });
  const lines = audit(data, "query", "--records", "--oldest", "--json").lines;
  expect(lines.map((line) => JSON.parse(line))).toEqual(log);
  expect(audit(data, "query", "--kind", "event", "--json").lines).toHaveLength(1);
  expect(lines.join("")).not.toContain("\u001b");
});

test("with --gateway there is what that gateway wrote, and nothing of another", async () => {
  const data = await dataDirectory();
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-other" });
    await log.append(intent("call-4"));
  }
  expect(audit(data, "query", "--gateway", "gw-other").lines).toEqual([expect.stringContaining(" call-4 permit ")]);
  expect(audit(data, "query", "--gateway", "gw-test", "--tool", "exec").lines).toHaveLength(2);
  expect(audit(data, "query", "--gateway", "gw-nobody").stderr).toBe("nothing was found\n");
});

test("a spreadsheet finds no formula and no control character in what an agent chose", async () => {
  const data = await dataDirectory();
  const { stdout, lines } = audit(data, "query", "--csv");
  expect(lines[0]).toMatch(/^position,time,kind,event,call,/);
  expect(lines).toHaveLength(4);
  expect(stdout).toContain(",'=HYPERLINK(1),");
  expect(stdout).toContain(",main.cedar#exec,'=argv is no list; cwd is no path,");
  expect(stdout).toContain("\r\n");
  expect(stdout).not.toMatch(/(^|,)"?[=+@]/m);
  expect(stdout).not.toContain("\u001b");
});

test("what is asked for in a way that can't be meant is refused with what to give", async () => {
  const data = await dataDirectory();
  for (const [args, why] of [
    [["--since", "yesterday"], /give a date/],
    [["--text", "%"], /no word to look for/],
    [["--host", "a b"], /is no host/],
    [["--decision", "maybe"], /permit, deny, ask, invalid/],
    [["--before", "nowhere"], /no record `nowhere`/],
    [["--limit", "0"], /from 1 to/],
    [["--json", "--csv"], /cannot be used with/],
  ] as const) {
    const { status, stderr } = audit(data, "query", ...args);
    expect([status, stderr]).toEqual([1, expect.stringMatching(why)]);
  }
});

test("a span of time that ends before it begins is refused, and no answer that there is nothing", async () => {
  const data = await dataDirectory();
  const output = join(data, "events.csv");
  for (const [until, ...command] of [
    ["2026-11-20", "query"],
    ["2026-11-21", "stats"],
    ["2026-11-20", "export", "--format", "csv", "-o", output],
  ] as const) {
    const { status, stdout, stderr } = audit(data, ...command, "--since", "2026-11-21", "--until", until);
    expect([status, stdout, stderr]).toEqual([1, "", expect.stringContaining("--until has to be later than --since")]);
  }
  expect(existsSync(output)).toBe(false);
});

test("stats count calls, as a table and as JSON", async () => {
  const data = await dataDirectory();
  const { lines } = audit(data, "stats", "--by", "tool");
  expect(lines[0]).toMatch(/^tool +calls +denied/);
  expect(lines.slice(1, 4).map((line) => line.split(/ {2,}/).slice(0, 3))).toEqual([
    ["exec", "2", "1"],
    ["=HYPERLINK(1)", "1", "0"],
    ["all", "3", "1"],
  ]);
  expect(lines).toContain("connections to");
  expect(JSON.parse(audit(data, "stats", "--by", "host", "--json").stdout)).toMatchObject({
    all: { calls: 3 },
    groups: [{ key: "files.example.org", calls: 1 }],
    hosts: [{ name: "files.example.org", permitted: 1, refused: 0 }],
  });
});

test("stats say how many hosts, packages and groups they do not show", async () => {
  const data = scratch();
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
    for (const n of [1, 2, 3]) await log.append({ ...intent(`call-${n}`), tool: `tool-${n}` });
    for (const n of [1, 2, 3, 4]) await log.append(event({ host: `h${n}.example.org` }, "connection-opened"));
    for (const n of [1, 2]) await log.append(event({ purl: `pkg:npm/p${n}@1.0.0` }, "package-admitted"));
  }
  const { lines } = audit(data, "stats", "--by", "tool", "--top", "1");
  expect(lines.filter((it) => it.startsWith("and "))).toEqual([
    ...["and 2 more: --top 3", "and 3 more: --top 4", "and 1 more: --top 2"],
  ]);
  expect(audit(data, "stats", "--top", "4").stdout).not.toContain("more");
  expect(JSON.parse(audit(data, "stats", "--top", "1", "--json").stdout)).toMatchObject({
    ...{ hostCount: 4, packageCount: 2 },
  });
});

test("stats tell of refusals that the log only counts", async () => {
  const data = scratch();
  {
    await using log = await openAuditLog({ directory: join(data, "audit"), gateway: "gw-test" });
    await log.append(event({ host: "evil.example", port: 443, unrecordedBefore: 936 }, "connection-refused"));
    await log.append(event({ unrecordedBefore: 4 }, "connection-refused"));
  }
  expect(audit(data, "stats").lines.at(-1)).toBe("and 940 refusals that were only counted");
  expect(JSON.parse(audit(data, "stats", "--json").stdout)).toMatchObject({ onlyCounted: 940 });
});

test("without a log nothing is made, and that is told; a damaged index and a damaged line are told of", async () => {
  const empty = scratch();
  expect(audit(empty, "query").stderr).toContain("has no log: is --data-dir right");
  expect(readdirSync(empty)).toEqual([]);
  const data = await dataDirectory();
  audit(data, "query");
  const index = join(data, "audit-index", "index.sqlite");
  expect(existsSync(index)).toBe(true);
  writeFileSync(index, "not an index");
  const segment = join(onlyChain(join(data, "audit")), "000001.jsonl");
  writeFileSync(segment, readFileSync(segment, "utf8").replace("call-2", "call-9"));
  const { stderr, lines } = audit(data, "query");
  expect(stderr).toMatch(/^the index of the audit log is made anew: it is damaged/);
  expect(stderr).toContain("1 line of the audit log is damaged and passed over: `glovebox audit verify` says where");
  expect(lines).toHaveLength(2);
});

test("damage of the index that a question comes upon is mended on the way, and the answer is whole", async () => {
  const data = await dataDirectory();
  const whole = audit(data, "query", "--text", "files");
  expect(whole.lines).not.toEqual([]);
  const database = new DatabaseSync(join(data, "audit-index", "index.sqlite"), { defensive: false });
  database.exec("UPDATE text_data SET block = x'ffffffffffffffff' WHERE id > 10");
  database.close();
  const mended = audit(data, "query", "--text", "files");
  expect([mended.status, mended.lines]).toEqual([0, whole.lines]);
  expect(mended.stderr).toMatch(/^the index of the audit log is made anew: it is damaged \([^\n]*\)\n$/);
  expect(audit(data, "query", "--text", "files").stderr).toBe("");
});

test("a line that was changed after it was indexed is not shown, and --rebuild makes the index anew", async () => {
  const data = await dataDirectory();
  audit(data, "query");
  const segment = join(onlyChain(join(data, "audit")), "000001.jsonl");
  writeFileSync(segment, readFileSync(segment, "utf8").replace("curl", "true"));
  const changed = audit(data, "query", "--call", "call-1");
  expect(changed.stdout).toContain("the log has something else in its place");
  expect(changed.stdout).not.toContain("files.example.org/a");
  const anew = audit(data, "query", "--call", "call-1", "--rebuild", "--records");
  expect(anew.stdout).not.toContain("something else");
  expect(anew.stderr).toContain("1 line of the audit log is damaged");
});

test("help of a command below a command is its own, and a command that there is not is told", () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [ENTRY, ...args], { encoding: "utf8", env });
  expect(run("help", "audit", "query").stdout).toMatch(/^Usage: glovebox audit query /);
  const none = run("help", "nonsense");
  expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("unknown command 'nonsense'")]);
  expect(run("audit", "query", "--nope").stderr).toContain("(--help says what there is)");
});
