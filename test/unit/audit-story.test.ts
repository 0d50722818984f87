import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import type { EventBody, Json, RecordBody } from "../../src/audit/record.ts";
import { storyOf } from "../../src/audit/story.ts";
import { storyLines } from "../../src/cli/audit-story.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { audit } from "../support/audit-command.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours, where the tests have a terminal
const ANSI = /\u001b\[[0-9;]*m/g;

async function written(...bodies: readonly RecordBody[]): Promise<string> {
  const directory = join(scratch(), "audit");
  await using log = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 3_000 });
  for (const body of bodies) await log.append(body);
  return directory;
}

async function toldOf(directory: string, id: string) {
  const story = await storyOf(directory, id);
  if (!story) throw new Error(`no story of ${id}`);
  const text = storyLines(story).join("\n").replaceAll(ANSI, "");
  const [head = ""] = text.split("\n\n");
  return {
    ...story,
    text,
    head,
    kinds: story.entries.map(({ record: { body } }) => (body.kind === "event" ? body.event : body.kind)),
  };
}

function of(callId: string, name: EventBody["event"], facts: Json): EventBody {
  return { ...event(facts, name), callId };
}

const OPENED = {
  ...{ name: "work", machineId: "mach-1" },
  machine: { engine: "qemu", engineVersion: "9.2.0", level: "microvm", acceleration: "kvm", start: "template" },
  attestation: { bootId: "boot-1", kernelRelease: "6.12.0" },
};
const TO = { host: "example.org", port: 443, policies: ["net.cedar#docs"], calls: ["call-1"] };

/** A call that a person allowed, with all that can belong to one, among others that it has nothing to do with. */
function whole(): RecordBody[] {
  return [
    event({ version: "1.2.3", pid: 1, user: "ada", host: "laptop" }, "gateway-started"),
    event(OPENED, "session-opened"),
    event({ machineId: "mach-1" }, "session-hibernated"),
    { ...intent("call-1"), decision: "ask" },
    of("call-1", "approval-requested", { approvalId: "appr-1", action: "exec" }),
    of("call-1", "approval-refused", { approvalId: "appr-1", why: "invalid", approver: "local:mallory" }),
    of("call-1", "approval-given", {
      approvalId: "appr-1",
      approver: "local:eve",
      channel: "terminal",
      scope: "session",
    }),
    { ...intent("call-2"), decision: "ask" },
    of("call-2", "approval-given", { approvalId: "appr-1", approver: "local:eve", channel: "grant", scope: "session" }),
    event({ approvalId: "appr-2", action: "connect" }, "approval-requested"),
    event({ approvalId: "appr-2", approver: "local:eve", channel: "slack", scope: "call" }, "approval-given"),
    event({ connectionId: "conn-1", scheme: "https", ...TO, approvalId: "appr-2" }, "connection-opened"),
    event(
      { connectionId: "conn-2", scheme: "https", ...TO, host: "other.org", calls: ["call-2"] },
      "connection-opened",
    ),
    event({ ...TO, host: "evil.org", reason: "not granted" }, "connection-refused"),
    event(
      { purl: "pkg:npm/left-pad@1.3.0", name: "left-pad", version: "1.3.0", calls: ["call-1"] },
      "package-admitted",
    ),
    event({ name: "evil", version: "6.6.6", reason: "malicious", calls: ["call-1"] }, "package-refused"),
    event(
      { connectionId: "conn-1", host: "example.org", port: 443, sentBytes: 7, receivedBytes: 900 },
      "connection-closed",
    ),
    event({ processId: "proc-1", callId: "call-1", endedBy: "exit", exitCode: 3 }, "process-ended"),
    { ...outcome("call-1", { processId: "proc-1" }), durationMs: 70 },
    { ...outcome("call-2"), sessionId: "ses-1" },
    event({ why: "idle" }, "session-closed"),
  ];
}

test("a call's story has its approvals, what went out and came in, its sandbox and its gateway, and no other call's", async () => {
  const { kinds, text, head } = await toldOf(await written(...whole()), "call-1");
  expect(kinds).toEqual([
    ...["gateway-started", "session-opened", "session-hibernated", "intent", "approval-requested", "approval-refused"],
    ...["approval-given", "approval-requested", "approval-given", "connection-opened", "connection-refused"],
    ...["package-admitted", "package-refused", "connection-closed", "process-ended", "outcome", "session-closed"],
  ]);
  expect(text).not.toContain("call-2");
  expect(text).not.toContain("other.org");
  expect(head.split("\n")).toEqual([
    "call call-1",
    "  who       local:ada through test 1.0.0 over stdio, session ses-1",
    '  what      exec {"argv":["true"]}',
    "  decision  ask by main.cedar#exec (programs may run); then allowed for the session by local:eve through terminal",
    "  ended     ok after 70 ms, exit code 3",
    "  out       to example.org:443: 7 bytes sent, 900 received; refused: evil.org:443",
    "  in        packages pkg:npm/left-pad@1.3.0; refused: evil@6.6.6",
    "  sandbox   machine mach-1, qemu 9.2.0, isolation microvm, acceleration kvm, template start, kernel 6.12.0, boot boot-1",
    `  gateway   gw-1, Glovebox 1.2.3, run by ada, on laptop, policy default 1.0.0 sha256:${"a".repeat(64)}`,
  ]);
});

test("a call is told with the names that the client has for it", async () => {
  const trace = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`, tracestate: "vendor=1" };
  const directory = await written({ ...intent("call-1"), requestId: "17", trace }, intent("call-2"));
  expect((await toldOf(directory, "call-1")).text.split("\n")).toEqual(
    expect.arrayContaining([
      "  the client's request 17",
      `  the client's traceparent ${trace.traceparent}`,
      "  the client's tracestate vendor=1",
    ]),
  );
  expect((await toldOf(directory, "call-2")).text).not.toContain("the client's");
});

test("however much a call did, how it ended is told", async () => {
  const refused = Array.from({ length: 1_100 }, (_, n) =>
    event({ ...TO, port: n + 1, reason: "not granted" }, "connection-refused"),
  );
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    await Promise.all([intent("call-1"), ...refused, outcome("call-1")].map((it) => log.append(it)));
  }
  const { head, text } = await toldOf(directory, "call-1");
  expect(head).toContain("ok after 5 ms, exit code 0");
  expect(head).toContain("and 994 more");
  expect(text).toMatch(/there is more than is told/);
});

test("a story that is cut says so, and as JSON is whole", async () => {
  const data = scratch();
  const directory = join(data, "audit");
  const connections = Array.from({ length: 600 }, (_, n) => [
    event({ approvalId: `appr-${n}`, action: "connect" }, "approval-requested"),
    event({ approvalId: `appr-${n}`, approver: "local:eve" }, "approval-given"),
    event({ ...TO, connectionId: `conn-${n}`, approvalId: `appr-${n}` }, "connection-opened"),
    event({ connectionId: `conn-${n}`, host: "example.org", port: 443, sentBytes: 1 }, "connection-closed"),
  ]).flat();
  const others = Array.from({ length: 20 }, (_, n) => [
    of(`call-other-${n}`, "approval-given", { approvalId: "appr-all", scope: "session" }),
    { ...intent(`call-other-${n}`), decision: n === 19 ? ("deny" as const) : ("permit" as const) },
    outcome(`call-other-${n}`),
  ]).flat();
  const bodies = [
    event({ version: "1.2.3" }, "gateway-started"),
    event(OPENED, "session-opened"),
    intent("call-1"),
    ...connections,
    event({ machineId: "mach-1" }, "session-hibernated"),
    event({ connectionId: "conn-x", ...TO, calls: ["call-2"] }, "connection-opened"),
    event({ connectionId: "conn-x" }, "connection-closed"),
    outcome("call-1"),
    event({ why: "idle" }, "session-closed"),
    event(OPENED, "session-opened"),
    ...others,
  ];
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1", segmentBytes: 100_000 });
    await Promise.all(bodies.map((it) => log.append(it)));
  }
  const all = recordsOf(onlyChain(directory)).filter(({ body }) => body.kind !== "event" || body.sessionId === "ses-1");
  const show = async (id: string, ...options: string[]) => await audit("show", id, "--data-dir", data, ...options);
  const json = async (id: string) => {
    const { stdout, stderr } = await show(id, "--json");
    expect(stderr).toBe("");
    return stdout
      .split("\n")
      .filter((it) => it !== "")
      .map((it) => JSON.parse(it));
  };
  expect(await json("ses-1")).toEqual(all);
  const end = all.findIndex(({ body }) => body.kind === "event" && body.event === "session-closed");
  expect(await json("call-1")).toEqual(
    all.slice(0, end + 1).filter(({ body }) => !JSON.stringify(body).includes("conn-x")),
  );
  expect(await json("appr-all")).toEqual(all.filter(({ body }) => body.callId?.startsWith("call-other-")));
  for (const id of ["ses-1", "call-1", "appr-all"]) {
    const { stdout, stderr } = await show(id);
    expect(stdout.split("\n")[1]).toMatch(/^ {2}.*cut.* what is counted below is at least so much$/);
    expect(stderr).toMatch(/^there is more than is told: .*--json/);
  }
  expect((await show("call-other-1")).stderr).toBe("");
});

test("however much a call did, each line of the log is searched a few times and no more", async () => {
  const directory = join(scratch(), "audit");
  const opened = Array.from({ length: 400 }, (_, n) =>
    event({ connectionId: `conn-${n}`, ...TO }, "connection-opened"),
  );
  const closed = Array.from({ length: 400 }, (_, n) => event({ connectionId: `conn-${n}` }, "connection-closed"));
  const bodies = [intent("call-1"), ...opened, ...closed, outcome("call-1")];
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    await Promise.all(bodies.map((it) => log.append(it)));
  }
  const searches = vi.spyOn(Buffer.prototype, "includes");
  onTestFinished(() => searches.mockRestore());
  const { kinds } = await toldOf(directory, "call-1");
  expect(kinds.filter((it) => it === "connection-closed")).toHaveLength(400);
  expect(searches.mock.calls.length).toBeLessThan(20 * bodies.length);
});

test("a call that came to nothing says so", async () => {
  const directory = await written(
    { ...intent("call-1"), decision: "deny" },
    { ...intent("call-2"), decision: "ask" },
    intent("call-3"),
    { ...intent("call-4"), decision: "ask" },
    of("call-4", "approval-refused", { approvalId: "appr-1", why: "expired" }),
  );
  expect((await toldOf(directory, "call-1")).text).toMatch(/nothing was executed$/);
  expect((await toldOf(directory, "call-2")).text).toContain("a person is asked, or was");
  expect((await toldOf(directory, "call-4")).head).toContain("then expired by nobody");
  expect((await toldOf(directory, "call-4")).text).toMatch(/nothing was executed$/);
});

test("a call that was denied and has an outcome is not said to have come to nothing", async () => {
  const directory = await written({ ...intent("call-1"), decision: "deny" }, outcome("call-1", { exitCode: 0 }));
  const { text } = await toldOf(directory, "call-1");
  expect(text).not.toContain("nothing was executed");
  expect(text).toMatch(/it has an outcome, and nothing on record let it run: run `glovebox audit verify`$/);
});

test("a connection, an approval, a process and a machine each lead to the calls that they are part of", async () => {
  const directory = await written(...whole());
  const connection = await toldOf(directory, "conn-1");
  expect([connection.kind, connection.kinds]).toEqual([
    "connection",
    ["intent", "connection-opened", "connection-closed", "outcome"],
  ]);
  expect(connection.head).toContain("call-1 (exec)");
  const approval = await toldOf(directory, "appr-1");
  expect(approval.kind).toBe("approval");
  expect(approval.head).toContain("call-1 (exec), call-2 (exec)");
  const asked = await toldOf(directory, "appr-2");
  expect(asked.kinds).toContain("connection-opened");
  expect(asked.head).toContain("call-1 (exec)");
  expect(await toldOf(directory, "proc-1")).toMatchObject({
    kind: "process",
    kinds: ["intent", "process-ended", "outcome"],
  });
  expect(await toldOf(directory, "mach-1")).toMatchObject({
    kind: "machine",
    kinds: ["session-opened", "session-hibernated"],
  });
});

test("a session is told in short, a line a record", async () => {
  const { kind, text, entries } = await toldOf(await written(...whole()), "ses-1");
  expect(kind).toBe("session");
  expect(entries.length).toBe(whole().length);
  expect(text).toContain("  calls     2, of which 0 denied");
  expect(text).toContain("approval-given ses-1");
});

test("the deletion of a snapshot by a person is in the story of the call that took it", async () => {
  const directory = await written(
    { ...intent("call-1", { snapshot: "before" }), tool: "snapshotSession" },
    outcome("call-1"),
  );
  {
    await using log = await openAuditLog({ directory, gateway: "gw-2" });
    await log.append(
      event({ id: "snap-0", name: "before", principalId: "local:eve", by: "local:eve" }, "snapshot-deleted"),
    );
    await log.append(
      event({ id: "snap-1", name: "before", principalId: "local:ada", by: "local:ada" }, "snapshot-deleted"),
    );
  }
  const { entries } = await toldOf(directory, "call-1");
  expect(entries.at(-1)?.record.body).toMatchObject({ event: "snapshot-deleted", facts: { id: "snap-1" } });
  expect((await toldOf(directory, "snap-1")).kind).toBe("snapshot");
});

test("what an agent writes into its arguments makes a call part of no other's story", async () => {
  const directory = await written(
    intent("call-1"),
    outcome("call-1"),
    intent("call-2", { argv: ["call-1"], calls: ["call-1"], callId: "call-1", approvalId: "appr-9" }),
  );
  expect((await toldOf(directory, "call-1")).kinds).toEqual(["intent", "outcome"]);
  expect(await storyOf(directory, "appr-9")).toBeUndefined();
});

test("nothing of a story acts on a terminal", async () => {
  const bad = "\u001b[2J\u009b1m\u202e\r";
  const directory = await written(
    event({ ...OPENED, machineId: bad, machine: { engine: bad, warning: bad } }, "session-opened"),
    { ...intent("call-1", { argv: [bad] }), tool: bad, problems: [bad], requestId: bad, decision: "ask" },
    of("call-1", "approval-given", { approvalId: bad, approver: bad, channel: bad, scope: bad }),
    event({ ...TO, connectionId: bad, host: bad }, "connection-opened"),
    event({ name: bad, version: bad, calls: ["call-1"], purl: bad }, "package-admitted"),
    { ...outcome("call-1", { message: bad, endedBy: bad }), status: "error", code: bad },
  );
  for (const id of ["call-1", "ses-1", bad]) {
    const story = await storyOf(directory, id);
    const text = story ? storyLines(story).join("\n").replaceAll(ANSI, "") : "";
    // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
    expect(text).not.toBe("");
  }
});
