import { createServer } from "node:net";
import { beforeAll, expect, test } from "vitest";
import { openChannels } from "../../src/approval/channels.ts";
import { approvalsSchema } from "../../src/approval/settings.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { questionOf, testLog, WEBHOOK_SECRET } from "../support/approvals.ts";
import { listen } from "../support/egress.ts";
import { openReceiver, signedReply } from "../support/receiver.ts";
import { clickOf, knock, openSlackApi, SLACK, signed } from "../support/slack.ts";

let authority: SessionAuthority;
beforeAll(async () => {
  authority = await createSessionAuthority();
  process.env["TEST_WEBHOOK_SECRET"] = WEBHOOK_SECRET;
  process.env["TEST_SLACK_TOKEN"] = SLACK.token;
  process.env["TEST_SLACK_SIGNING"] = SLACK.signingSecret;
});

const never = new AbortController().signal;
const ports = (log = testLog()) => ({ authorities: async () => [authority.certificate], log });
const slack = (port: number) => ({
  channel: SLACK.channel,
  token: { env: "TEST_SLACK_TOKEN" },
  signingSecret: { env: "TEST_SLACK_SIGNING" },
  listen: { port },
});

/** A port that nobody has, most likely. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test("settings that name nobody ask nobody", async () => {
  await using opened = await openChannels(approvalsSchema.parse({}), ports());
  expect(opened.channels).toEqual([]);
});

test("what the settings name is open, with its secrets read from where they are", async () => {
  const question = questionOf();
  const { id: questionId, digest } = question;
  const answer = { questionId, digest, verdict: "deny", scope: "call", approver: "ada@example.org" };
  await using receiver = await openReceiver(authority, () => signedReply(answer));
  await using api = await openSlackApi(authority);
  const port = await freePort();
  const settings = { webhook: { url: receiver.url, secret: { env: "TEST_WEBHOOK_SECRET" } }, slack: slack(port) };
  const known = createKnownSecrets();
  await using opened = await openChannels(approvalsSchema.parse(settings), {
    ...ports(),
    slackApi: api.root,
    onSecret: known.add,
  });
  const [webhook, byClick] = opened.channels;
  expect(opened.channels.map(({ name }) => name)).toEqual(["webhook", "slack"]);
  expect(await webhook?.ask(question, never)).toMatchObject({ approver: "webhook:ada@example.org" });
  const asked = byClick?.ask(question, never);
  await api.call("chat.postMessage");
  expect(await knock(port, signed(clickOf(question)))).toBe(200);
  expect(await asked).toMatchObject({ approver: "slack:U0ADA (ada)" });
  // Whatever repeats one of them, the audit log does not have it.
  const leaking = `${WEBHOOK_SECRET} ${SLACK.token} ${SLACK.signingSecret}`;
  expect(known.hide(leaking)).toBe(
    "[redacted:approvals.webhook.secret] [redacted:approvals.slack.token] [redacted:approvals.slack.signingSecret]",
  );
});

test("a secret that is missing fails the question, and names the setting", async () => {
  const settings = { webhook: { url: "https://localhost:1/", secret: { env: "TEST_NO_SUCH_SECRET" } } };
  await using opened = await openChannels(approvalsSchema.parse(settings), ports());
  const failed = opened.channels[0]?.ask(questionOf(), never);
  await expect(failed).rejects.toMatchObject({
    code: "SECRET_UNAVAILABLE",
    message: expect.stringMatching(/approvals\.webhook\.secret/),
  });
});

test("what is said of a request that failed has no part of a secret, also where it is cut", async () => {
  const known = createKnownSecrets();
  known.add("approvals.webhook.secret", WEBHOOK_SECRET);
  const settings = { webhook: { url: "https://localhost:1/", secret: { env: "TEST_WEBHOOK_SECRET" } } };
  await using opened = await openChannels(approvalsSchema.parse(settings), {
    ...ports(),
    hide: known.hide,
    upstreamProxy: () => Promise.reject(new Error(`${"x".repeat(280)}${WEBHOOK_SECRET}`)),
  });
  const failed = opened.channels[0]?.ask(questionOf(), never);
  await expect(failed).rejects.toThrow("xxx[redacted:");
});

test("a port that another gateway has fails questions, until it is free", async () => {
  await using api = await openSlackApi(authority);
  const other = createServer();
  const port = await listen(other);
  const log = testLog();
  await using opened = await openChannels(approvalsSchema.parse({ slack: slack(port) }), {
    ...ports(log),
    slackApi: api.root,
  });
  expect(log.lines.join()).toContain("another program has it");
  const [channel] = opened.channels;
  await expect(channel?.ask(questionOf(), never)).rejects.toMatchObject({ code: "APPROVAL_CHANNEL_FAILED" });
  expect(api.calls).toEqual([]);
  await new Promise((resolve) => other.close(resolve));
  const question = questionOf();
  const asked = channel?.ask(question, never);
  await api.call("chat.postMessage");
  await knock(port, signed(clickOf(question)));
  expect(await asked).toMatchObject({ verdict: "allow" });
});
