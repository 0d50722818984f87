import { createHash, generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { hostname } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { readChain } from "../../src/audit/read.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { elasticsearchShape } from "../../src/audit/sinks/elasticsearch.ts";
import { openSink } from "../../src/audit/sinks/open.ts";
import { sinkSchema } from "../../src/audit/sinks/settings.ts";
import type { Batch } from "../../src/audit/sinks/sink.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { WEBHOOK_SECRET } from "../support/approvals.ts";
import { onlyChain, scratch } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { anyBody, record } from "../support/audit-records.ts";
import { openHttpsReceiver, SPEECH } from "../support/https-receiver.ts";
import { logged, spawnShipper, testData, testPorts, until, writeRecords } from "../support/shipping.ts";

let authority: SessionAuthority;
beforeAll(async () => {
  authority = await createSessionAuthority();
});

const TOKEN = "s3cret-token-of-the-test";
process.env["GLOVEBOX_TEST_TOKEN"] = TOKEN;
process.env["GLOVEBOX_TEST_SECRET"] = WEBHOOK_SECRET;
const token = { env: "GLOVEBOX_TEST_TOKEN" };
const never = new AbortController().signal;

type Shape = keyof typeof SPEECH;

interface Options {
  readonly settings?: object;
  readonly shape?: Shape;
  readonly authorities?: readonly string[];
  /** Answers in place of the receiver. */
  readonly answer?: (response: ServerResponse, at: number) => void;
}

/** A receiver, a driver for it, and a batch of eight records. */
async function stand({ settings, shape = "json", authorities = [authority.certificate], answer }: Options = {}) {
  const receiver = await openHttpsReceiver(authority, SPEECH[shape]);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  if (answer) {
    receiver.instead = (_, response) => {
      answer(response, receiver.deliveries.length);
      return true;
    };
  }
  const own = {
    json: {},
    splunk: { splunk: {}, token },
    elasticsearch: { elasticsearch: { index: "glovebox" }, token },
  };
  const parsed = sinkSchema.parse({
    name: "central",
    type: "https",
    url: `https://localhost:${receiver.port}/logs`,
    ...own[shape],
    ...settings,
  });
  const closing = new AbortController();
  onTestFinished(() => closing.abort());
  const sink = await openSink(parsed, testPorts(authorities, closing.signal));
  const directory = scratch();
  const chain = await writeRecords(directory, 8, { text: "é" });
  const [first, ...others] = await Array.fromAsync(readChain(onlyChain(directory), () => true));
  if (!first) throw new Error("no record");
  const batch: Batch = { chain, entries: [first, ...others] };
  return { receiver, sink, batch, deliver: () => sink.deliver(batch, never) };
}

test("a batch has the records as they stand in the log, and says which", async () => {
  const { receiver, batch, deliver, sink } = await stand({ settings: { token, headers: { "x-tenant": "a" } } });
  await deliver();
  await deliver();
  const [{ request, body } = { request: undefined, body: "" }, again] = receiver.deliveries;
  expect(request?.headers).toMatchObject({
    "content-type": "application/json",
    "content-encoding": "gzip",
    authorization: `Bearer ${TOKEN}`,
    "x-tenant": "a",
    "user-agent": "glovebox/0.0.0",
  });
  expect([request?.method, request?.url]).toEqual(["POST", "/logs"]);
  expect(JSON.parse(body)).toMatchObject({ version: 1, chain: batch.chain, first: 0, last: 7 });
  for (const { text } of batch.entries) expect(body).toContain(text);
  expect(request?.headers["idempotency-key"]).toMatch(/^[0-9a-f]{64}$/);
  expect(again?.request.headers["idempotency-key"]).toBe(request?.headers["idempotency-key"]);
  expect(sink.target).toBe(`localhost:${receiver.port}`);
});

test("a signed batch is one that the library of Standard Webhooks believes", async () => {
  const { receiver, deliver } = await stand({
    settings: { signingSecret: { env: "GLOVEBOX_TEST_SECRET" }, gzip: false },
  });
  await deliver();
  const [delivery] = receiver.deliveries;
  const headers = delivery?.request.headers as Record<string, string>;
  expect(headers["content-encoding"]).toBeUndefined();
  expect(() => new Webhook(WEBHOOK_SECRET).verify(delivery?.body ?? "", headers)).not.toThrow();
  expect(() => new Webhook(WEBHOOK_SECRET).verify(`${delivery?.body} `, headers)).toThrow();

  const wrong = await stand({ settings: { signingSecret: token } });
  await expect(wrong.deliver()).rejects.toMatchObject({
    code: "SINK_FAILED",
    message: expect.stringContaining("whsec_"),
  });
  expect(wrong.receiver.deliveries).toEqual([]);
});

const answers: [string, (response: ServerResponse) => void, string][] = [
  ["500", (it) => it.writeHead(500).end("{"), "answered 500"],
  ["a redirect", (it) => it.writeHead(307, { location: "/x" }).end(), "redirects are not followed"],
  ["401", (it) => it.writeHead(401).end(), "does not accept who asks (401)"],
  [
    "another protocol",
    (it) => it.writeHead(101, { connection: "Upgrade", upgrade: "x" }).end(),
    "wants to speak another protocol",
  ],
  ["a huge answer", (it) => it.end(Buffer.alloc(5_000_000, "a")), "its answer has more than"],
  ["garbage", (it) => it.socket?.end("SSH-2.0-OpenSSH\r\n"), "did not answer"],
  [
    "half an answer",
    (it) => it.writeHead(200, { "content-length": "9" }).write("a", () => it.destroy()),
    "did not answer",
  ],
];
test.each(answers)("%s is no confirmation", async (_, answer, message) => {
  const { deliver, receiver } = await stand({ answer, settings: { token } });
  const error = await deliver().catch((it: unknown) => it);
  expect(error).toMatchObject({ code: "SINK_FAILED", message: expect.stringContaining(message) });
  expect(String(error)).not.toContain(TOKEN);
  expect(receiver.deliveries).toHaveLength(1);
});

test("Retry-After counts in seconds and as a date, and not when it is something else", async () => {
  const after = async (status: number, value: string) => {
    const { deliver } = await stand({ answer: (it) => it.writeHead(status, { "retry-after": value }).end() });
    return ((await deliver().catch((it: unknown) => it)) as { retryAfterMs?: number }).retryAfterMs;
  };
  expect(await after(429, "7")).toBe(7_000);
  expect(await after(503, "0")).toBe(0);
  const date = await after(503, new Date(Date.now() + 3_600_000).toUTCString());
  expect(date).toBeGreaterThan(3_500_000);
  expect(await after(503, new Date(Date.now() - 3_600_000).toUTCString())).toBe(0);
  for (const other of ["", "soon", "-1", "1e9", "99999999999"]) expect(await after(429, other)).toBeUndefined();
  expect(await after(500, "7")).toBeUndefined();
});

test("a batch that is too large is halved, in order, until it fits; a record that never fits is told of", async () => {
  const { receiver, batch, deliver } = await stand();
  receiver.instead = ({ body }, response) => {
    if (JSON.parse(body).records.length <= 2) return false;
    response.writeHead(413).end();
    return true;
  };
  await deliver();
  expect(receiver.deliveries.map(({ body }) => JSON.parse(body).records.length)).toEqual([8, 4, 2, 4, 2, 4, 2, 2]);
  const received = await receiver.received();
  expect(received.map(({ hash }) => hash)).toEqual(batch.entries.map(({ record }) => record.hash));
  receiver.instead = (_, response) => {
    response.writeHead(413).end();
    return true;
  };
  await expect(deliver()).rejects.toThrow(`finds record ${batch.chain}/0 alone too large (413)`);
});

test("what is confirmed of a batch that failed is not sent again, and the next batch is", async () => {
  const { receiver, batch, deliver } = await stand();
  const seqs = () =>
    receiver.deliveries.map(({ body }) => JSON.parse(body).records.map((it: { seq: number }) => it.seq));
  const answer = (status: (seqs: readonly number[]) => number) => {
    receiver.instead = (_, response) => {
      response.writeHead(status(seqs().at(-1) ?? [])).end();
      return true;
    };
  };
  // Record 1 is large: whatever holds it and another one, too.
  answer((it) => (it.includes(1) && it.length > 1 ? 413 : it.includes(5) ? 500 : 200));
  await expect(deliver()).rejects.toThrow("answered 500");
  const before = seqs().length;
  expect(seqs().slice(3)).toEqual([[0], [1, 2], [1], [2, 3], [4, 5, 6, 7]]);
  answer(() => 200);
  await deliver();
  expect(seqs().slice(before)).toEqual([[4, 5, 6, 7]]);
  await deliver();
  expect(seqs().at(-1)).toEqual(batch.entries.map(({ record }) => record.seq));
});

test("a server whose certificate nobody here trusts gets nothing", async () => {
  const other = await createSessionAuthority();
  const { receiver, deliver } = await stand({ authorities: [other.certificate] });
  await expect(deliver()).rejects.toMatchObject({
    code: "SINK_FAILED",
    message: expect.stringMatching(/certificate|signature/),
  });
  expect(receiver.deliveries).toEqual([]);
});

test("a sink's own authority counts instead of all others, and is read again after a failure", async () => {
  const other = await createSessionAuthority();
  const ca = join(scratch(), "ca.pem");
  writeFileSync(ca, other.certificate);
  const { receiver, deliver } = await stand({ settings: { ca } });
  await expect(deliver()).rejects.toMatchObject({ code: "SINK_FAILED" });
  expect(receiver.deliveries).toEqual([]);
  writeFileSync(ca, authority.certificate);
  await deliver();
  expect(receiver.deliveries).toHaveLength(1);
  const missing = await stand({ settings: { ca: "/nonexistent/ca.pem" } });
  await expect(missing.deliver()).rejects.toThrow("no certificate to be read in `/nonexistent/ca.pem`");
});

test("a client's key that others may use is refused before anything is sent", async () => {
  const [certificate, key] = [join(scratch(), "client.pem"), join(scratch(), "client.key")];
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(certificate, authority.certificate);
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o644 });
  const { receiver, deliver } = await stand({ settings: { clientCertificate: { certificate, key } } });
  await expect(deliver()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("others may use the key"),
  });
  expect(receiver.deliveries).toEqual([]);
});

test("Splunk gets events one behind the other, and only its code 0 is a yes", async () => {
  const settings = { url: "https://localhost/", splunk: { index: "agents" } };
  const { receiver, deliver, batch } = await stand({ shape: "splunk", settings: { splunk: settings.splunk } });
  await deliver();
  const [delivery] = receiver.deliveries;
  expect(delivery?.request.headers.authorization).toBe(`Splunk ${TOKEN}`);
  const events = (delivery?.body ?? "").split("\n").map((it) => JSON.parse(it));
  expect(events[3]).toEqual({
    event: batch.entries[3]?.record,
    time: Date.parse(batch.entries[3]?.record.time ?? "") / 1000,
    host: expect.any(String),
    source: "glovebox",
    sourcetype: "glovebox:audit",
    index: "agents",
  });
  const answer = (status: number, body: string) =>
    stand({ shape: "splunk", answer: (it) => it.writeHead(status).end(body) });
  for (const body of ["", "{}", '{"text":"Success"}', '{"code":9}', '{"code":"0"}', "<html>"]) {
    await expect((await answer(200, body)).deliver()).rejects.toThrow("without the code 0");
  }
  await expect((await answer(403, '{"text":"Invalid token","code":4}')).deliver()).rejects.toThrow(
    "(403): it does not know the token",
  );
  await expect((await answer(400, '{"text":"x","code":10}')).deliver()).rejects.toThrow("indexer acknowledgement");
});

test("Splunk's address is known when only the host is given", async () => {
  const open = (url: string) =>
    openSink(sinkSchema.parse({ name: "a", type: "https", url, splunk: {}, token }), testPorts([], never));
  expect((await open("https://splunk.example.com:8088")).target).toBe("splunk.example.com:8088");
  const { receiver } = await stand();
  const sink = await openSink(
    sinkSchema.parse({ name: "a", type: "https", url: `https://localhost:${receiver.port}`, splunk: {}, token }),
    testPorts([authority.certificate], never),
  );
  const { batch } = await stand();
  await sink.deliver(batch, never).catch(() => undefined);
  expect(receiver.deliveries[0]?.request.url).toBe("/services/collector/event");
});

test("another record in the place of one that Elasticsearch has is not taken for it", async () => {
  const kept = new Map<string, string>();
  const { receiver, sink, deliver, batch } = await stand({ shape: "elasticsearch" });
  receiver.instead = ({ body }, response) => {
    const lines = body.trimEnd().split("\n");
    const items = Array.from({ length: lines.length / 2 }, (_, at) => {
      const id: string = JSON.parse(lines[2 * at] ?? "").create._id;
      const status = kept.has(id) ? 409 : 201;
      if (status === 201) kept.set(id, JSON.parse(lines[2 * at + 1] ?? "").event.original);
      return { create: { status } };
    });
    response.end(JSON.stringify({ items }));
    return true;
  };
  await deliver();
  await deliver();
  expect(kept.size).toBe(batch.entries.length);
  const [first] = batch.entries;
  // A log that was rewritten: this place has another record.
  const hash = "0".repeat(64);
  const other = { ...first, text: "other", record: { ...first.record, hash } };
  await sink.deliver({ chain: batch.chain, entries: [other] }, never);
  expect(kept.size).toBe(batch.entries.length + 1);
  expect([...kept.values()]).toEqual(expect.arrayContaining([first.text, "other"]));
});

test("Elasticsearch gets documents by their ids, and has to answer for each", async () => {
  const { receiver, deliver, batch } = await stand({ shape: "elasticsearch" });
  await deliver();
  // Conflicts, each of them: it has them already.
  await deliver();
  const [delivery] = receiver.deliveries;
  expect(delivery?.request.url).toMatch(/^\/logs\/glovebox\/_bulk\?filter_path=/);
  expect(delivery?.request.headers).toMatchObject({
    authorization: `ApiKey ${TOKEN}`,
    "content-type": "application/x-ndjson",
  });
  const lines = (delivery?.body ?? "").split("\n");
  expect(lines.at(-1)).toBe("");
  const second = batch.entries[1];
  expect(JSON.parse(lines[2] ?? "")).toEqual({ create: { _id: `${batch.chain}.1.${second?.record.hash}` } });
  expect(JSON.parse(lines[3] ?? "")).toMatchObject({
    "@timestamp": second?.record.time,
    event: { id: `${batch.chain}/1`, original: second?.text },
    glovebox: { chain: batch.chain, seq: 1, hash: second?.record.hash, kind: "event", event: "process-ended" },
  });
  const items = (status: number, type?: string) =>
    JSON.stringify({
      items: Array.from({ length: 8 }, (_, at) => ({
        create: at === 5 ? { status, error: { type } } : { status: 201 },
      })),
    });
  const answer = (body: string) => stand({ shape: "elasticsearch", answer: (it) => it.end(body) });
  await expect((await answer(items(400, "document_parsing_exception"))).deliver()).rejects.toThrow(
    "refused record 5: 400 document_parsing_exception",
  );
  await expect((await answer(items(429, "\u001b[2J"))).deliver()).rejects.toThrow(/refused record 5: 429 $/);
  await expect((await answer(items(409))).deliver()).resolves.toBeUndefined();
  for (const body of [
    "",
    "{}",
    '{"errors":false}',
    '{"items":[]}',
    '{"items":{"length":8}}',
    '{"items":[1,1,1,1,1,1,1,1]}',
    '{"errors":false,"items":[{"create":{"status":201}}]}',
  ]) {
    await expect((await answer(body)).deliver()).rejects.toThrow("without saying what became of each record");
  }
});

/** What stands under `glovebox` of a document, besides what each has, and the name of its computer. */
function documentOf(body: RecordBody) {
  const shape = elasticsearchShape(new URL("https://search.example.com/"), { index: "glovebox" });
  const it = record(body);
  const [, document = ""] = shape.body({ chain: it.chain, entries: [{ record: it, text: "{}" }] }).split("\n");
  const { glovebox, host } = JSON.parse(document);
  const { chain, seq, gateway, prev, hash, kind, ...fields } = glovebox;
  expect({ chain, seq, gateway, prev, hash, kind, host }).toEqual({
    ...{ chain: it.chain, seq: it.seq, gateway: it.gateway, prev: it.prev, hash: it.hash, kind: body.kind },
    host: { hostname: hostname() },
  });
  return fields;
}

test("a document is found by its call, its connection and package, its person and its computer", () => {
  expect(documentOf(intent("call-1"))).toEqual({
    ...{ sessionId: "ses-1", callId: "call-1", tool: "exec", decision: "permit", principal: "local:ada" },
    ...{ clientName: "test", clientVersion: "1.0.0", policies: ["main.cedar#exec"] },
  });
  expect(documentOf({ ...outcome("call-1", { exitCode: 7 }), status: "error", code: "TIMEOUT" })).toEqual({
    ...{ sessionId: "ses-1", callId: "call-1", status: "error", code: "TIMEOUT", duration_ms: 5, exitCode: 7 },
  });
  const reached = { host: "example.com", policies: ["net.cedar#docs"], calls: ["call-1", "call-2"] };
  expect(documentOf(event({ ...reached, connectionId: "conn-1", approvalId: "a-1" }, "connection-opened"))).toEqual({
    ...{ sessionId: "ses-1", event: "connection-opened", host: "example.com", connectionId: "conn-1" },
    ...{ approvalId: "a-1", calls: ["call-1", "call-2"], policies: ["net.cedar#docs"] },
  });
  expect(documentOf(event({ purl: "pkg:npm/x@1.0.0", calls: ["call-1"] }, "package-admitted"))).toMatchObject({
    ...{ purl: "pkg:npm/x@1.0.0", calls: ["call-1"] },
  });
  expect(documentOf(event({ callId: "call-1", exitCode: 1 }, "process-ended"))).toMatchObject({
    ...{ callId: "call-1", exitCode: 1 },
  });
});

test("what an agent chooses makes no field that an index takes for something else, and none that is too long", () => {
  const dated = ["2026-01-01", "2026-01", "2026/01/01\t+0000", "2026/01/01 10:00:00 Z", "2026-01-01T10:00Z"];
  for (const text of dated) {
    const { principal, ...rest } = intent(text);
    const client = { name: text, version: text };
    const body = { ...rest, tool: text, sessionId: text, principal: { ...principal, client }, policies: [] };
    expect(documentOf(body)).toEqual({ decision: "permit", principal: "local:ada" });
    expect(documentOf(event({ host: text, calls: [text, "call-1"] }))).toMatchObject({ calls: ["call-1"] });
    expect(documentOf(event({ host: text }))).toEqual({ sessionId: "ses-1", event: "process-ended" });
  }
  expect(documentOf({ ...intent("call-1"), sessionId: "2026-01-01.example" }).sessionId).toBe("2026-01-01.example");
  const lists = ["calls", "policies"];
  const numbers = ["duration_ms", "exitCode"];
  const texts = [
    ...["sessionId", "callId", "tool", "decision", "principal", "clientName", "clientVersion", "status", "code"],
    ...["event", "host", "connectionId", "purl", "approvalId"],
  ];
  const crowd = event({ calls: Array.from({ length: 1_000 }, (_, n) => `call-${n}`), host: "x".repeat(5_000) });
  fc.assert(
    fc.property(anyBody, (body) => {
      for (const [name, value] of Object.entries(documentOf(body))) {
        expect([...lists, ...numbers, ...texts]).toContain(name);
        const isNumber = typeof value === "number" || value === null;
        expect(isNumber).toBe(numbers.includes(name));
        expect(Array.isArray(value)).toBe(lists.includes(name));
        expect(JSON.stringify(value).length).toBeLessThan(256 * 1_800);
        for (const text of [value].flat()) if (!isNumber) expect(String(text).length).toBeLessThan(300);
        if (Array.isArray(value)) expect(value.length).toBeLessThanOrEqual(256);
      }
    }),
    { numRuns: 300, examples: [[crowd]] },
  );
});

test("a user and a password are for who has no tokens", async () => {
  const { receiver, deliver } = await stand({ shape: "elasticsearch", settings: { user: "ada" } });
  await deliver();
  const expected = `Basic ${Buffer.from(`ada:${TOKEN}`).toString("base64")}`;
  expect(receiver.deliveries[0]?.request.headers.authorization).toBe(expected);
});

test("settings that would frame the request, leave TLS or say two things are refused", () => {
  const good = { name: "central", type: "https", url: "https://logs.example.com/" };
  const problem = (more: object) => sinkSchema.safeParse({ ...good, ...more }).error?.issues[0]?.message;
  expect(problem({})).toBeUndefined();
  for (const url of ["http://a.example/", "https://u:p@a.example/", "https://a.example/#x", "file:///x", "x"]) {
    expect([url, problem({ url })]).toEqual([url, expect.stringContaining("https://")]);
  }
  for (const it of [
    "Host",
    "content-length",
    "Transfer-Encoding",
    "proxy-x",
    "Authorization",
    "webhook-id",
    "a b",
    "a\n",
  ]) {
    expect([it, problem({ headers: { [it]: "x" } })]).toEqual([it, expect.any(String)]);
  }
  expect(problem({ headers: { a: "b\r\nc: d" } })).toBe("must be printable ASCII");
  expect(problem({ splunk: {}, elasticsearch: { index: "a" }, token })).toContain("not both");
  expect(problem({ splunk: {} })).toContain("token");
  expect(problem({ name: "../x" })).toContain("small letters");
  expect(problem({ retries: 3 })).toContain("retries");
});

test("a backlog of 100,000 records takes the memory of a batch", async () => {
  const data = testData();
  const receiver = await openHttpsReceiver(authority);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  await writeRecords(data.auditDirectory, 100_000, { text: "x".repeat(200) });
  const settings = { name: "central", type: "https", url: `https://localhost:${receiver.port}/` };
  const shipper = await spawnShipper(data, settings, [authority.certificate]);
  const held = await logged(data.auditDirectory);
  await until(receiver.size, (it) => it >= held.length);
  const digest = (all: readonly { id: string; hash: string }[]) =>
    createHash("sha256").update(JSON.stringify(all)).digest("hex");
  expect(digest(await receiver.received())).toBe(digest(held));
  const line = shipper.line();
  await shipper.close();
  // The log has 60 MB, which would take more than that as objects.
  expect(Number(await line)).toBeLessThan(150 * 1024 * 1024);
});
