import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { type DoorOptions, openSlackDoor } from "../../src/approval/slack-door.ts";
import { SeenSignatures } from "../../src/approval/slack-signature.ts";
import { GatewayError } from "../../src/errors.ts";
import { testLog } from "../support/approvals.ts";
import { headersOf, knock, SLACK, signed } from "../support/slack.ts";

async function open(over: Partial<DoorOptions> = {}) {
  const payloads: unknown[] = [];
  const log = testLog();
  const door = await openSlackDoor({
    host: "127.0.0.1",
    port: 0,
    key: () => SLACK.signingSecret,
    onPayload: (it) => payloads.push(it),
    log,
    ...over,
  });
  return { port: door.port, payloads, log, [Symbol.asyncDispose]: () => door[Symbol.asyncDispose]() };
}

test("what Slack signed comes in, once", async () => {
  await using door = await open();
  const sent = signed({ hello: "wörld" });
  expect(await knock(door.port, sent)).toBe(200);
  expect(door.payloads).toEqual([{ hello: "wörld" }]);
  expect(await knock(door.port, sent)).toBe(401);
  expect(await knock(door.port, signed({ hello: "again" }))).toBe(200);
  expect(door.payloads).toHaveLength(2);
  expect(door.log.lines.join()).toContain("it came before");
});

test("the example of Slack's own documentation has the signature that is printed there", async () => {
  // https://docs.slack.dev/authentication/verifying-requests-from-slack
  const { slackProblem } = await import("../../src/approval/slack-signature.ts");
  const body = Buffer.from(
    "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
  );
  const signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
  const given = { timestamp: "1531420618", signature, body };
  expect(slackProblem("8f742231b10e8888abcd99yyyzzz85a5", given, 1_531_420_618_000)).toBeUndefined();
});

const nowMs = Date.now();
const good = signed({ a: 1 }, nowMs);
const replaced = (name: string, ...values: string[]) => ({
  body: good.body,
  headers: [...good.headers.filter(([it]) => it !== name), ...values.map((it) => [name, it] as const)],
});

test.each([
  ["another key", signed({ a: 1 }, nowMs, "another"), 401],
  ["an old timestamp", signed({ a: 1 }, nowMs - 310_000), 401],
  ["a timestamp of the future", signed({ a: 1 }, nowMs + 310_000), 401],
  [
    "a timestamp that is not the signed one",
    replaced("x-slack-request-timestamp", String(Math.floor(nowMs / 1000) - 5)),
    401,
  ],
  ["a timestamp that is none", replaced("x-slack-request-timestamp", "now"), 401],
  ["an altered body", { ...good, body: good.body.replace("1", "2") }, 401],
  ["no signature", replaced("x-slack-signature"), 401],
  ["an empty signature", replaced("x-slack-signature", "v0="), 401],
  ["two signatures", replaced("x-slack-signature", "v0=00", good.headers[2]?.[1] ?? ""), 401],
  ["a signature in capitals", replaced("x-slack-signature", (good.headers[2]?.[1] ?? "").toUpperCase()), 401],
  ["two timestamps", replaced("x-slack-request-timestamp", String(Math.floor(nowMs / 1000)), "1"), 401],
  ["two content types", replaced("content-type", "application/x-www-form-urlencoded", "text/plain"), 415],
  [
    "two content types that agree",
    replaced("content-type", ...Array(2).fill("application/x-www-form-urlencoded")),
    415,
  ],
  ["another content type", replaced("content-type", "application/json"), 415],
] as const)("%s is refused", async (_, sent, status) => {
  await using door = await open();
  expect(await knock(door.port, sent)).toBe(status);
  expect(door.payloads).toEqual([]);
});

const form = (body: string) => ({ body, headers: headersOf(body) });
test.each([
  ["two payloads", form("payload=%7B%7D&payload=%7B%7D"), 400],
  ["something besides the payload", form("payload=%7B%7D&ssl_check=1"), 400],
  ["a payload that is not JSON", form("payload=%7B"), 400],
  ["nothing", form(""), 400],
  ["more than there is room for", form(`payload=${"x".repeat(300_000)}`), 413],
] as const)("signed, but %s: refused", async (_, sent, status) => {
  await using door = await open();
  expect(await knock(door.port, sent)).toBe(status);
  expect(door.payloads).toEqual([]);
});

test("there is one path and one method", async () => {
  await using door = await open();
  expect(await knock(door.port, signed({}), "/")).toBe(404);
  expect(await knock(door.port, signed({}), "/slack/interactivity?x=1")).toBe(404);
  expect(await knock(door.port, signed({}), "/slack/interactivity/")).toBe(404);
  expect(await knock(door.port, signed({}), "/slack/interactivity", "PUT")).toBe(405);
  expect(door.payloads).toEqual([]);
});

test("a time that is not in whole seconds is refused, even if it is signed", async () => {
  await using door = await open();
  const headers = headersOf("payload=1", nowMs, SLACK.signingSecret, ".0");
  expect(await knock(door.port, { body: "payload=1", headers })).toBe(401);
});

test("as long as the signing secret was not read, nothing is accepted", async () => {
  await using door = await open({ key: () => undefined });
  expect(await knock(door.port, signed({}))).toBe(503);
  expect(await knock(door.port, signed({}, Date.now(), ""))).toBe(503);
  expect(door.payloads).toEqual([]);
});

test("whoever sends slowly is cut off, before the head's end and before the body's", async () => {
  await using door = await open({ requestMs: 200 });
  const heads = ["POST /slack/interactivity HTTP/1.1\r\nhost: x\r\n", rawHead(good.headers)];
  for (const head of heads) {
    const socket = connect(door.port, "127.0.0.1");
    socket.write(head);
    socket.resume();
    await once(socket, "close");
  }
  expect(door.payloads).toEqual([]);
});

test("a stranger who knocks again and again fills no log at the level of warnings", async () => {
  const warnings: unknown[] = [];
  const log = { warn: (...it: unknown[]) => void warnings.push(it), debug: () => undefined };
  await using door = await open({ log });
  for (let at = 0; at < 5; at += 1) await knock(door.port, signed({ at }, Date.now(), "another"));
  expect(warnings).toHaveLength(1);
});

test("a port that another program has is named", async () => {
  await using door = await open();
  const second = openSlackDoor({
    host: "127.0.0.1",
    port: door.port,
    key: () => "",
    onPayload: () => undefined,
    log: testLog(),
  });
  await expect(second).rejects.toThrow(GatewayError);
  await expect(second).rejects.toThrow(`127.0.0.1:${door.port}: another program has it`);
});

test("signatures are remembered for as long as they would be accepted, and what can't be remembered is refused", () => {
  const seen = new SeenSignatures();
  const of = (signature: string, timestamp = "1000") => ({ signature, timestamp, body: Buffer.alloc(0) });
  expect(seen.isNew(of("a"), 1_000_000)).toBe(true);
  expect(seen.isNew(of("a"), 1_299_999)).toBe(false);
  for (let at = 0; at < 10_000; at += 1) seen.isNew(of(`s${at}`), 1_000_000);
  expect(seen.isNew(of("z"), 1_000_000)).toBe(false);
  expect(seen.isNew(of("z", "1301"), 1_301_000)).toBe(true);
});

function rawHead(headers: readonly (readonly [string, string])[]): string {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return `POST /slack/interactivity HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n${lines}\r\npayload=`;
}
