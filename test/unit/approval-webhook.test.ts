import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { beforeAll, expect, test } from "vitest";
import type { Answer, Question } from "../../src/approval/approval.ts";
import { createWebhook } from "../../src/approval/webhook.ts";
import { readPoll } from "../../src/approval/webhook-message.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { signWebhook, webhookProblem } from "../../src/lib/webhook-signature.ts";
import { approvalsOutbound, questionOf, testLog, WEBHOOK_SECRET, webhookKey } from "../support/approvals.ts";
import { openReceiver, type Received, type Sent, signedReply } from "../support/receiver.ts";

let authority: SessionAuthority;
beforeAll(async () => {
  authority = await createSessionAuthority();
});

const never = new AbortController().signal;
const question = questionOf();
const yes = { questionId: question.id, digest: question.digest, verdict: "allow", scope: "call", approver: "ada" };

async function open(answer: (received: Received, at: number) => Sent | Promise<Sent>, secret = WEBHOOK_SECRET) {
  const receiver = await openReceiver(authority, answer);
  const log = testLog();
  const channel = createWebhook(
    // Of a schema that takes whole seconds: no test waits for one.
    { url: receiver.url, secret: { env: "UNUSED" }, pollSeconds: 0.01 },
    { send: approvalsOutbound({ authorities: async () => [authority.certificate] }), secret: async () => secret, log },
  );
  return {
    channel,
    receiver,
    log,
    ask: (it: Question = question, signal = never): Promise<Answer | undefined> => channel.ask(it, signal),
    async [Symbol.asyncDispose]() {
      await channel[Symbol.asyncDispose]();
      await receiver[Symbol.asyncDispose]();
    },
  };
}

test("a receiver gets the question, signed, and its signed answer is the answer", async () => {
  await using it = await open(() => signedReply({ ...yes, comment: "go\u001b[2J on" }));
  expect(await it.ask()).toEqual({ ...yes, approver: "webhook:ada", comment: "go\ufffd[2J on" });
  expect(it.receiver.errors).toEqual([]);
  const [received] = it.receiver.received;
  expect(received?.id).toBe(`msg_${question.id}`);
  expect(received?.message).toMatchObject({ type: "approval.requested", data: { version: 1, question } });
});

test("a receiver that needs time names an address of its own, which is asked until there is an answer", async () => {
  await using it = await open(({ method }, at) => {
    if (method === "POST") return { status: 202, body: JSON.stringify({ poll: "/approvals/1?x=2" }) };
    return at < 4 ? { status: 202 } : signedReply({ ...yes, verdict: "deny" });
  });
  expect(await it.ask()).toMatchObject({ verdict: "deny", approver: "webhook:ada" });
  expect(it.receiver.errors).toEqual([]);
  expect(it.receiver.received.map(({ method, path }) => `${method} ${path}`)).toEqual([
    "POST /approvals",
    ...Array(3).fill("GET /approvals/1?x=2"),
  ]);
  expect(new Set(it.receiver.received.map(({ id }) => id)).size).toBe(4);
});

test("a receiver that restarts is asked again with the same id; one that stays away is not asked for ever", async () => {
  await using it = await open((_, at) => (at < 4 ? { status: 503 } : signedReply(yes)));
  expect(await it.ask()).toMatchObject({ verdict: "allow" });
  expect(new Set(it.receiver.received.map(({ id }) => id))).toEqual(new Set([`msg_${question.id}`]));

  await using away = await open(() => ({ status: 503 }));
  await expect(away.ask()).rejects.toMatchObject({
    code: "APPROVAL_CHANNEL_FAILED",
    message: expect.stringMatching(/answered 503/),
  });
  await away.receiver.until(({ message }) => message?.type === "approval.closed");
  expect(away.receiver.received).toHaveLength(6);
});

test("a receiver that has nobody to ask says so with 204", async () => {
  await using it = await open(() => ({ status: 204 }));
  expect(await it.ask()).toBeUndefined();
});

const good = signedReply(yes);
const withHeader = (name: string, value: string): Sent => ({ ...good, headers: { ...good.headers, [name]: value } });
const { "webhook-signature": _, ...unsignedHeaders } = good.headers ?? {};
test.each([
  ["not signed", { ...good, headers: unsignedHeaders }, "is not signed"],
  [
    "signed with another secret",
    signedReply(yes, { secret: `whsec_${"b".repeat(44)}` }),
    "is not signed with the secret",
  ],
  [
    "altered",
    { ...good, body: good.body?.replace("allow", "deny ").replace("deny ", "deny") ?? "" },
    "is not signed with",
  ],
  ["signed long ago", signedReply(yes, { nowMs: Date.now() - 310_000 }), "five minutes"],
  ["signed in the future", signedReply(yes, { nowMs: Date.now() + 310_000 }), "five minutes"],
  ["of another id", withHeader("webhook-id", "msg_other"), "is not signed with"],
  ["of another time", withHeader("webhook-timestamp", String(Math.floor(Date.now() / 1000) - 7)), "is not signed with"],
  ["without seconds", withHeader("webhook-timestamp", "1e9"), "no timestamp"],
  [
    "of another version",
    withHeader("webhook-signature", (good.headers?.["webhook-signature"] ?? "").replace("v1", "v1a")),
    "is not signed with",
  ],
  ["to another question", signedReply({ ...yes, questionId: "apr_other" }), "answers another question"],
  ["with another digest", signedReply({ ...yes, digest: "0".repeat(64) }), "another digest"],
  ["with an unknown key", signedReply({ ...yes, approved: true }), "is not an answer"],
  ["with an unknown verdict", signedReply({ ...yes, verdict: "yes" }), "see `verdict`"],
  ["of nobody", signedReply({ ...yes, approver: "" }), "see `approver`"],
  ["of somebody with control characters", signedReply({ ...yes, approver: "a\u001b" }), "see `approver`"],
  ["not JSON", signedReply("yes"), "is not an answer"],
  ["empty", { status: 200 }, "is not signed"],
  ["too long", signedReply({ ...yes, comment: "x".repeat(70_000) }), "more than 65536 bytes"],
  ["a redirect", { status: 307, headers: { location: "/" } }, "redirects are not followed"],
  ["an error of ours", { status: 401 }, "answered 401"],
  ["202 without an address", { status: 202 }, "without `poll`"],
  ["202 with another host's address", { status: 202, body: '{"poll":"https://example.org/"}' }, "without `poll`"],
  ["202 with an address without TLS", { status: 202, body: '{"poll":"http://localhost/"}' }, "without `poll`"],
] as const)("an answer that is %s is none", async (_, sent, problem) => {
  await using it = await open(({ message }) => (message?.type === "approval.closed" ? { status: 204 } : sent));
  const failed = await it.ask().catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: "APPROVAL_CHANNEL_FAILED" });
  expect((failed as Error).message).toContain(problem);
  expect((failed as Error).message).not.toContain(WEBHOOK_SECRET.slice(6, 20));
  // The receiver learns that nobody waits any more.
  const { message } = await it.receiver.until(({ message: of }) => of?.type === "approval.closed");
  expect(message?.data).toEqual({ version: 1, questionId: question.id, how: "it could not be asked" });
});

test("a session that was not offered can't be allowed", async () => {
  const { pattern: _, ...without } = question;
  await using it = await open(() => signedReply({ ...yes, scope: "session" }));
  await expect(it.ask(without)).rejects.toThrow("what was not offered");
  expect(await it.ask()).toMatchObject({ scope: "session" });
});

test("our own signed question is no answer when it comes back", async () => {
  await using it = await open(({ id, message }) => {
    const body = JSON.stringify(message);
    return { status: 200, headers: signWebhook(webhookKey(WEBHOOK_SECRET), id, body), body };
  });
  await expect(it.ask()).rejects.toThrow("is not an answer");
});

test("when a question ends otherwise, the receiver is told how", async () => {
  await using it = await open(({ method }) => {
    if (method === "POST") return { status: 202, body: '{"poll":"/1"}' };
    return { status: 202 };
  });
  const ending = new AbortController();
  const asked = it.ask(question, ending.signal);
  await it.receiver.until(({ method }) => method === "GET");
  ending.abort(new Error("denied in the terminal"));
  expect(await asked).toBeUndefined();
  const { message } = await it.receiver.until(({ message: of }) => of?.type === "approval.closed");
  expect(message?.data).toEqual({ version: 1, questionId: question.id, how: "denied in the terminal" });
  expect(it.receiver.errors).toEqual([]);
});

test("a gateway that stops takes its questions back before it is gone", async () => {
  const it = await open(() => ({ status: 202, body: '{"poll":"/1"}' }));
  const asked = it.ask();
  await it.receiver.until(({ method }) => method === "GET");
  await it.channel[Symbol.asyncDispose]();
  expect(await asked).toBeUndefined();
  expect(it.receiver.received.at(-1)?.message?.type).toBe("approval.closed");
  expect(await it.ask()).toBeUndefined();
  await it[Symbol.asyncDispose]();
});

test.each(["password", "whsec_", "whsec_c2hvcnQ=", `whsec_${"!".repeat(44)}`, `whsec_${"a".repeat(43)}`])(
  "the secret %s is refused, and not repeated",
  async (secret) => {
    await using it = await open(() => signedReply(yes), secret);
    const failed = await it.ask().catch((error: unknown) => error);
    expect(failed).toMatchObject({
      code: "APPROVAL_CHANNEL_FAILED",
      message: expect.stringMatching(/must be `whsec_` and base64/),
    });
    if (secret.length > 6) expect((failed as Error).message).not.toContain(secret);
    expect(it.receiver.received).toEqual([]);
  },
);

test("an address for later is at the origin that was asked, and names no user", () => {
  const asked = new URL("https://example.org:8443/approvals");
  const read = (poll: string) => readPoll(Buffer.from(JSON.stringify({ poll })), asked)?.href;
  expect(read("/1?x")).toBe("https://example.org:8443/1?x");
  expect(read("https://example.org:8443/2")).toBe("https://example.org:8443/2");
  const others = [
    "https://example.org/",
    "http://example.org:8443/",
    "//a@example.org:8443/",
    "//:b@example.org:8443/",
  ];
  for (const it of [...others, "data:,", "//", "https://example.org.:8443/"])
    expect([it, read(it)]).toEqual([it, undefined]);
});

test("signatures are those of Standard Webhooks, and several may be given", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 24, maxLength: 64 }), fc.string({ unit: "grapheme" }), (bytes, body) => {
      const secret = `whsec_${Buffer.from(bytes).toString("base64")}`;
      const headers = signWebhook(webhookKey(secret), "msg_1", body);
      expect(() => new Webhook(secret).verify(body, headers, { jsonParse: false })).not.toThrow();
      const several = { ...headers, "webhook-signature": `v1,AAAA v1a,x ${headers["webhook-signature"]}` };
      expect(webhookProblem(webhookKey(secret), several, Buffer.from(body))).toBeUndefined();
      expect(webhookProblem(webhookKey(secret), several, Buffer.from(`${body}.`))).toBe(
        "is not signed with the secret",
      );
    }),
  );
});
