import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { readLine } from "../../src/audit/line.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { type Entry, readChain } from "../../src/audit/read.ts";
import type { IntentBody, RecordBody } from "../../src/audit/record.ts";
import { openOtlpSink } from "../../src/audit/sinks/otlp.ts";
import { otlpSchema } from "../../src/audit/sinks/otlp-settings.ts";
import { type Batch, DeliveryFailed, type Sink, type SinkPorts } from "../../src/audit/sinks/sink.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { onlyChain, scratch } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { type Odd, openOtlpReceiver, partialSuccess } from "../support/otlp-receiver.ts";

type Receiver = Awaited<ReturnType<typeof openOtlpReceiver>>;

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";
const trace = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: "vendor=1" };
const PROTOBUF = { "content-type": "application/x-protobuf" };

let authority: SessionAuthority;
let receiver: Receiver;

beforeAll(async () => {
  authority = await createSessionAuthority();
  receiver = await openOtlpReceiver(authority);
});
afterAll(() => receiver?.[Symbol.asyncDispose]());
beforeEach(async () => {
  await receiver.stop();
  await receiver.start();
  receiver.slow(0);
  for (const list of [receiver.logs, receiver.spans, receiver.asked, receiver.odd]) list.length = 0;
});

const signal = () => AbortSignal.timeout(20_000);

async function openSink(settings: Record<string, unknown> = {}, ports: Partial<SinkPorts> = {}): Promise<Sink> {
  return await openOtlpSink(otlpSchema.parse({ ...receiver.settings, ...settings }), {
    authorities: async () => receiver.authorities,
    secret: (name) => async () => `value of ${name}`,
    hide: (text) => text,
    version: "1.2.3",
    ...ports,
  });
}

/** A real log of these bodies, as its reader gives it. */
async function logOf(bodies: readonly RecordBody[]): Promise<[Entry, ...Entry[]]> {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-1" });
    for (const body of bodies) await log.append(body);
  }
  const [first, ...others] = await Array.fromAsync(readChain(onlyChain(directory), () => true));
  if (!first) throw new Error("the log is empty");
  return [first, ...others];
}

function batchOf(entries: [Entry, ...Entry[]]): Batch {
  return { chain: entries[0].record.chain, entries };
}

/** As shipping does: in order, the same again after a failure. */
async function ship(sink: Sink, entries: readonly Entry[], size = 7, onFailed: (error: unknown) => unknown = () => 0) {
  for (let at = 0; at < entries.length; at += size) {
    const [first, ...others] = entries.slice(at, at + size);
    if (!first) return;
    for (let tries = 1; ; tries += 1) {
      try {
        await sink.deliver(batchOf([first, ...others]), signal());
        break;
      } catch (error) {
        expect(error).toBeInstanceOf(DeliveryFailed);
        if (tries === 20) throw error;
        await onFailed(error);
      }
    }
  }
}

function calls(count: number, of: Partial<IntentBody> = {}): RecordBody[] {
  return Array.from({ length: count }, (_, at) => [
    { ...intent(`call-${at}`, { argv: ["echo", "\u{1f9e4} grüße", "\u0007", "x".repeat(at * 13)] }), ...of },
    event({ calls: [`call-${at}`], host: "example.com" }, "connection-opened"),
    outcome(`call-${at}`),
  ]).flat();
}

/** Of every entry one log, in order, whose body is the line and whose hash is that of the line. */
function expectAll(entries: readonly Entry[]): void {
  expect(receiver.errors).toEqual([]);
  expect(receiver.logs.map((it) => it.attributes["glovebox.record.id"])).toEqual(
    entries.map(({ record }) => `${record.chain}/${record.seq}`),
  );
  for (const [at, { text, record }] of entries.entries()) {
    const log = receiver.logs[at];
    expect(log?.body).toBe(text);
    const read = readLine(Buffer.from(log?.body ?? ""));
    expect(read).toMatchObject({ sound: true, record: { hash: log?.attributes["glovebox.record.hash"] } });
    expect(BigInt(log?.time ?? 0)).toBe(BigInt(Date.parse(record.time)) * 1_000_000n);
  }
}

test("every record arrives once, in order, with a body whose hash can be checked, and every call as a span", async () => {
  const entries = await logOf(calls(40));
  await using sink = await openSink();
  await ship(sink, entries);
  expectAll(entries);
  expect(receiver.spans.map((it) => it.attributes["glovebox.call.id"])).toEqual(
    Array.from({ length: 40 }, (_, at) => `call-${at}`),
  );
  expect(sink.target).toBe(new URL(receiver.settings.url).host);
});

test("a record has the facts by which it is found, and the gateway that wrote it is the resource", async () => {
  const entries = await logOf(calls(1, { requestId: "7" }));
  await using sink = await openSink({ attributes: { "deployment.environment.name": "test", "service.name": "hands" } });
  await ship(sink, entries);
  const [asked, opened, ended] = receiver.logs;
  expect(asked).toMatchObject({ severity: "INFO", eventName: "glovebox.intent" });
  expect(asked?.attributes).toMatchObject({
    "event.name": "glovebox.intent",
    "mcp.method.name": "tools/call",
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "exec",
    "jsonrpc.request.id": "7",
    "mcp.session.id": "gw-1",
    "network.transport": "pipe",
    "user.id": "local:ada",
    "glovebox.client.name": "test",
    "glovebox.decision": "permit",
    "glovebox.policies": ["main.cedar#exec"],
    "glovebox.call.id": "call-0",
    "glovebox.session.id": "ses-1",
    "glovebox.record.seq": 0,
  });
  expect(opened).toMatchObject({ eventName: "glovebox.connection-opened", spanId: asked?.spanId });
  expect(opened?.attributes).toMatchObject({ "glovebox.call.ids": ["call-0"], "server.address": "example.com" });
  expect(ended?.attributes).toMatchObject({ "glovebox.status": "ok", "glovebox.duration_ms": 5 });
  const resource = { "service.name": "hands", "service.instance.id": "gw-1", "deployment.environment.name": "test" };
  const onHost = { ...resource, "host.name": hostname() };
  for (const it of [...receiver.logs, ...receiver.spans]) expect(it.resource).toEqual(onHost);
});

test("nothing is lost when the receiver is away in the middle, and comes back", async () => {
  const entries = await logOf(calls(20));
  await using sink = await openSink();
  await ship(sink, entries.slice(0, 30));
  await receiver.stop();
  let failures = 0;
  await ship(sink, entries.slice(30), 7, async () => {
    failures += 1;
    if (failures === 2) await receiver.start();
  });
  expect(failures).toBe(2);
  expectAll(entries);
});

test("what was kept but not confirmed comes again as it was", async () => {
  const entries = await logOf(calls(4));
  await using sink = await openSink();
  receiver.dropNext();
  await ship(sink, entries);
  expect(await receiver.received()).toHaveLength(entries.length);
  const [first, again] = [receiver.logs.slice(0, 7), receiver.logs.slice(7, 14)];
  expect(again).toEqual(first);
});

test("a receiver that takes its time is waited for, and an abort ends the wait with its reason", async () => {
  const entries = await logOf(calls(1));
  await using sink = await openSink();
  receiver.slow(300);
  await ship(sink, entries);
  expectAll(entries);
  receiver.slow(60_000);
  const stop = new AbortController();
  const asked = receiver.asked.length;
  const delivering = sink.deliver(batchOf(entries), stop.signal);
  await expect.poll(() => receiver.asked.length).toBe(asked + 1);
  stop.abort(new Error("enough"));
  await expect(delivering).rejects.toThrow("enough");
  await expect(sink.deliver(batchOf(entries), stop.signal)).rejects.toThrow("enough");
});

test.each<[string, Odd, RegExp]>([
  [
    "a refusal",
    { status: 401, headers: { "content-type": "text/plain" }, body: "no \u001b[2Jtoken" },
    /401 to logs: no \ufffd\[2Jtoken$/,
  ],
  [
    "a page",
    { status: 200, headers: { "content-type": "text/html" }, body: "<html>sign in" },
    /did not confirm the logs/,
  ],
  ["no type", { status: 200, body: "ok" }, /did not confirm the logs/],
  ["a redirect", { status: 307, headers: { location: "https://example.com/" } }, /redirects are not followed/],
  [
    "bytes that are no answer",
    { status: 200, headers: PROTOBUF, body: Buffer.from([0x0a, 0xff, 0xff]) },
    /can't be read/,
  ],
  ["JSON that is none", { status: 200, headers: { "content-type": "application/json" }, body: "{" }, /can't be read/],
  [
    "JSON of another shape",
    { status: 200, headers: { "content-type": "application/json" }, body: "null" },
    /can't be read/,
  ],
  ["too much", { status: 200, headers: PROTOBUF, body: Buffer.alloc(70_000) }, /more than 65536 bytes/],
  [
    "a partial success",
    { status: 200, headers: PROTOBUF, body: partialSuccess(2, "too \u0007old"), keep: true },
    /refused 2 of the logs: too \ufffdold$/,
  ],
  [
    "a partial success in JSON",
    {
      status: 200,
      headers: { "content-type": "application/json" },
      body: '{"partialSuccess":{"rejectedLogRecords":"1"}}',
    },
    /refused 1 of the logs/,
  ],
])("%s is no confirmation", async (_what, answer, message) => {
  const entries = await logOf(calls(1));
  await using sink = await openSink();
  receiver.odd.push({ path: "/v1/logs", answer });
  const failure = await sink.deliver(batchOf(entries), signal()).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(DeliveryFailed);
  expect(failure).toMatchObject({
    code: "SINK_FAILED",
    message: expect.stringMatching(message),
    retryAfterMs: undefined,
  });
  await ship(sink, entries);
  expect(await receiver.received()).toHaveLength(3);
});

test.each<[string, Odd]>([
  ["an empty answer without a type", { status: 200, keep: true }],
  ["204", { status: 204, keep: true }],
  [
    "an empty object in JSON",
    { status: 200, headers: { "content-type": "application/json; charset=utf-8" }, body: "{}", keep: true },
  ],
  [
    "an empty partial success",
    { status: 200, headers: { "content-type": "application/json" }, body: '{"partialSuccess":{}}', keep: true },
  ],
  ["a warning", { status: 200, headers: PROTOBUF, body: partialSuccess(0, "nearly full"), keep: true }],
])("%s is a confirmation", async (_what, answer) => {
  const entries = await logOf(calls(1));
  await using sink = await openSink();
  receiver.odd.push({ path: "/v1/logs", answer }, { path: "/v1/traces", answer });
  await sink.deliver(batchOf(entries), signal());
  expectAll(entries);
});

test.each([
  ["seconds", "7", 7_000, 7_000],
  ["a date", () => new Date(Date.now() + 60_000).toUTCString(), 30_000, 60_000],
  ["a date that is past", new Date(0).toUTCString(), 0, 0],
  ["an hour, of which shipping keeps to five minutes", "3600", 3_600_000, 3_600_000],
  ["years", "4000000000", 4_000_000_000_000, 4_000_000_000_000],
  ["words", "soon", undefined, undefined],
])("how long to leave the receiver alone is handed on: %s", async (_what, value, least, most) => {
  const entries = await logOf(calls(1));
  await using sink = await openSink();
  for (const status of [429, 503]) {
    const headers = { "retry-after": typeof value === "string" ? value : value() };
    receiver.odd.push({ path: "/v1/logs", answer: { status, headers } });
    const failure = await sink.deliver(batchOf(entries), signal()).catch((error: unknown) => error);
    if (!(failure instanceof DeliveryFailed)) throw failure;
    expect(failure.message).toContain(String(status));
    if (least === undefined) expect(failure.retryAfterMs).toBeUndefined();
    else expect(failure.retryAfterMs).toBeGreaterThanOrEqual(least);
    expect(failure.retryAfterMs ?? 0).toBeLessThanOrEqual(most ?? 0);
  }
});

test("while only the spans are refused, the logs are not sent again", async () => {
  const entries = await logOf(calls(2));
  await using sink = await openSink();
  const failures: unknown[] = [];
  receiver.odd.push({ path: "/v1/traces", answer: { status: 404 } }, { path: "/v1/traces", answer: { status: 503 } });
  await ship(sink, entries, 7, (it) => failures.push(it));
  expect(failures.map(String)).toEqual([
    expect.stringContaining("404 to traces; if it takes no traces, set `traces: false`"),
    expect.stringContaining("503 to traces"),
  ]);
  expectAll(entries);
  expect(receiver.spans).toHaveLength(2);
});

test("while only the spans are refused, the logs of no chain are sent again, however many take turns", async () => {
  const chains = [await logOf(calls(1)), await logOf(calls(1))];
  await using sink = await openSink();
  receiver.odd.push(...Array.from({ length: 4 }, () => ({ path: "/v1/traces", answer: { status: 503 } })));
  for (const entries of [...chains, ...chains]) {
    await expect(sink.deliver(batchOf(entries), signal())).rejects.toThrow("503 to traces");
  }
  for (const entries of chains) await sink.deliver(batchOf(entries), signal());
  expectAll(chains.flat());
  expect(receiver.spans).toHaveLength(2);
});

test("without `traces` there are logs, and their ids of spans, alone", async () => {
  const entries = await logOf(calls(1, { trace }));
  await using sink = await openSink({ traces: false });
  await ship(sink, entries);
  expect(receiver.asked.map((it) => it.path)).toEqual(["/v1/logs"]);
  expect(receiver.logs.map((it) => it.traceId)).toEqual([TRACE, TRACE, TRACE]);
});

test("calls are spans below the caller's own, in its trace", async () => {
  const traced = (callId: string): RecordBody[] => [
    { ...intent(callId), trace, requestId: callId },
    { ...outcome(callId), trace, machineId: "mach-1" },
  ];
  const entries = await logOf([...traced("call-a"), ...traced("call-b"), intent("call-c"), outcome("call-c")]);
  await using sink = await openSink();
  await ship(sink, entries, 3);
  const [a, b, c] = receiver.spans;
  for (const it of [a, b]) {
    expect(it).toMatchObject({ traceId: TRACE, parentSpanId: PARENT, traceState: "vendor=1" });
    expect(it).toMatchObject({ name: "tools/call exec", kind: 2, status: { code: 0 } });
    expect(it?.attributes).toMatchObject({ "glovebox.machine.id": "mach-1", "glovebox.status": "ok" });
    expect(it?.attributes).not.toHaveProperty("error.type");
  }
  expect(a?.spanId).toMatch(/^[0-9a-f]{16}$/);
  expect(a?.spanId).not.toBe(b?.spanId);
  expect(c).toMatchObject({ parentSpanId: "", traceState: "" });
  expect(c?.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(c?.traceId).not.toBe(TRACE);
  expect(receiver.logs.map((it) => it.spanId)).toEqual([a, a, b, b, c, c].map((it) => it?.spanId));
  expect(receiver.logs.map((it) => it.traceId)).toEqual([a, a, b, b, c, c].map((it) => it?.traceId));
});

test("a span lasts from the intent to the end of the call", async () => {
  const entries = await logOf(calls(1));
  await using sink = await openSink();
  await ship(sink, entries);
  const [span] = receiver.spans;
  const nano = (at: number) => BigInt(Date.parse(entries[at]?.record.time ?? "")) * 1_000_000n;
  expect([span?.startNano, span?.endNano]).toEqual([nano(0), nano(2)]);
});

test("calls that were refused, failed or interrupted are spans that say so", async () => {
  const denied = { ...intent("call-denied"), decision: "deny" as const };
  const unfit = { ...intent("call-unfit"), decision: "invalid" as const, tool: "made up \u001b[2J\nby an agent" };
  const ask = (callId: string) => ({ ...intent(callId), decision: "ask" as const });
  const answered = (callId: string, why: string): RecordBody => ({ ...event({ why }, "approval-refused"), callId });
  const failed = { ...outcome("call-failed"), status: "error" as const, code: "MACHINE_LOST" };
  const broken = {
    kind: "outcome" as const,
    callId: "call-cut",
    status: "interrupted" as const,
    durationMs: 0,
    facts: {},
  };
  const entries = await logOf([
    denied,
    unfit,
    ask("call-no"),
    answered("call-no", "invalid"),
    answered("call-no", "denied"),
    ask("call-yes"),
    { ...event({}, "approval-given"), callId: "call-yes" },
    outcome("call-yes"),
    intent("call-failed"),
    failed,
    intent("call-cut"),
    broken,
  ]);
  await using sink = await openSink();
  await ship(sink, entries, 1);
  const told = receiver.spans.map(({ name, status, attributes: of }) => [
    ...[of["glovebox.call.id"], name, status.code, status.message, of["error.type"], of["glovebox.error.code"]],
  ]);
  expect(told).toEqual([
    ["call-denied", "tools/call exec", 2, "denied by policy", "tool_error", undefined],
    ["call-unfit", "tools/call", 2, "the arguments do not fit", "tool_error", undefined],
    ["call-no", "tools/call exec", 2, "refused by a person", "tool_error", undefined],
    ["call-yes", "tools/call exec", 0, "", undefined, undefined],
    ["call-failed", "tools/call exec", 2, "MACHINE_LOST", "tool_error", "MACHINE_LOST"],
    ["call-cut", "tools/call exec", 2, "interrupted", "interrupted", undefined],
  ]);
  expect(receiver.spans[1]?.attributes["gen_ai.tool.name"]).toBe("made up \ufffd[2J by an agent");
  expect(receiver.logs.map((it) => it.severity)).toEqual([
    ...["WARN", "WARN", "INFO", "WARN", "WARN", "INFO", "INFO", "INFO", "INFO", "ERROR", "INFO", "ERROR"],
  ]);
});

test("that central logging has failed is a warning, and that it goes on is none", async () => {
  const weaker = event({ state: "inspected", weaker: ["it is privileged"] }, "session-inspected");
  const entries = await logOf([
    ...[event({}, "logging-failed"), event({}, "logging-recovered"), event({}, "log-recovered"), weaker],
    event({ state: "unseen" }, "session-inspected"),
    event({ state: "inspected", weaker: [] }, "session-inspected"),
  ]);
  await using sink = await openSink();
  await ship(sink, entries);
  expect(receiver.logs.map((it) => it.severity)).toEqual(["WARN", "INFO", "WARN", "ERROR", "WARN", "INFO"]);
});

test("after a restart a call that was open before is the same span, of what its outcome says", async () => {
  const entries = await logOf([
    { ...intent("call-1"), trace },
    { ...outcome("call-1"), trace },
  ]);
  await using before = await openSink();
  await ship(before, entries.slice(0, 1));
  await using after = await openSink();
  await ship(after, entries.slice(1));
  const [span] = receiver.spans;
  expect(span).toMatchObject({ name: "tools/call", traceId: TRACE, parentSpanId: PARENT });
  expect(span?.spanId).toBe(receiver.logs[0]?.spanId);
  expect((span?.endNano ?? 0n) - (span?.startNano ?? 0n)).toBe(5_000_000n);
});

test("a trace that redaction has changed, or that somebody made up, is none", async () => {
  const bad = { traceparent: `00-${"0".repeat(32)}-${PARENT}-01` };
  const entries = await logOf([{ ...intent("call-1"), trace: bad }, outcome("call-1")]);
  await using sink = await openSink();
  await ship(sink, entries);
  expect(receiver.spans[0]?.parentSpanId).toBe("");
  expect(receiver.spans[0]?.traceId).not.toBe("0".repeat(32));
});

test("headers are secrets that are read for each request, and one that can't be had is named without its value", async () => {
  const entries = await logOf(calls(1));
  let reads = 0;
  const secret: SinkPorts["secret"] = (name, source) => async () => {
    reads += 1;
    if (reads > 2) throw new Error("the vault is locked");
    return `${name} ${JSON.stringify(source)} ${reads}`;
  };
  await using sink = await openSink({ headers: { "X-Api-Key": { env: "OTLP_KEY" } } }, { secret });
  await ship(sink, entries);
  expect(receiver.asked.map((it) => it.headers["x-api-key"])).toEqual([
    'telemetry X-Api-Key {"env":"OTLP_KEY"} 1',
    'telemetry X-Api-Key {"env":"OTLP_KEY"} 2',
  ]);
  expect(receiver.asked[0]?.headers["user-agent"]).toBe("glovebox/1.2.3");
  await expect(sink.deliver(batchOf(entries), signal())).rejects.toThrow(
    /^the value of the header `X-Api-Key` can't be had: the vault is locked$/,
  );
});

test("a secret that a receiver sends back is not in what is said of it, not a part of it either", async () => {
  const entries = await logOf(calls(1));
  const value = "k3y-that-nobody-else-may-see";
  const known = createKnownSecrets();
  const secret: SinkPorts["secret"] = (name) => async () => {
    known.add(name, value);
    return value;
  };
  const { hide } = known;
  await using sink = await openSink({ headers: { "X-Api-Key": { env: "OTLP_KEY" } } }, { secret, hide });
  const said = `${"x".repeat(290)} ${value}`;
  for (const answer of [
    { status: 401, headers: { "content-type": "text/plain" }, body: said },
    { status: 200, headers: PROTOBUF, body: partialSuccess(1, said) },
    { status: 200, headers: { "content-type": value }, body: "x" },
  ]) {
    receiver.odd.push({ path: "/v1/logs", answer });
    const failure = await sink.deliver(batchOf(entries), signal()).catch((it: unknown) => it);
    expect(failure).toBeInstanceOf(DeliveryFailed);
    expect(String(failure)).not.toContain("k3y");
  }
});

test("a receiver that wants to speak another protocol does not hold anything up", async () => {
  const entries = await logOf(calls(1));
  await using sink = await openSink();
  const headers = { connection: "Upgrade", upgrade: "websocket" };
  receiver.odd.push({ path: "/v1/logs", answer: { status: 101, headers } });
  await expect(sink.deliver(batchOf(entries), signal())).rejects.toThrow("wants to speak another protocol (101)");
});

test("a value that no header may have is not shown", async () => {
  const entries = await logOf(calls(1));
  const settings = { headers: { authorization: { env: "OTLP_KEY" } } };
  const { port } = new URL(receiver.settings.url);
  const ways: Socket[] = [];
  const through: SinkPorts["through"] = async () => {
    const way = connect(Number(port), "127.0.0.1");
    ways.push(way);
    return way;
  };
  const secret = () => async () => "hunter2\r\nx: y";
  await using sink = await openSink({ ...settings, url: "https://otel.example.com" }, { secret, through });
  const failure = await sink.deliver(batchOf(entries), signal()).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(DeliveryFailed);
  expect(String(failure)).not.toContain("hunter2");
  expect(ways.map((it) => it.destroyed)).toEqual([true]);
  expect(receiver.asked).toEqual([]);
});

test("a server of another authority is told nothing, until its authority is in `ca`", async () => {
  const entries = await logOf(calls(1));
  const other = await createSessionAuthority();
  const ca = join(scratch(), "ca.pem");
  mkdirSync(join(ca, ".."), { recursive: true });
  await using sink = await openSink({ ca }, { authorities: async () => [other.certificate] });
  await expect(sink.deliver(batchOf(entries), signal())).rejects.toThrow(/no certificate to be read in .*ENOENT/);
  writeFileSync(ca, "no certificate");
  await expect(sink.deliver(batchOf(entries), signal())).rejects.toThrow(/no certificate to be read in/);
  writeFileSync(ca, other.certificate);
  await expect(sink.deliver(batchOf(entries), signal())).rejects.toThrow(/did not answer: .*certificate/);
  expect(receiver.asked).toEqual([]);
  writeFileSync(ca, `a comment\n${authority.certificate}`);
  await ship(sink, entries);
  expectAll(entries);
});

test("a certificate is for the name that was meant", async () => {
  const entries = await logOf(calls(1));
  const { port } = new URL(receiver.settings.url);
  const through: SinkPorts["through"] = async () => connect(Number(port), "127.0.0.1");
  // The receiver makes a certificate for whatever name it is asked for: an address has none.
  await using sink = await openSink({ url: `https://192.0.2.1:${port}` }, { through });
  await expect(sink.deliver(batchOf(entries), signal())).rejects.toBeInstanceOf(DeliveryFailed);
  expect(receiver.asked).toEqual([]);
});

test("where a proxy is the only way out, it is taken, with a path below `url`; this computer itself needs none", async () => {
  const entries = await logOf(calls(1));
  const asked: unknown[] = [];
  const { port } = new URL(receiver.settings.url);
  const through: SinkPorts["through"] = async (host, to) => {
    asked.push([host, to]);
    return connect(Number(port), "127.0.0.1");
  };
  await using far = await openSink({ url: "https://otel.example.com/tenant/" }, { through });
  await ship(far, entries);
  expect(asked).toEqual([
    ["otel.example.com", 443],
    ["otel.example.com", 443],
  ]);
  expect(far.target).toBe("otel.example.com:443");
  expect(receiver.asked.map((it) => [it.path, it.headers.host])).toEqual([
    ["/tenant/v1/logs", "otel.example.com"],
    ["/tenant/v1/traces", "otel.example.com"],
  ]);
  await using near = await openSink({}, { through });
  await ship(near, entries);
  expect(asked).toHaveLength(2);
});

test("what is sent is compressed, unless the settings say that it is not to be", async () => {
  const entries = await logOf(calls(50));
  const sent: number[] = [];
  for (const gzip of [true, false]) {
    receiver.asked.length = 0;
    await using sink = await openSink(gzip ? {} : { gzip });
    await ship(sink, entries, entries.length);
    expect(new Set(receiver.asked.map((it) => it.headers["content-encoding"]))).toEqual(
      new Set([gzip ? "gzip" : undefined]),
    );
    sent.push(receiver.asked.reduce((sum, it) => sum + Number(it.headers["content-length"]), 0));
  }
  expect(sent[0]).toBeLessThan((sent[1] ?? 0) / 4);
  const [compressed, plain] = [receiver.logs.slice(0, entries.length), receiver.logs.slice(entries.length)];
  expect(compressed).toEqual(plain);
});

test("the largest batch is smaller than what receivers take by default", async () => {
  await using sink = await openSink({ gzip: false });
  const { records, bytes } = sink.maxBatch;
  const entries = (await logOf(calls(200, { requestId: "x".repeat(100) }))).slice(0, records);
  await ship(sink, entries, records);
  const sent = receiver.asked.map((it) => Number(it.headers["content-length"]));
  const lines = entries.reduce((sum, it) => sum + Buffer.byteLength(it.text), 0);
  expect(lines).toBeLessThan(bytes);
  expect(Math.max(...sent)).toBeLessThan(4 * 1024 * 1024);
});

test.each([
  ["http to another computer", { url: "http://otel.example.com:4318" }, /must be https/],
  ["a host that only looks like this computer", { url: "http://127.0.0.1.example.com" }, /must be https/],
  ["no address", { url: "otel.example.com" }, /must be/],
  ["a password in the address", { url: "https://a:b@example.com" }, /use `headers`/],
  ["a query", { url: "https://example.com/?a=1" }, /must end with its path/],
  ["the whole address", { url: "https://example.com/v1/logs" }, /leave out `\/v1\/logs`/],
  ["a header of the connection", { headers: { "Content-Length": { env: "A" } } }, /header/],
  ["a header of the request", { headers: { "Content-Type": { env: "A" } } }, /header/],
  ["a header twice", { headers: { "x-a": { env: "A" }, "X-A": { env: "A" } } }, /twice/],
  ["a value instead of a source", { headers: { authorization: "Bearer x" } }, /expected object/],
  ["a relative file", { ca: "ca.pem" }, /absolute/],
  ["another gateway's id", { attributes: { "service.instance.id": "gw-2" } }, /Glovebox's own/],
  ["a key of ours", { attributes: { "glovebox.record.id": "x" } }, /Glovebox's own/],
  ["an unknown key", { compression: "gzip" }, /compression/],
])("settings with %s are refused", (_what, settings, message) => {
  const parsed = otlpSchema.safeParse({ ...receiver.settings, ...settings });
  expect(parsed.success).toBe(false);
  expect(parsed.error?.message).toMatch(message);
});

test.each([
  "http://localhost:4318",
  "http://127.0.0.1:4318/",
  "http://[::1]:4318",
  "https://otel.example.com/tenant/a",
])("%s is an address", (url) => {
  expect(otlpSchema.parse({ ...receiver.settings, url })).toMatchObject({ url, traces: true });
});
