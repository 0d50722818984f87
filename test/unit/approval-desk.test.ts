import { expect, test } from "vitest";
import type { Answer } from "../../src/approval/approval.ts";
import { questionDigest } from "../../src/approval/question.ts";
import { GatewayError } from "../../src/errors.ts";
import { printable } from "../../src/lib/text.ts";
import { policyOf } from "../../src/policy/decide.ts";
import type { Policy } from "../../src/policy/layer.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { ADA, askedFor, askingPolicy, START_MS, testChannel, testDesk } from "../support/approval.ts";
import { layerOf } from "../support/bundle.ts";

const PUSH = { argv: ["git", "push", "origin", "main"] };
/** Makes another policy of it. */
const OTHER = ' @reason("no") forbid(principal, action == Glovebox::Action::"shell", resource);';
const push = (sessionId?: string) => askedFor("exec", PUSH, sessionId === undefined ? {} : { sessionId });
/** Everything about it but one argument is another's. */
const numbered = (n: number, sessionId = "ses-1") => askedFor("exec", { argv: ["echo", `${n}`] }, { sessionId });

test("a person is asked, and allows it once: the next time they are asked again [G29]", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  for (let n = 0; n < 2; n++) {
    const approval = desk.ask(push());
    const question = await terminal.next();
    expect(question).toMatchObject({ action: "exec", sessionId: "ses-1", callId: "call-1", principal: ADA });
    expect(question.expiresAt).toBe(new Date(START_MS + 600_000).toISOString());
    expect(question.policies).toEqual([{ id: "t.cedar#people", effect: "forbid", reason: "a person decides" }]);
    await terminal.answer();
    expect(await approval).toEqual({
      approved: true,
      approvalId: question.id,
      approver: "local:ada",
      channel: "terminal",
    });
  }
  expect(new Set(terminal.questions.map((it) => it.id)).size).toBe(2);
  expect(desk.story()).toEqual(Array(2).fill(["requested", "given terminal local:ada"]).flat());
  const [requested, given] = desk.events();
  const [question] = terminal.questions;
  // Nothing of it is taken for a secret.
  expect(requested).toMatchObject({ callId: "call-1", sessionId: "ses-1" });
  expect(requested?.facts).toMatchObject({
    approvalId: question?.id,
    digest: question?.digest,
    channels: ["terminal"],
  });
  expect(given?.facts).toMatchObject({ approvalId: question?.id, digest: question?.digest, scope: "call" });
});

test("a question is bound to all that is asked, and its digest can be checked by whoever shows it [G29]", async () => {
  const terminal = testChannel("terminal", {});
  const desk = await testDesk([terminal]);
  await desk.ask(push());
  await desk.ask(push());
  await desk.ask(askedFor("exec", { ...PUSH, timeoutMs: 5_000 }));
  expect(new Set(terminal.questions.map((it) => it.digest)).size).toBe(3);
  for (const it of terminal.questions) {
    expect(it.id).toMatch(/^apr_[0-9a-f]{32}$/);
    expect(questionDigest(it)).toBe(it.digest);
    const changed = { ...it, details: it.details.map((detail) => ({ ...detail, text: "true" })) };
    expect(questionDigest(changed)).not.toBe(it.digest);
    for (const other of [
      { expiresAt: "2036-01-01T00:00:00Z" },
      { sessionId: "ses-2" },
      { policies: [] },
      { action: "shell" },
    ])
      expect(questionDigest({ ...it, ...other })).not.toBe(it.digest);
  }
});

test.each([
  ["another question", { questionId: `apr_${"0".repeat(32)}` }, "it is for another question"],
  ["something else", { digest: "0".repeat(64) }, "it is not for what was asked: the digest differs"],
  ["nobody", { approver: "" }, "it does not say who gives it"],
  ["nobody in particular", { approver: "webhook:" }, "it does not say who gives it"],
  ["the agent", { approver: ADA.id }, "whoever gives it can't be known by this channel"],
  ["the agent's client", { approver: `client:${ADA.id}` }, "whoever gives it can't be known by this channel"],
  ["somebody who can't be read", { approver: "webhook:b\u202eob" }, "it does not say who gives it"],
  ["neither yes nor no", { verdict: "perhaps" as "allow" }, "it neither allows nor denies"],
])("an answer for or by %s does not count, and the wait goes on", async (_name, changes: Partial<Answer>, problem) => {
  const webhook = testChannel("webhook");
  const desk = await testDesk([webhook]);
  const approval = desk.ask(push());
  await webhook.next();
  await webhook.answer(changes);
  await webhook.next();
  await webhook.answer();
  expect(await approval).toMatchObject({ approved: true, approver: "webhook:bob" });
  const by = changes.approver === "" ? "" : ` ${printable(changes.approver ?? "webhook:bob")}`;
  expect(desk.story()).toEqual(["requested", `refused invalid webhook${by} ${problem}`, "given webhook webhook:bob"]);
});

test("a channel that gives nothing but answers that don't count is given up", async () => {
  const webhook = testChannel("webhook", { digest: "0".repeat(64) });
  const desk = await testDesk([webhook]);
  expect(await desk.ask(push())).toMatchObject({ approved: false, why: "unreachable" });
  expect(webhook.questions).toHaveLength(3);
  expect(desk.story()).toHaveLength(5);
});

test("an answer to a question of before is no answer to the same question now [G29]", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const first = desk.ask(push());
  const { id: questionId, digest } = await terminal.next();
  await terminal.answer();
  expect(await first).toMatchObject({ approved: true });
  const second = desk.ask(push());
  await terminal.next();
  await terminal.answer({ questionId, digest });
  await terminal.next();
  await terminal.answer({ verdict: "deny" });
  expect(await second).toMatchObject({ approved: false, why: "denied" });
  expect(desk.story()[3]).toMatch(/^refused invalid/);
});

test("without an answer it is denied in the end, and an answer after that does not count [G29]", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal], { timeoutMs: 50 });
  const result = await desk.ask(push());
  expect(result).toMatchObject({
    approved: false,
    why: "expired",
    text: expect.stringContaining("nobody answered within 1 s"),
  });
  expect(terminal.taken).toEqual(["expired"]);
  await terminal.answer();
  await expect
    .poll(() => desk.story())
    .toEqual(["requested", "refused expired", expect.stringContaining("closed already")]);
});

test("an answer at the moment of expiry is too late, whatever the timer does", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const stop = new AbortController();
  const approval = desk.ask(push(), stop.signal);
  await terminal.next();
  desk.advance(600_000);
  await terminal.answer();
  await terminal.next();
  stop.abort();
  expect(await approval).toMatchObject({ approved: false, why: "cancelled" });
  expect(desk.story()[1]).toContain("the question had expired");
});

test("of two channels the first wins, the other is told, and its answer comes to nothing", async () => {
  const [terminal, webhook] = [testChannel("terminal"), testChannel("webhook")];
  const desk = await testDesk([terminal, webhook]);
  const approval = desk.ask(push());
  expect(await terminal.next()).toEqual(await webhook.next());
  await Promise.all([terminal.answer({ verdict: "deny", comment: "not today" }), webhook.answer()]);
  const result = await approval;
  expect(result).toMatchObject({ approved: false, why: "denied", text: expect.stringContaining("not today") });
  expect(webhook.taken).toEqual(["denied by local:ada through terminal"]);
  await expect
    .poll(() => desk.story().toSorted())
    .toEqual([
      "refused denied terminal local:ada",
      "refused invalid webhook webhook:bob the question was closed already",
      "requested",
    ]);
});

test("policy says which channels are enough; without one that can ask, the text says how to have one", async () => {
  const [terminal, webhook] = [testChannel("terminal"), testChannel("webhook", {})];
  const desk = await testDesk([terminal, webhook]);
  const policy = askingPolicy('@channels("webhook")');
  expect(await desk.ask(askedFor("exec", PUSH, { policy }))).toMatchObject({ approved: true, channel: "webhook" });
  expect(terminal.questions).toEqual([]);
  const slack = askedFor("exec", PUSH, { policy: askingPolicy('@channels("slack")') });
  const refused = await desk.ask(slack);
  expect(refused).toMatchObject({ approved: false, why: "unreachable" });
  expect(refused).toMatchObject({ text: expect.stringMatching(/slack only.*glovebox approve.*docs\/approvals\.md/) });
  expect(desk.events().at(-2)?.facts).toMatchObject({ channels: [] });
  expect(desk.story().slice(-2)).toEqual(["requested", "refused unreachable"]);
});

test("a user's own webhook or Slack answers nothing that the organisation or the team asks", async () => {
  const text = `@id("ask") @outcome("ask") @reason("r") forbid(principal, action == Glovebox::Action::"exec", resource);`;
  const all = 'permit(principal, action == Glovebox::Action::"exec", resource);';
  for (const [layers, names] of [
    [{ organisation: all, user: all + text }, ["webhook", "slack", "terminal"]],
    [{ organisation: all + text, user: all }, ["terminal"]],
    [{ team: all + text, user: all }, ["terminal"]],
    [{ organisation: all + text, user: all + text }, ["terminal"]],
  ] as const) {
    const policy = policyOf(
      Object.entries(layers).map(([name, cedar]) => layerOf(name as "user", cedar)),
      profileSchema.parse({}),
    );
    const channels = (["webhook", "slack", "terminal"] as const).map((it) => testChannel(it));
    const desk = await testDesk(channels, { usersOwn: true });
    const given = desk.ask(askedFor("exec", PUSH, { policy }));
    await channels[2]?.next();
    expect(channels.filter((it) => it.questions.length > 0).map((it) => it.name)).toEqual(names);
    await channels[2]?.answer();
    expect(await given).toMatchObject({ approved: true, channel: "terminal" });
    expect(desk.events()[0]?.facts).toMatchObject({ channels: names });
  }
});

test("channels that can't ask, or fail, are passed over", async () => {
  const [elicitation, terminal] = [testChannel("elicitation"), testChannel("terminal")];
  const desk = await testDesk([elicitation, terminal]);
  const approval = desk.ask(push());
  await elicitation.giveUp();
  await terminal.giveUp(new GatewayError("APPROVAL_CHANNEL_FAILED"));
  expect(await approval).toMatchObject({ approved: false, why: "unreachable" });
});

test.each([
  ["that it is asked", 1, 0],
  ["that it is allowed", 2, 1],
])("when it can't be put on record %s, it is not approved", async (_what, failAt, asked) => {
  const terminal = testChannel("terminal", { scope: "session" });
  const desk = await testDesk([terminal], { failAt });
  await expect(desk.ask(push())).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  expect(terminal.questions).toHaveLength(asked);
  expect(desk.grants("ses-1")).toEqual([]);
});

test("when an answer that does not count can't be put on record, the question is over", async () => {
  const webhook = testChannel("webhook", { digest: "0".repeat(64) });
  const terminal = testChannel("terminal");
  const desk = await testDesk([webhook, terminal], { failAt: 2 });
  await expect(desk.ask(push())).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  expect(terminal.taken).toEqual(["it could not be put on record"]);
});

test("a grant that can't be put on record lets nothing through [G29]", async () => {
  const terminal = testChannel("terminal", { scope: "session" });
  const desk = await testDesk([terminal], { failAt: 3 });
  expect(await desk.ask(push())).toMatchObject({ approved: true });
  await expect(desk.ask(push())).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
});

test("what was denied is not asked again for a quarter of an hour", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const approval = desk.ask(push());
  await terminal.next();
  await terminal.answer({ verdict: "deny" });
  expect(await approval).toMatchObject({ why: "denied" });
  desk.advance(60_000);
  // Nor with another time limit.
  for (const args of [PUSH, { ...PUSH, timeoutMs: 7_000 }]) {
    const again = await desk.ask(askedFor("exec", args));
    expect(again).toMatchObject({ approved: false, why: "denied", text: expect.stringContaining("for 14 minutes") });
  }
  expect(terminal.questions).toHaveLength(1);
  // Another session, or something else, is another matter.
  const others = [desk.ask(push("ses-2")), desk.ask(numbered(1))];
  await expect.poll(() => terminal.questions.length).toBe(3);
  desk.forget("ses-2");
  desk.forget("ses-1");
  expect(await Promise.all(others)).toMatchObject([{ why: "cancelled" }, { why: "cancelled" }]);
  // Nor when the session was reset.
  expect(await desk.ask(push())).toMatchObject({ why: "denied" });
  expect(terminal.questions).toHaveLength(3);
});

test("who asks and gives up again and again is not asked for either, in whatever session", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  for (let n = 0; n < 20; n++) {
    const gone = new AbortController();
    const approval = desk.ask(numbered(n, `ses-${n}`), gone.signal);
    await expect.poll(() => terminal.questions.length).toBe(n + 1);
    // What ends its session gives up what it asked.
    if (n % 2 === 0) gone.abort();
    else desk.forget(`ses-${n}`);
    expect(await approval).toMatchObject({ why: "cancelled" });
  }
  expect(await desk.ask(numbered(20, "ses-20"))).toMatchObject({
    why: "too-many",
    text: expect.stringContaining("for 15 minutes"),
  });
  expect(terminal.questions).toHaveLength(20);
});

test("an agent that was denied five things may ask nothing for a while, in whatever session, but what was granted goes on", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const answered = async (n: number, changes: Partial<Answer>, sessionId?: string) => {
    const approval = desk.ask(numbered(n, sessionId));
    await terminal.next();
    await terminal.answer(changes);
    return await approval;
  };
  await answered(0, { scope: "session" });
  for (let n = 1; n <= 5; n++) {
    expect(await answered(n, { verdict: "deny" }, `ses-${n}`)).toMatchObject({ why: "denied" });
    desk.advance(60_000);
  }
  const refused = await desk.ask(numbered(6));
  expect(refused).toMatchObject({ why: "too-many", text: expect.stringContaining("for 10 minutes") });
  expect(await desk.ask(numbered(0))).toMatchObject({ channel: "grant" });
  expect(terminal.questions).toHaveLength(6);
  desk.advance(600_000);
  expect(await answered(6, {})).toMatchObject({ approved: true });
});

test("at most so many wait for people, in a session and in all", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal], { limits: { session: 2, total: 3 } });
  const stop = new AbortController();
  const waiting = [numbered(1), numbered(2), numbered(3, "ses-2")].map((it) => desk.ask(it, stop.signal));
  await expect.poll(() => terminal.questions.length).toBe(3);
  for (const it of [numbered(4), numbered(4, "ses-2"), numbered(4, "ses-3")])
    expect(await desk.ask(it)).toMatchObject({ approved: false, why: "too-many" });
  stop.abort();
  expect(await Promise.all(waiting)).toMatchObject(Array(3).fill({ why: "cancelled" }));
  const next = desk.ask(numbered(5));
  await expect.poll(() => terminal.questions.length).toBe(4);
  desk.forget("ses-1");
  expect(await next).toMatchObject({ why: "cancelled" });
});

test("the very same request is not asked twice at once; allowed once, the other is asked afterwards", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const three = [desk.ask(push()), desk.ask(push()), desk.ask(push())];
  await terminal.next();
  expect(terminal.questions).toHaveLength(1);
  await terminal.answer();
  expect(await three[0]).toMatchObject({ approved: true });
  await terminal.next();
  expect(terminal.questions).toHaveLength(2);
  // Allowed for the session, it is allowed for whoever waits.
  await terminal.answer({ scope: "session" });
  const [, second, third] = await Promise.all(three);
  expect([second, third]).toMatchObject([{ channel: "terminal" }, { channel: "grant" }]);
  expect(desk.story().filter((it) => it.startsWith("given"))).toHaveLength(3);
});

test("a no is one for all that wait for the same", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const two = [desk.ask(push()), desk.ask(push())];
  await terminal.next();
  await terminal.answer({ verdict: "deny" });
  expect(await Promise.all(two)).toMatchObject([{ why: "denied" }, { why: "denied" }]);
  expect(terminal.questions).toHaveLength(1);
});

test("so is silence; but who gives up waits for nobody else", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal], { timeoutMs: 80 });
  const stop = new AbortController();
  const first = desk.ask(push(), stop.signal);
  const others = [desk.ask(push()), desk.ask(push())];
  await terminal.next();
  stop.abort();
  expect(await first).toMatchObject({ why: "cancelled" });
  expect(await Promise.all(others)).toMatchObject([{ why: "expired" }, { why: "expired" }]);
  expect(terminal.questions).toHaveLength(2);
});

test("who waits for the same may give up as well", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const stop = new AbortController();
  const first = desk.ask(push());
  const second = desk.ask(push(), stop.signal);
  await terminal.next();
  stop.abort();
  expect(await second).toMatchObject({ why: "cancelled" });
  await terminal.answer();
  expect(await first).toMatchObject({ approved: true });
});

test("a grant holds for the session, the pattern and the policy, and for eight hours [G29]", async () => {
  const terminal = testChannel("terminal", { scope: "session" });
  const desk = await testDesk([terminal]);
  expect(await desk.ask(push())).toMatchObject({ channel: "terminal" });
  const [grant, ...others] = desk.grants("ses-1");
  expect(others).toEqual([]);
  expect(grant).toMatchObject({
    approver: "local:ada",
    pattern: "git push with any further arguments, in /workspace",
    expiresAt: new Date(START_MS + 8 * 3_600_000).toISOString(),
  });
  const asked = () => terminal.questions.length;
  expect(await desk.ask(askedFor("exec", { argv: ["git", "push", "--force"] }))).toEqual({
    approved: true,
    approvalId: grant?.approvalId,
    approver: "local:ada",
    channel: "grant",
  });
  expect(asked()).toBe(1);
  expect(desk.story().at(-1)).toBe("given grant local:ada");
  await desk.ask(push("ses-2"));
  expect(asked()).toBe(2);
  await desk.ask(askedFor("exec", PUSH, { principal: { ...ADA, id: "local:eve" } }));
  expect(asked()).toBe(3);
  await desk.ask(
    askedFor("exec", PUSH, {
      policy: askingPolicy("", OTHER),
    }),
  );
  expect(asked()).toBe(4);
  desk.advance(8 * 3_600_000);
  expect(desk.grants("ses-1")).toEqual([]);
  await desk.ask(push());
  expect(asked()).toBe(5);
  desk.forget("ses-1");
  expect(desk.grants("ses-1")).toEqual([]);
  await desk.ask(push());
  expect(asked()).toBe(6);
});

test("what has no pattern is allowed once, even if an answer says otherwise", async () => {
  const terminal = testChannel("terminal", { scope: "session" });
  const desk = await testDesk([terminal]);
  const withInput = askedFor("exec", { argv: ["bash"], stdin: "git push" });
  for (let n = 1; n <= 2; n++) {
    expect(await desk.ask(withInput)).toMatchObject({ channel: "terminal" });
    expect(terminal.questions).toHaveLength(n);
  }
  expect(terminal.questions[0]).not.toHaveProperty("pattern");
  expect(desk.events()[1]?.facts).toMatchObject({ scope: "call" });
});

test("another policy takes back what was asked under the one before, and the grants of those that asked", async () => {
  const before = askingPolicy();
  const after = askingPolicy("", OTHER);
  let current = before;
  const listeners: ((policy: Policy) => void)[] = [];
  const inForce = {
    get current() {
      return current;
    },
    onChange: (listener: (policy: Policy) => void) => {
      listeners.push(listener);
      return { [Symbol.dispose]: () => listeners.splice(0) };
    },
  };
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal], { inForce });
  const granted = desk.ask(numbered(1));
  await terminal.next();
  await terminal.answer({ scope: "session" });
  await granted;
  expect(desk.grants("ses-1")).toHaveLength(1);
  const approval = desk.ask(push());
  await terminal.next();
  current = after;
  for (const it of listeners) it(after);
  expect(await approval).toMatchObject({ why: "cancelled", text: expect.stringContaining("the policy was changed") });
  expect(terminal.taken.at(-1)).toBe("the policy was changed meanwhile");
  expect(desk.grants("ses-1")).toEqual([]);
  // One that was decided just before the change is not asked at all.
  expect(await desk.ask(push())).toMatchObject({ why: "cancelled" });
  expect(terminal.questions).toHaveLength(2);
});

test("who waits is told so", async () => {
  const terminal = testChannel("terminal");
  const desk = await testDesk([terminal]);
  const told: string[] = [];
  const approval = desk.approve(push(), new AbortController().signal, (message) => told.push(message));
  const { id } = await terminal.next();
  expect(told).toEqual([expect.stringContaining("waiting for a person's approval")]);
  // The model reads it: what an answer must name is not for it.
  expect(told.join()).not.toContain(id);
  await terminal.answer();
  await approval;
});

test("what policy forbids is no question: not even if somebody would allow it [G29]", async () => {
  const terminal = testChannel("terminal", {});
  const desk = await testDesk([terminal]);
  for (const outcome of ["deny", "permit"] as const) {
    const asked = push();
    const refused = desk.ask({ ...asked, decision: { ...asked.decision, outcome } });
    await expect(refused).rejects.toMatchObject({ code: "INTERNAL" });
  }
  expect(terminal.questions).toEqual([]);
});

test("of contents the log keeps digests, of variables names; who is asked sees them", async () => {
  const terminal = testChannel("terminal", {});
  const desk = await testDesk([terminal]);
  await desk.ask(askedFor("exec", { argv: ["sort"], stdin: "one\ntwo", env: { LANG: "of-mine" } }));
  await desk.ask(askedFor("writeFile", { path: "x", content: "of-mine" }));
  expect(JSON.stringify(terminal.questions)).toMatch(/LANG=of-mine.*of-mine\\n/);
  expect(JSON.stringify(desk.events())).not.toMatch(/of-mine|two/);
  expect(desk.events()[0]?.facts).toMatchObject({
    details: expect.arrayContaining([
      { label: "environment", text: "LANG" },
      { label: "standard input", text: expect.stringMatching(/^\(7 bytes, sha256 [0-9a-f]{64}\)$/) },
    ]),
  });
});
