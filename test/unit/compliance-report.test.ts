import { execFile, spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import canonicalize from "canonicalize";
import { parse } from "parse5";
import { expect, test } from "vitest";
import { sealLine } from "../../src/audit/line.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { signedBy } from "../../src/audit/proof/note.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { complianceCommand } from "../../src/cli/compliance.ts";
import { CHECK_IDS, CHECKS } from "../../src/compliance/checks.ts";
import { loadFrameworks } from "../../src/compliance/framework.ts";
import { gather } from "../../src/compliance/gather.ts";
import { startPolicies } from "../../src/compliance/policies.ts";
import { htmlReport } from "../../src/compliance/render/html.ts";
import { markdownReport } from "../../src/compliance/render/markdown.ts";
import { needsAttention, type Report, reportOf } from "../../src/compliance/report.ts";
import { createLog } from "../../src/log.ts";
import { openInspectionDoor } from "../../src/session/inspection-door.ts";
import { chains, onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { makeSignedLog } from "../support/audit-signed.ts";
import { truncated } from "../support/audit-truncate.ts";
import { BUNDLE, decided, inspected, opened, STARTED, STORY, told } from "../support/compliance.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const ENTRY = join(ROOT, "bin", "glovebox.js");
const frameworks = await loadFrameworks(join(ROOT, "compliance"), CHECK_IDS);
const HOSTILE =
  "<script>alert(1)</script>|`x` ](javascript:alert(1)) [a](javascript:b) <img src=x onerror=alert(1)> **b** \u001b[31m\u202e\n# h\n&amp; http://evil.example www.evil.example a@evil.example";

// biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;
// What shows as markup, unescaped.
const BARE = [/<(?!https:)/, /(?<!\\)\]\(/, /\bhttp:\/\/evil/, /\bwww\.evil/, /a@evil/, /^# h/m];

async function logOf(...stories: readonly (readonly RecordBody[])[]): Promise<string> {
  const directory = join(scratch(), "audit");
  mkdirSync(directory);
  const logs = await Promise.all(
    stories.map(() => openAuditLog({ directory, gateway: "gw-test", segmentBytes: 4_000 })),
  );
  for (const [at, log] of logs.entries()) {
    for (const body of stories[at] ?? []) await log.append(body);
    await log[Symbol.asyncDispose]();
  }
  return directory;
}

async function report(directory: string, window = {}, generatedAt = "2026-11-21T12:00:00.000Z"): Promise<Report> {
  const gathered = await gather(directory, CHECKS, window);
  return reportOf(gathered, CHECKS, frameworks, { generatedAt, version: "0.1.0", window });
}

function glovebox(...args: string[]) {
  return spawnSync(process.execPath, [ENTRY, "compliance", ...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
}

/** Flips a letter in a record in the middle. */
function damage(directory: string): void {
  const path = join(onlyChain(directory), "000002.jsonl");
  const text = readFileSync(path, "utf8");
  const at = text.indexOf("call-", text.length / 2);
  writeFileSync(path, `${text.slice(0, at)}k${text.slice(at + 1)}`);
}

test("a report of a log has all that was read, and a state for each control", async () => {
  const directory = await logOf(STORY);
  const made = await report(directory);
  const records = recordsOf(onlyChain(directory));
  const last = records.at(-1);
  expect(needsAttention(made)).toBe(false);
  expect(made).toMatchObject({
    format: 1,
    glovebox: "0.1.0",
    window: {},
    log: { records: records.length, counted: records.length, verifies: true, from: records[0]?.time, to: last?.time },
    policies: [{ name: "default", version: "1.0.0", digest: `sha256:${"a".repeat(64)}` }],
    earlierPolicies: 0,
    checkpoints: [],
    contradicted: [],
  });
  expect(made.log.chains).toMatchObject([
    { last: { seq: last?.seq, hash: last?.hash }, problemCount: 0, isWhole: true },
  ]);
  const states = made.frameworks.map((it) => [it.id, it.controls.map(({ id, state }) => `${id} ${state}`)]);
  expect(Object.fromEntries(states)).toMatchSnapshot();
  for (const { chain, seq, hash, time } of made.checks.flatMap((it) => it.examples)) {
    const found = records.find((it) => it.seq === seq);
    expect({ chain, hash, time }).toEqual({ chain: found?.chain, hash: found?.hash, time: found?.time });
  }
});

test("the same log gives the same report but for when it was made", async () => {
  const directory = await logOf(STORY, [STARTED, decided("call-b", "permit")]);
  const [one, two] = [await report(directory), await report(directory, {}, "2027-01-01T00:00:00.000Z")];
  expect({ ...two, generatedAt: one.generatedAt }).toEqual(one);
  for (const render of [htmlReport, markdownReport]) {
    expect(render(two).replaceAll(two.generatedAt, one.generatedAt)).toBe(render(one));
  }
});

test("only what is on record in the time that is asked for counts", async () => {
  const directory = await logOf(STORY);
  const [first] = recordsOf(onlyChain(directory));
  const startMs = Date.parse(first?.time ?? "");
  const before = await report(directory, { untilMs: startMs });
  expect(before.log).toMatchObject({ counted: 0, verifies: true });
  const [whole, ...others] = before.checks.filter((it) => it.state !== "no-data").map((it) => it.id);
  expect([whole, others]).toEqual(["log-verifies", []]);
  const all = await report(directory, { sinceMs: startMs, untilMs: startMs + 3_600_000 });
  expect(all.log.counted).toBe(all.log.records);
  expect(all.window).toEqual({ since: first?.time, until: new Date(startMs + 3_600_000).toISOString() });
});

test("a policy that came into force earlier is named, as long as nothing ended it before the time asked for", async () => {
  const newer = told("policy-loaded", { bundle: { ...BUNDLE, version: "2.0.0" } });
  const stopped = told("gateway-stopped", { why: "the client has gone" });
  const chain = "chain-0000000000123456789abcdef";
  const base = { version: 1, chain, prev: "0".repeat(64), hash: "0".repeat(64) } as const;
  const sinceMs = Date.UTC(2026, 10, 21, 12);
  /** Versions in force, of records a minute apart; the one that is fourth is the first of the time asked for. */
  const inForce = (...records: readonly (readonly [gateway: string, body: RecordBody])[]) => {
    const policies = startPolicies(sinceMs);
    for (const [seq, [gateway, body]] of records.entries()) {
      const atMs = sinceMs + (seq - 3) * 60_000;
      const record = { ...base, gateway, seq, time: new Date(atMs).toISOString(), body };
      policies.see(record, atMs >= sinceMs);
    }
    return policies.all().map((it) => `${it.version}${it.atBeginning ? " at the beginning" : ""}`);
  };
  const call = decided("call-1", "permit");
  const [old, next] = ["gw-1", "gw-2"];
  expect(inForce([old, STARTED], [old, newer], [old, call], [old, call])).toEqual(["2.0.0 at the beginning"]);
  expect(inForce([old, STARTED], [old, call], [old, call], [old, newer])).toEqual(["1.0.0 at the beginning", "2.0.0"]);
  expect(inForce([old, STARTED], [old, call])).toEqual(["1.0.0 at the beginning"]);
  expect(inForce([old, STARTED], [old, call], [old, stopped], [next, STARTED])).toEqual(["1.0.0"]);
  // It died without a word.
  expect(inForce([old, STARTED], [old, call], [old, call], [next, call], [next, newer])).toEqual(["2.0.0"]);

  const directory = await logOf([STARTED, call]);
  const later = await report(directory, { sinceMs: Date.now() + 60_000 });
  expect([later.log.counted, later.policies]).toMatchObject([0, [{ version: "1.0.0", atBeginning: true }]]);
  for (const text of [markdownReport(later), htmlReport(later)]) {
    expect(text).toContain(", the last on record before the time asked for");
  }
  expect((await report(directory)).policies[0]).not.toHaveProperty("atBeginning");
});

test("nothing of a damaged chain counts as evidence, and the report says where the damage is", async () => {
  const directory = await logOf(STORY);
  damage(directory);
  const made = await report(directory);
  expect(needsAttention(made)).toBe(true);
  expect(made.log).toMatchObject({ counted: 0, verifies: false });
  expect(made.policies).toEqual([]);
  expect(made.contradicted).toEqual(["log-verifies"]);
  expect(made.checks.filter((it) => it.id !== "log-verifies").every((it) => it.state === "no-data")).toBe(true);
  for (const text of [markdownReport(made), htmlReport(made)]) {
    expect(text).toMatch(/000002\\?\.jsonl(\\)?:\d+/);
    expect(text.indexOf("Look at this first")).toBeLessThan(text.indexOf("What was read"));
    expect(text).toContain("nothing of it counts as evidence");
  }
});

test("what was removed by rule is no damage, and the report says that it is gone", async () => {
  const log = await makeSignedLog(12);
  await truncated(log, 2);
  const made = await report(log.directory);
  expect(made.log).toMatchObject({ verifies: true, chains: [{ isWhole: true }] });
  expect(made.contradicted).toEqual([]);
  const { records } = made.log.chains[0]?.truncated ?? {};
  expect(records).toBeGreaterThan(0);
  for (const text of [markdownReport(made), htmlReport(made)]) {
    expect(text).toMatch(new RegExp(`verifies; ${records} records from before .* are gone, removed by rule`));
  }
});

test("one chain's damage leaves the evidence of the others", async () => {
  const directory = await logOf(STORY, STORY);
  const [first = ""] = chains(directory);
  rmSync(join(directory, first, "000001.jsonl"));
  const made = await report(directory);
  expect(made.contradicted).toEqual(["log-verifies"]);
  expect(made.checks.find((it) => it.id === "call-intents")).toMatchObject({ state: "found" });
  expect(made.log.chains.map((it) => it.isWhole)).toEqual([false, true]);
});

test("half a record at the end, as a crash leaves it, is told, and the whole ones count", async () => {
  const directory = await logOf(STORY);
  const chain = onlyChain(directory);
  const [last = ""] = made(chain);
  writeFileSync(last, `${readFileSync(last, "utf8")}{"body":`);
  const torn = await report(directory);
  expect(torn.log).toMatchObject({ verifies: false, counted: torn.log.records });
  expect(torn.checks.find((it) => it.id === "call-intents")?.state).toBe("found");
  expect(markdownReport(torn)).toContain("Half a record at its end");

  function made(directory: string): string[] {
    const count = new Set(
      recordsOf(directory).filter((it) => it.body.kind === "event" && it.body.event === "segment-started"),
    ).size;
    return [join(directory, `${String(count + 1).padStart(6, "0")}.jsonl`)];
  }
});

test("what the log contradicts comes first, of whichever control, and needs attention", async () => {
  const made = await report(
    await logOf([STARTED, opened({ seccompMode: 0 }), told("session-opened", {}, { sessionId: "ses-2" })]),
  );
  expect(made.contradicted).toEqual(["session-isolation", "container-seccomp"]);
  expect(needsAttention(made)).toBe(true);
  const text = markdownReport(made);
  expect(text.slice(0, text.indexOf("## What was read"))).toContain("there is no seccomp filter");
  const { state } = made.frameworks.flatMap((it) => it.controls).find((it) => it.id === "5.22") ?? {};
  expect(state).toBe("contradicted");
});

const hostile = async () =>
  await report(
    await logOf([
      STARTED,
      decided("call-1", "deny", { tool: HOSTILE, policies: [{ id: HOSTILE, effect: "forbid", reason: HOSTILE }] }),
      decided(HOSTILE, "permit", {
        principal: { id: HOSTILE, client: { name: HOSTILE, version: HOSTILE }, transport: "stdio" },
      }),
      decided("call-3", "invalid", { problems: [HOSTILE] }),
      told("policy-rejected", { code: HOSTILE, message: HOSTILE }),
      told("connection-refused", { host: HOSTILE, port: 443, reason: HOSTILE }),
      told("session-refused", { code: HOSTILE, message: HOSTILE }, { sessionId: HOSTILE }),
      told("policy-loaded", { bundle: { name: HOSTILE, version: HOSTILE, digest: HOSTILE } }),
      opened({ devices: [`/dev/${HOSTILE}`] }, { engine: HOSTILE }, HOSTILE),
    ]),
  );

interface Node {
  readonly nodeName: string;
  readonly attrs?: readonly { readonly name: string; readonly value: string }[];
  readonly childNodes?: readonly Node[];
}

function elements(node: Node): Node[] {
  return [node, ...(node.childNodes ?? []).flatMap(elements)];
}

test("in HTML nothing of a record is markup: no element, attribute or link comes of it", async () => {
  const made = await hostile();
  const found = elements(parse(htmlReport(made)) as Node);
  const known =
    /^(#document|#documentType|#text|html|head|meta|title|style|body|section|h1|h2|h3|p|ul|li|table|tbody|tr|th|td|code|span|a)$/;
  expect(found.map((it) => it.nodeName).filter((it) => !known.test(it))).toEqual([]);
  const attributes = found.flatMap((it) => it.attrs ?? []);
  expect(new Set(attributes.map((it) => it.name))).toEqual(
    new Set(["lang", "charset", "http-equiv", "content", "name", "class", "href", "rel", "id"]),
  );
  const sources = new Set(frameworks.map((it) => it.source));
  const links = attributes.filter((it) => it.name === "href").map((it) => it.value);
  expect(links.filter((it) => !/^#[a-z-]+$/.test(it) && !sources.has(it))).toEqual([]);
  const policy = attributes.find((it) => it.value.includes("default-src"))?.value;
  expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[\w+/]+=*'; base-uri 'none'; form-action 'none'$/);
  expect(htmlReport(made)).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
});

test("in Markdown every character of a record that could begin markup is escaped", async () => {
  const text = markdownReport(await hostile());
  expect(text).toContain(
    "&lt;script&gt;alert(1)&lt;/script&gt;\\|\\`x\\` \\](javascript:alert(1)) \\[a\\](javascript:b)",
  );
  for (const bare of BARE) expect(text).not.toMatch(bare);
  const cells = text.split("\n").filter((it) => it.startsWith("| chain-"));
  expect(cells.map((it) => it.match(/(?<!\\)\|/g)?.length)).toEqual([7]);
});

test("a record that names a chain of its own choice is shown in its directory's chain", async () => {
  const directory = await logOf(STORY);
  const [chain = ""] = chains(directory);
  const path = onlyChain(directory);
  const last = recordsOf(path).at(-1);
  const forged = sealLine(
    { chain: HOSTILE, gateway: "gw-test", time: last?.time ?? "" },
    { seq: last?.seq ?? 0, hash: last?.hash ?? "" },
    canonicalize(STARTED) ?? "",
  );
  appendFileSync(join(path, segments(path).at(-1) ?? ""), forged.line);
  const made = await report(directory);
  expect(made.log).toMatchObject({ verifies: false, chains: [{ last: { chain, seq: forged.position.seq } }] });
  expect(made.checks.flatMap((it) => it.examples).map((it) => it.chain)).toEqual([chain]);
  for (const text of [markdownReport(made), htmlReport(made), JSON.stringify(made, null, 2)])
    expect(text).not.toMatch(CONTROL);
  for (const bare of BARE) expect(markdownReport(made)).not.toMatch(bare);
});

test("in Markdown the place of an example and what was counted are escaped, too", async () => {
  const made = await report(await logOf(STORY));
  const example = { chain: HOSTILE, seq: 1, text: "x" };
  const checks = made.checks.map((it) => ({ ...it, counts: { [HOSTILE]: 1 }, examples: [example] }));
  const text = markdownReport({ ...made, checks, contradicted: [checks[0]?.id ?? ""] });
  for (const bare of BARE.slice(0, -1)) expect(text).not.toMatch(bare);
});

test("no control character, and nothing that turns the direction of text, is in any format", async () => {
  const made = await hostile();
  for (const text of [markdownReport(made), htmlReport(made), JSON.stringify(made, null, 2)]) {
    expect(text).not.toMatch(CONTROL);
    expect(text).not.toMatch(/compliant/i);
  }
});

test("the command prints, writes, lists, and says by its exit code whether to look", async () => {
  const directory = await logOf(STORY);
  const plain = glovebox("report", directory, "--framework", "owasp-agentic-2026");
  expect([plain.status, plain.stderr]).toEqual([0, ""]);
  expect(plain.stdout).toMatch(/^# Evidence from the audit log\n/);
  expect(plain.stdout).toContain("### ASI05 Unexpected Code Execution (RCE)");
  const output = join(scratch(), "report.json");
  const written = glovebox("report", directory, "--framework", "all", "--format", "json", "--output", output);
  expect([written.status, written.stdout]).toEqual([0, ""]);
  expect(JSON.parse(readFileSync(output, "utf8")).frameworks).toHaveLength(frameworks.length);
  damage(directory);
  const damaged = glovebox("report", directory, "--framework", "iso-42001", "--format", "html");
  expect([damaged.status, damaged.stderr]).toEqual([1, expect.stringContaining("the log does not verify")]);
  expect(damaged.stdout).toContain('class="alarm"');
  expect(glovebox("list").stdout.split("\n")).toContainEqual(
    expect.stringMatching(/^nist-800-53 +NIST SP 800-53 Revision 5: 15 controls, 15 with/),
  );
});

test("a signed checkpoint stands in every format as it was signed, so that it can be verified", async () => {
  const { directory, signer } = await makeSignedLog();
  const made = await report(directory);
  const [checkpoint] = made.checkpoints;
  const note = checkpoint?.note ?? "";
  const [, text = ""] = /```text\n([\s\S]*?)\n {2}```/.exec(markdownReport(made)) ?? [];
  const [pre] = elements(parse(htmlReport(made)) as Node).filter((it) => it.nodeName === "pre");
  const inHtml = (pre?.childNodes ?? []).map((it) => ("value" in it ? it.value : "")).join("");
  expect([`${text.replaceAll(/^ {2}/gm, "")}\n`, inHtml]).toEqual([note, note]);
  const [read, ...more] = readSavedCheckpoints(note);
  expect(more).toEqual([]);
  expect(read && signedBy(read.note, signer.key)).toBe("good");
});

test("a note ends its block itself in no format, whatever is in it", async () => {
  const note = "a\n``````\n# h\n<script></pre>\n";
  const made = await report(await logOf([STARTED]));
  const noted = { ...made, checkpoints: [{ chain: "chain-1", seq: 1, hash: "", time: "", note }] };
  expect(markdownReport(noted)).toContain("```````text\n  a\n  ``````\n  # h\n  <script></pre>\n  ```````\n");
  const [pre] = elements(parse(htmlReport(noted)) as Node).filter((it) => it.nodeName === "pre");
  expect(pre?.childNodes?.map((it) => it.nodeName)).toEqual(["#text"]);
});

test("--live asks the gateways that run first, and says what came of it", async () => {
  const data = scratch();
  const directory = join(data, "audit");
  mkdirSync(directory);
  const log = await openAuditLog({ directory, gateway: "gw-test" });
  await log.append(STARTED);
  await log.append(opened());
  const live = ["--framework", "cis-docker-1.6", "--data-dir", data, "--live", "--format", "json"];
  const nobody = glovebox("report", ...live);
  expect([nobody.status, nobody.stderr]).toEqual([0, "no gateway runs: nothing was inspected\n"]);
  const before = JSON.parse(nobody.stdout) as Report;
  expect(before.live).toEqual({ gateways: 0, inspected: 0, notInspected: [], isBlind: false });
  const stateOf = (made: Report, id: string) => made.frameworks[0]?.controls.find((it) => it.id === id)?.state;
  expect(["5.2", "5.4", "5.5", "5.12"].map((id) => stateOf(before, id))).toEqual(["none", "found", "partial", "none"]);

  const home = join(data, "state", "gateways", "gw-1");
  mkdirSync(home, { recursive: true });
  await using _door = await openInspectionDoor({
    home,
    inspect: async () => {
      await log.append(inspected({ appArmorProfile: "" }));
      return [
        { sessionId: "ses-1", state: "inspected", weaker: [] },
        { sessionId: "ses-\u001b[2J", state: "hibernated", weaker: [] },
      ];
    },
    log: createLog("silent"),
  });
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [ENTRY, "compliance", "report", ...live]);
  expect(stderr).toBe(
    "gw-1: 1 session inspected\n  not inspected ses-\ufffd[2J: it sleeps on disk, and is not woken for this\n",
  );
  const after = JSON.parse(stdout) as Report;
  const told = "ses-\ufffd[2J: it sleeps on disk, and is not woken for this";
  const seen = { gateways: 1, inspected: 1, notInspected: [told], isBlind: false };
  expect(after.live).toEqual(seen);
  expect(htmlReport(after)).toContain("asked for; gateways: 1; sessions inspected: 1; not inspected: ses-");
  expect([seen, { ...seen, isBlind: true }].map((it) => needsAttention({ ...after, live: it }))).toEqual([false, true]);
  // The machine that we ship has no AppArmor: no evidence is what the report has to say of it.
  expect(["5.2", "5.4", "5.5", "5.12"].map((id) => stateOf(after, id))).toEqual(["none", "found", "found", "found"]);
  expect(after.checks.find((it) => it.id === "container-cpu-limit")?.examples).toMatchObject([{ seq: 2 }]);
  await log[Symbol.asyncDispose]();
});

test("what can't be asked is refused, with what to do", async () => {
  const directory = await logOf(STORY);
  const command = complianceCommand({
    directory: () => directory,
    stateDirectory: () => directory,
    mappings: join(ROOT, "compliance"),
    version: "0.1.0",
  });
  const refusals: readonly (readonly [string[], RegExp])[] = [
    [[directory], /name a framework/],
    [[directory, "--framework", "soc2"], /no framework `soc2`; there are cis-docker-1\.6/],
    [[join(directory, "nothing"), "--framework", "all"], /there is no audit log in/],
    [[directory, "--framework", "all", "--live"], /--live: a copy of a log has no gateways/],
    [["--framework", "all", "--since", "2026-11-21", "--until", "2026-11-20"], /later than/],
  ];
  for (const [args, message] of refusals) {
    const asked = command.parseAsync(["report", ...args], { from: "user" });
    await expect(asked).rejects.toMatchObject({ code: "INVALID_ARGUMENTS", message: expect.stringMatching(message) });
  }
});
