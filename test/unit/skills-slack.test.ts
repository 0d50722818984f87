import { writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { callCapability, runScript, scratch } from "../support/skill-script.ts";

const TOKEN = "xoxb-0123456789-placeholder";

interface Received {
  readonly method: string | undefined;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body: unknown;
}

/** Answers in Slack's place, by path, and remembers what it got. */
async function slack(answers: (base: string) => Readonly<Record<string, Answer>>) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method, url = "", headers } = request;
    received.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
    const { status = 200, headers: extra = {}, body } = answers(base)[url] ?? { status: 404, body: "nothing here" };
    response.writeHead(status, extra).end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  const call = (name: string, given: Record<string, string>, workspace = scratch(), env: NodeJS.ProcessEnv = {}) =>
    callCapability("slack-notify", name, given, {
      workspace,
      env: { SLACK_BOT_TOKEN: TOKEN, ...env },
      replace: {
        "--api=https://slack.com/api": `--api=${base}/api`,
        "--files=https://files.slack.com": `--files=${base}`,
      },
    });
  return { received, base, call };
}

const posted = (body: unknown) => slack(() => ({ "/api/chat.postMessage": { body } }));

test("posts a message with the token in the header alone", async () => {
  const { call, received } = await posted({ ok: true, channel: "C024BE91L", ts: "1700000000.000100" });
  const text = 'Build *failed*: "quotes", \\ and ünïcode 🙂\nsecond line';
  const ended = await call("postMessage", { channel: "#général", text, thread: "1699999999.000200" });
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(ended.stdout)).toEqual({ channel: "C024BE91L", ts: "1700000000.000100" });
  expect(received).toHaveLength(1);
  expect(received[0]?.method).toBe("POST");
  expect(received[0]?.headers.authorization).toBe(`Bearer ${TOKEN}`);
  expect(received[0]?.headers["content-type"]).toBe("application/json; charset=utf-8");
  expect(received[0]?.body).not.toContain(TOKEN);
  expect(JSON.parse(received[0]?.body ?? "")).toEqual({
    channel: "#général",
    text,
    thread_ts: "1699999999.000200",
    unfurl_links: false,
    unfurl_media: false,
  });
});

test("uploads a file in the three steps that Slack has for it, its bytes without the token", async () => {
  const workspace = scratch();
  writeFileSync(join(workspace, "results & more.csv"), "x,y\n1,2\n");
  const { call, received } = await slack((base) => ({
    "/api/files.getUploadURLExternal": { body: { ok: true, upload_url: `${base}/upload/v1/abc?x=1`, file_id: "F1" } },
    "/upload/v1/abc?x=1": { body: "OK - 8" },
    "/api/files.completeUploadExternal": { body: { ok: true, files: [{ id: "F1" }] } },
  }));
  const given = { channel: "C024BE91L", path: "results & more.csv", comment: "for May", thread: "1700000000.000100" };
  const ended = await call("uploadFile", given, workspace);
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(ended.stdout)).toEqual({ channel: "C024BE91L", file: "F1", bytes: 8 });
  const [place, upload, complete] = received;
  expect(received).toHaveLength(3);
  expect(place?.headers["content-type"]).toBe("application/x-www-form-urlencoded");
  expect(Object.fromEntries(new URLSearchParams(place?.body))).toEqual({ filename: "results & more.csv", length: "8" });
  expect(upload?.body).toBe("x,y\n1,2\n");
  expect(JSON.stringify(upload)).not.toContain(TOKEN);
  expect(JSON.parse(complete?.body ?? "")).toEqual({
    files: [{ id: "F1", title: "results & more.csv" }],
    channel_id: "C024BE91L",
    initial_comment: "for May",
    thread_ts: "1700000000.000100",
  });
  expect([place, complete].map((it) => it?.headers.authorization)).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);
});

test.each<[string, unknown, RegExp]>([
  [
    "a missing scope",
    { ok: false, error: "missing_scope", needed: "chat:write.public", provided: "chat:write" },
    /missing_scope \(.*lacks a scope: it needs chat:write\.public, has chat:write\)/,
  ],
  [
    "an unknown channel",
    { ok: false, error: "channel_not_found" },
    /channel_not_found \(no such channel, or a private/,
  ],
  ["a channel without the bot", { ok: false, error: "not_in_channel" }, /not_in_channel .*\/invite/],
  ["a revoked token", { ok: false, error: "token_revoked" }, /token_revoked \(the token was revoked\)/],
  ["an error without a name", { ok: false }, /unknown_error/],
  ["an error of another kind", { ok: false, error: { a: ["b\n\u001b[31m"] } }, /chat\.postMessage: /],
  ["an `ok` that isn't one", { ok: "yes" }, /unknown_error/],
  ["something else than JSON", "<html>", /not Slack's/],
  ["a list", "[]", /not Slack's/],
  ["the token said back", { ok: false, error: `bad ${TOKEN}` }, /bad \*/],
])("says %s in one line", async (_, body, message) => {
  const { call } = await posted(body);
  const ended = await call("postMessage", { channel: "C024BE91L", text: "hi" });
  expect(ended).toMatchObject({ code: 1, stdout: "" });
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).toMatch(/^slack-notify: \P{Cc}+\n$/u);
  expect(ended.stderr).not.toContain(TOKEN);
});

test("a rate limit says how long to wait", async () => {
  const limited = { status: 429, headers: { "retry-after": "30" }, body: { ok: false, error: "ratelimited" } };
  const { call } = await slack(() => ({ "/api/chat.postMessage": limited }));
  const ended = await call("postMessage", { channel: "C024BE91L", text: "hi" });
  expect(ended).toMatchObject({
    code: 1,
    stderr: "slack-notify: chat.postMessage: ratelimited: Slack takes more after 30 seconds\n",
  });
});

test("follows no redirect: it would carry the token elsewhere", async () => {
  const away = await slack(() => ({}));
  const { call } = await slack(() => ({
    "/api/chat.postMessage": { status: 302, headers: { location: `${away.base}/steal` }, body: "" },
  }));
  const ended = await call("postMessage", { channel: "C024BE91L", text: "hi" });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(/HTTP 302/);
  expect(away.received).toEqual([]);
});

test.each(["https://evil.example/upload", "file:///etc/passwd", "http://127.0.0.1:1/upload", 7, null])(
  "uploads to no place but Slack's own: %s",
  async (upload_url) => {
    const workspace = scratch();
    writeFileSync(join(workspace, "a.txt"), "a");
    const { call, received } = await slack(() => ({
      "/api/files.getUploadURLExternal": { body: { ok: true, upload_url, file_id: "F1" } },
    }));
    const ended = await call("uploadFile", { channel: "C024BE91L", path: "a.txt" }, workspace);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/not its own/);
    expect(received).toHaveLength(1);
  },
);

test("goes by the proxy that the environment names", async () => {
  const proxy = await slack(() => ({
    "http://slack.test/api/chat.postMessage": { body: { ok: true, channel: "C1", ts: "1.000001" } },
  }));
  const ended = await callCapability(
    "slack-notify",
    "postMessage",
    { channel: "C024BE91L", text: "hi" },
    {
      workspace: scratch(),
      env: { SLACK_BOT_TOKEN: TOKEN, http_proxy: proxy.base },
      replace: { "--api=https://slack.com/api": "--api=http://slack.test/api" },
    },
  );
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(proxy.received[0]?.headers.authorization).toBe(`Bearer ${TOKEN}`);
});

test("without an answer it says so", async () => {
  const ended = await runScript(
    "slack-notify",
    "slack.py",
    [
      "--api=http://127.0.0.1:1/api",
      "file",
      "--files=http://127.0.0.1:1",
      "--channel=C024BE91L",
      `--path=${import.meta.filename}`,
    ],
    { workspace: scratch(), env: { SLACK_BOT_TOKEN: TOKEN } },
  );
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(/^slack-notify: files\.getUploadURLExternal: no answer: .*refused.*\n$/);
});

const MESSAGE = ["--api=http://127.0.0.1:1", "message"];
const FILE = ["--api=http://127.0.0.1:1", "file", "--files=http://127.0.0.1:1", "--channel=C024BE91L"];

test.each<[string, string[], RegExp]>([
  ["an option in the channel's place", [...MESSAGE, "--channel", "--thread=1.000001"], /channel/],
  ["a channel with a line break", [...MESSAGE, "--channel=general\nx"], /channel/],
  ["a thread that is none", [...MESSAGE, "--channel=C1", "--thread=-1"], /timestamp/],
  ["an abbreviated option", [...MESSAGE, "--chan=C1"], /channel/],
  ["an address of a file", ["--api=file:///etc/passwd", "message", "--channel=C1"], /https/],
  ["an empty text", [...MESSAGE, "--channel=C1"], /text: is empty/],
  ["a channel's name for a file", [...FILE.with(3, "--channel=#general"), "--path=/etc/hostname"], /C0123456789/],
  ["a file that isn't there", [...FILE, "--path=/nowhere/a"], /can't read/],
  ["a directory", [...FILE, "--path=/"], /can't read/],
  ["an empty file", [...FILE, "--path=/dev/null"], /0 bytes/],
])("refuses %s", async (_, args, message) => {
  const ended = await runScript("slack-notify", "slack.py", args, {
    workspace: scratch(),
    env: { SLACK_BOT_TOKEN: TOKEN },
  });
  expect(ended).toMatchObject({ code: 2, stdout: "" });
  expect(ended.stderr).toMatch(/^slack-notify: [^\n]+\n$/);
  expect(ended.stderr).toMatch(message);
});

test.each([undefined, "", "two words", "line\nbreak"])("needs a token: %j", async (token) => {
  const { call, received } = await posted({ ok: true });
  const ended = await call("postMessage", { channel: "C1", text: "hi" }, scratch(), { SLACK_BOT_TOKEN: token });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toMatch(/^slack-notify: there is no SLACK_BOT_TOKEN/);
  expect(received).toEqual([]);
});
