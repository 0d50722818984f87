import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Question } from "../../src/approval/approval.ts";
import { endedMessage, questionMessage } from "../../src/approval/slack-message.ts";
import { printable } from "../../src/lib/text.ts";
import { questionOf } from "../support/approvals.ts";
import { blocksSchema, markupSchema, textsOf } from "../support/block-kit.ts";

const hostile = fc.oneof(
  fc.string({ unit: "binary", maxLength: 400 }),
  fc.string({ unit: "grapheme", maxLength: 3_000 }),
  fc.constantFrom(
    "<!channel> <@U1> *x* `y` &amp;",
    "\u0000".repeat(9_000),
    "😀".repeat(5_000),
    "\n".repeat(9_000),
    "",
    "\ud800",
  ),
  fc.nat(20_000).map((it) => "x".repeat(it)),
);
const question: fc.Arbitrary<Question> = fc
  .record({
    details: fc.array(fc.record({ label: hostile, text: hostile }), { maxLength: 30 }),
    reasons: fc.array(hostile, { maxLength: 20 }),
    pattern: fc.option(hostile, { nil: undefined }),
    action: hostile,
    name: hostile,
  })
  .map(({ details, reasons, pattern, action, name }) => {
    const { pattern: _, ...rest } = questionOf({
      details,
      action,
      callId: name,
      sessionId: name,
      principal: { id: name, client: { name, version: name }, transport: "stdio" },
      policies: reasons.map((reason) => ({ id: name, effect: "forbid", reason, layer: "organisation" })),
      bundle: { name, version: name, digest: name },
    });
    return pattern === undefined ? rest : { ...rest, pattern };
  });

test("whatever an agent chose, a message is one that Slack takes, and holds no markup of the agent's", () => {
  fc.assert(
    fc.property(question, (it) => {
      const { text, blocks, offers } = questionMessage(it);
      expect(blocksSchema.safeParse(blocks).error).toBeUndefined();
      expect(markupSchema.safeParse(text).error).toBeUndefined();
      const ended = endedMessage(it, { how: it.action });
      expect(blocksSchema.safeParse(ended.blocks).error).toBeUndefined();
      expect(ended.blocks.some(({ type }) => type === "actions")).toBe(false);
      expect(offers.includes("glovebox_allow_session") && it.pattern === undefined).toBe(false);
    }),
    { numRuns: 60 },
  );
});

test("a text is shown whole, or the message says that it is not: then no session, and a call after a second look", () => {
  fc.assert(
    fc.property(question, (it) => {
      const { blocks, offers } = questionMessage(it);
      const frames = JSON.stringify(blocks);
      const isCut = frames.includes('"Cut: ') || frames.includes("more details are not shown");
      const all = blocks.flatMap((block) =>
        block.type === "rich_text"
          ? block.elements.flatMap((part) => (part.type === "rich_text_preformatted" ? [textsOf(part).join("")] : []))
          : [],
      );
      const clean = (text: string) => printable(text, Number.MAX_SAFE_INTEGER);
      const areWhole = it.details.every(({ text }) => all.includes(clean(text) || " "));
      expect(areWhole || isCut).toBe(true);
      if (areWhole) return;
      expect(offers).toEqual(["glovebox_allow_call", "glovebox_deny"]);
      expect(frames).toContain("Not all of it can be shown here.");
      expect(frames).toContain("partly unseen");
    }),
    { numRuns: 60 },
  );
});

test("a detail too many is a text that is not shown", () => {
  const of = (length: number) =>
    questionMessage(questionOf({ details: Array.from({ length }, (_, at) => ({ label: `l${at}`, text: `t${at}` })) }));
  expect(of(14).offers).toContain("glovebox_allow_session");
  expect(textsOf(of(14).blocks).join()).not.toContain("Not all of it");
  expect(of(16).offers).toEqual(["glovebox_allow_call", "glovebox_deny"]);
  expect(textsOf(of(16).blocks).join()).toContain("2 more details are not shown at all");
});

test("what short texts leave is for the long ones", () => {
  const details = [
    { label: "argv", text: "x".repeat(6_000) },
    { label: "cwd", text: "/workspace" },
  ];
  expect(questionMessage(questionOf({ details })).offers).toContain("glovebox_allow_session");
});

test("what is cut is named with its size and the digest of the whole, outside of the agent's text", () => {
  const text = `echo hello; ${"x".repeat(50_000)}; rm -rf /`;
  const { blocks } = questionMessage(questionOf({ details: [{ label: "script", text }] }));
  const digest = createHash("sha256").update(text).digest("hex");
  const said = textsOf(blocks).find((it) => it.startsWith("Cut: "));
  expect(said).toBe(`Cut: 6730 of ${text.length} characters are shown; sha256 of the whole: ${digest}`);
});

test("a question says who asks for what, by which policy, until when, and what a session would let through", () => {
  const it = questionOf();
  const { blocks, offers, text } = questionMessage(it);
  expect(text).toBe("Approval needed: exec");
  expect(offers).toEqual(["glovebox_allow_call", "glovebox_allow_session", "glovebox_deny"]);
  const texts = textsOf(blocks).join("\n");
  for (const part of ['["git","push","origin","main"]', "/workspace", "local:ada, with a client 1.2.3", "ses-1"]) {
    expect(texts).toContain(part);
  }
  expect(texts).toContain("ask.cedar#push — pushing needs a second pair of eyes");
  expect(texts).toContain("exec of git push …");
  const { pattern: _, ...without } = it;
  expect(questionMessage(without).offers).toEqual(["glovebox_allow_call", "glovebox_deny"]);
  expect(textsOf(questionMessage(questionOf({ pattern: "p".repeat(600) })).blocks).join()).not.toContain("ppp");
});

test("how a question ended is said with the member's name as Slack shows it", () => {
  const { blocks, text } = endedMessage(questionOf(), { action: "glovebox_deny", user: "U0ADA" });
  expect(text).toBe("Approval needed: exec (closed)");
  expect(blocks.at(-1)).toEqual({
    type: "rich_text",
    elements: [
      {
        type: "rich_text_section",
        elements: [
          { type: "text", text: "Denied by ", style: { bold: true } },
          { type: "user", user_id: "U0ADA" },
        ],
      },
    ],
  });
});
