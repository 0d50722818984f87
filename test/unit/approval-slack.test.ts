import { beforeAll, describe, expect, test } from "vitest";
import type { Question } from "../../src/approval/approval.ts";
import type { SlackSettings } from "../../src/approval/settings.ts";
import { createSlack } from "../../src/approval/slack.ts";
import { createSlackApi } from "../../src/approval/slack-api.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { approvalsOutbound, questionOf, testLog } from "../support/approvals.ts";
import { textsOf } from "../support/block-kit.ts";
import { clickOf, knock, openSlackApi, SLACK, signed, tsOf } from "../support/slack.ts";

let authority: SessionAuthority;
beforeAll(async () => {
  authority = await createSessionAuthority();
});

const never = new AbortController().signal;

async function open(settings: Partial<SlackSettings> = {}, token: string = SLACK.token) {
  const api = await openSlackApi(authority);
  const log = testLog();
  const send = approvalsOutbound({ authorities: async () => [authority.certificate] });
  const channel = createSlack(
    {
      channel: SLACK.channel,
      token: { env: "UNUSED" },
      signingSecret: { env: "UNUSED" },
      // Whichever is free.
      listen: { host: "127.0.0.1", port: 0 },
      ...settings,
    },
    {
      call: createSlackApi({ send, token: async () => token, root: api.root }),
      signingSecret: async () => SLACK.signingSecret,
      log,
    },
  );
  const { port } = await channel.open();
  return {
    api,
    channel,
    log,
    port,
    ask: (question: Question, signal = never) => channel.ask(question, signal),
    click: (payload: unknown) => knock(port, signed(payload)),
    /** Whatever was sent before has been looked at when this has its answer. */
    async settled(user = "U0LAST") {
      const before = api.calls.filter(({ method }) => method === "chat.postEphemeral").length;
      const last = clickOf({ id: "apr_none", digest: "" });
      await knock(port, signed({ ...last, user: { id: user } }));
      await api.call("chat.postEphemeral", before + 1);
    },
    async [Symbol.asyncDispose]() {
      await channel[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

const LAST = { type: "rich_text_section" };

describe("a click", () => {
  test.each([
    ["glovebox_allow_call", "allow", "call", "Allowed once by "],
    ["glovebox_allow_session", "allow", "session", "Allowed for this session by "],
    ["glovebox_deny", "deny", "call", "Denied by "],
  ] as const)("on %s is the answer, and the message then says whose it was", async (action, verdict, scope, said) => {
    await using it = await open();
    const question = questionOf();
    const asked = it.ask(question);
    const { body } = await it.api.call("chat.postMessage");
    expect(textsOf(body.blocks)).toContain('["git","push","origin","main"]');
    expect(await it.click(clickOf(question, action))).toBe(200);
    const { id: questionId, digest } = question;
    expect(await asked).toEqual({ questionId, digest, verdict, scope, approver: "slack:U0ADA (ada)" });
    const { body: update } = await it.api.call("chat.update");
    expect(update.ts).toBe(tsOf(1));
    const ending = [
      { type: "text", text: said, style: { bold: true } },
      { type: "user", user_id: "U0ADA" },
    ];
    expect(update.blocks.at(-1)).toEqual({ type: "rich_text", elements: [{ ...LAST, elements: ending }] });
    expect(JSON.stringify(update.blocks)).not.toContain("action_id");
    expect(it.log.lines).toEqual([]);
  });

  test("counts once: the first one decides", async () => {
    await using it = await open();
    const question = questionOf();
    const asked = it.ask(question);
    await it.api.call("chat.postMessage");
    const clicks = [clickOf(question, "glovebox_deny"), clickOf(question), clickOf(question, "glovebox_allow_session")];
    for (const click of clicks) expect(await it.click(click)).toBe(200);
    expect(await asked).toMatchObject({ verdict: "deny" });
    await it.settled();
    await it.channel[Symbol.asyncDispose]();
    expect(it.api.calls.filter(({ method }) => method === "chat.update")).toHaveLength(1);
  });

  test("that is faster than Slack's word of where the message is waits for it", async () => {
    await using it = await open();
    const posting = Promise.withResolvers<{ body: object }>();
    it.api.script("chat.postMessage", posting.promise);
    const question = questionOf();
    const asked = it.ask(question);
    await it.api.call("chat.postMessage");
    await it.click(clickOf(question));
    posting.resolve({ body: { ok: true, channel: SLACK.channel, ts: tsOf(1) } });
    expect(await asked).toMatchObject({ verdict: "allow" });
  });

  const other = questionOf();
  const user = (over: object) => (click: ReturnType<typeof clickOf>) => ({
    ...click,
    user: { ...click.user, ...over },
  });
  test.each([
    ["from another workspace", (it) => ({ ...it, team: { id: "T0OTHER" } }), "another workspace"],
    ["from an organisation without workspace", (it) => ({ ...it, team: null }), "none on a button"],
    ["from another channel", (it) => ({ ...it, channel: { id: "C0OTHER" } }), "another channel"],
    ["on another message", (it) => ({ ...it, message: { ts: tsOf(2) } }), "another message"],
    ["on no message", (it) => ({ ...it, message: undefined }), "none on a button"],
    ["with another digest", (it, q) => ({ ...it, ...clickOf({ ...q, digest: other.digest }) }), "another digest"],
    ["for another question", (_, q) => clickOf({ ...q, id: other.id }), "not open"],
    ["on an unknown button", (_, q) => clickOf(q, "glovebox_allow_all"), "none on a button"],
    ["on two buttons", (it) => ({ ...it, actions: [...it.actions, ...it.actions] }), "none on a button"],
    [
      "with more in its value",
      (it, q) => ({
        ...it,
        actions: it.actions.map((of) => ({
          ...of,
          value: JSON.stringify({ questionId: q.id, digest: q.digest, a: 1 }),
        })),
      }),
      "none on a button",
    ],
    ["by a bot", user({ is_bot: true }), "a program did it"],
    ["by the app itself", user({ id: SLACK.bot }), "a program did it"],
    ["by a guest of another workspace", user({ team_id: "T0OTHER" }), "no approver"],
    ["by somebody from nowhere", user({ team_id: undefined }), "no approver"],
    ["of another kind", (it) => ({ ...it, type: "view_submission" }), "none on a button"],
  ] as [string, (it: ReturnType<typeof clickOf>, question: Question) => object, string][])(
    "%s does not count",
    async (_, alter, problem) => {
      await using it = await open();
      const question = questionOf();
      const asked = it.ask(question);
      await it.api.call("chat.postMessage");
      expect(await it.click(alter(clickOf(question), question))).toBe(200);
      await it.settled();
      expect(it.log.lines.join("\n")).toContain(problem);
      expect(it.api.calls.filter(({ method }) => method === "chat.update")).toEqual([]);
      // The question is still there for those who may.
      await it.click(clickOf(question, "glovebox_deny"));
      expect(await asked).toMatchObject({ verdict: "deny" });
    },
  );

  test("of one who is no approver is answered to that one only", async () => {
    await using it = await open({ approvers: ["U0BOSS"] });
    const question = questionOf();
    const asked = it.ask(question);
    await it.api.call("chat.postMessage");
    await it.click(clickOf(question));
    const { body } = await it.api.call("chat.postEphemeral");
    expect(body).toMatchObject({ user: "U0ADA", text: "You are not among those who may answer this." });
    const boss = clickOf(question);
    // Named, and so welcome from wherever.
    await it.click({ ...boss, user: { id: "U0BOSS", name: "a (b) slack:U1", team_id: "T0OTHER" } });
    expect(await asked).toMatchObject({ approver: "slack:U0BOSS" });
  });

  test("on what was not offered does not count", async () => {
    await using it = await open();
    const { pattern: _, ...question } = questionOf();
    const asked = it.ask(question);
    await it.api.call("chat.postMessage");
    await it.click(clickOf(question, "glovebox_allow_session"));
    await it.settled();
    expect(it.log.lines.join()).toContain("its button was not offered");
    await it.click(clickOf(question));
    expect(await asked).toMatchObject({ scope: "call" });
  });
});

test("several questions are open at once, each with its own message", async () => {
  await using it = await open();
  const [one, two] = [questionOf(), questionOf()];
  const first = it.ask(one);
  await it.api.call("chat.postMessage", 1);
  const second = it.ask(two);
  await it.api.call("chat.postMessage", 2);
  await it.click({ ...clickOf(two, "glovebox_deny"), message: { ts: tsOf(2) } });
  expect(await second).toMatchObject({ questionId: two.id, verdict: "deny" });
  await it.click(clickOf(one));
  expect(await first).toMatchObject({ questionId: one.id, verdict: "allow" });
  expect(it.api.calls.filter(({ method }) => method === "auth.test")).toHaveLength(1);
});

test("a question that ends otherwise loses its buttons, and the message says how", async () => {
  await using it = await open();
  const ending = new AbortController();
  const question = questionOf();
  const asked = it.ask(question, ending.signal);
  await it.api.call("chat.postMessage");
  ending.abort(new Error("denied in the terminal"));
  expect(await asked).toBeUndefined();
  const { body } = await it.api.call("chat.update");
  expect(textsOf(body.blocks)).toContain("Closed: denied in the terminal");
  await it.click(clickOf(question));
  expect((await it.api.call("chat.postEphemeral")).body.text).toBe("This question is no longer open.");
});

test("a question that ends while it is being put is taken back as soon as Slack has it", async () => {
  await using it = await open();
  const posting = Promise.withResolvers<{ body: object }>();
  it.api.script("chat.postMessage", posting.promise);
  const ending = new AbortController();
  const asked = it.ask(questionOf(), ending.signal);
  await it.api.call("chat.postMessage");
  ending.abort(new Error("expired"));
  expect(await asked).toBeUndefined();
  posting.resolve({ body: { ok: true, channel: SLACK.channel, ts: tsOf(7) } });
  expect((await it.api.call("chat.update")).body.ts).toBe(tsOf(7));
});

test("a gateway that stops takes its questions back before it is gone", async () => {
  const it = await open();
  const asked = it.ask(questionOf());
  await it.api.call("chat.postMessage");
  await it.channel[Symbol.asyncDispose]();
  expect(await asked).toBeUndefined();
  expect(textsOf(it.api.calls.at(-1)?.body.blocks)).toContain("Closed: the gateway has stopped");
  await expect(knock(it.port, signed({}))).rejects.toThrow("ECONNREFUSED");
  await it.api[Symbol.asyncDispose]();
});

describe("what Slack says is wrong is said, with what to do", () => {
  test.each([
    ["missing_scope", { needed: "chat:write" }, "lacks the scope `chat:write`"],
    ["missing_scope", { needed: "<script>" }, "lacks the scope `chat:write`"],
    ["not_in_channel", {}, "/invite @<app>"],
    ["channel_not_found", {}, "give its id"],
    ["is_archived", {}, "archived"],
    ["token_revoked", {}, "does not accept the token (token_revoked)"],
    ["msg_blocks_too_long", {}, "refused: msg_blocks_too_long"],
    ["\u001b[2J", {}, "refused, and did not say why"],
  ])("%s", async (error, more, said) => {
    await using it = await open();
    it.api.script("chat.postMessage", { body: { ok: false, error, ...more } });
    const failed = it.ask(questionOf());
    await expect(failed).rejects.toMatchObject({ code: "APPROVAL_CHANNEL_FAILED" });
    await expect(failed).rejects.toThrow(said);
  });

  test("a token that is none, and is not repeated", async () => {
    await using it = await open({}, "xoxb-another-token");
    const failed = await it.ask(questionOf()).catch((error: unknown) => error);
    expect((failed as Error).message).toContain("does not accept the token (invalid_auth)");
    expect((failed as Error).message).not.toContain("another-token");
  });

  test("a token of another workspace than the settings name", async () => {
    await using it = await open({ team: "T0OTHER" });
    await expect(it.ask(questionOf())).rejects.toThrow("the token is of the workspace T0TEAM");
  });

  test.each([
    ["not JSON", { body: "<html>" }, "something else than its API does"],
    ["no message", { body: { ok: true } }, "left out what chat.postMessage answers with"],
    ["an error of the server's", { status: 500, body: "" }, "answered 500 to chat.postMessage"],
    ["a redirect", { status: 302, headers: { location: "/" }, body: "" }, "answered 302"],
  ])("an answer that is %s", async (_, reply, said) => {
    await using it = await open();
    it.api.script("chat.postMessage", reply);
    await expect(it.ask(questionOf())).rejects.toThrow(said);
  });
});

test("when Slack asks for patience it gets it, within what the question has", async () => {
  await using it = await open();
  it.api.script("chat.postMessage", {
    status: 429,
    headers: { "retry-after": "1" },
    body: { ok: false, error: "ratelimited" },
  });
  const question = questionOf();
  const asked = it.ask(question);
  await it.api.call("chat.postMessage", 2);
  await it.click(clickOf(question));
  expect(await asked).toMatchObject({ verdict: "allow" });

  it.api.script("chat.postMessage", { status: 429, headers: { "retry-after": "3600" }, body: "" });
  await expect(it.ask(questionOf())).rejects.toThrow("asks for 3600 s of patience");
});
