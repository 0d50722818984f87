import type { Button, KnownBlock, RichTextBlock, RichTextSection } from "@slack/types";
import type { Question } from "./approval.ts";
import { escaped, oneLine, type Shown, shown, shownTogether } from "./slack-text.ts";

/** The `action_id`s of the buttons. */
export const ACTIONS = ["glovebox_allow_call", "glovebox_allow_session", "glovebox_deny"] as const;
export type Action = (typeof ACTIONS)[number];

/** What the parts of a message may weigh (see `weight`), so that together they stay below what Slack refuses. */
const DETAILS_ROOM = 7_200;
/** Of each detail besides its text: label, frame, and what is said of a cut. */
const DETAIL_FRAME = 470;
const PATTERN_ROOM = 500;
const NAME_ROOM = 100;
const REASON_ROOM = 160;
const MAX_DETAILS = 14;
const MAX_POLICIES = 4;

export interface SlackMessage {
  /** For notifications. Slack reads markup in it, so nothing of an agent's is in it. */
  readonly text: string;
  readonly blocks: readonly KnownBlock[];
}

export interface QuestionMessage extends SlackMessage {
  /** The buttons that it has. */
  readonly offers: readonly Action[];
}

/** How a question ended: by a member of the workspace, or in words. */
export type Ending = { readonly action: Action; readonly user: string } | { readonly how: string };

/**
 * A question with its buttons. What an agent or a client chose stands in elements of rich text only, in which Slack reads no markup. A
 * text that has no room is shown from its beginning, with its size and digest; then a session can't be allowed, and a call after a second
 * look only.
 */
export function questionMessage(question: Question): QuestionMessage {
  const chosen = question.details.slice(0, MAX_DETAILS);
  const texts = shownTogether(
    chosen.map(({ text }) => text),
    DETAILS_ROOM - DETAIL_FRAME * chosen.length,
  );
  const details = texts.map((text, at) => ({ label: oneLine(chosen[at]?.label ?? "", 60), text }));
  const left = question.details.length - details.length;
  const pattern = question.pattern === undefined ? undefined : shown(question.pattern, PATTERN_ROOM);
  const isWhole = left === 0 && details.every(({ text }) => text.cut === undefined);
  const offers: Action[] = [
    "glovebox_allow_call",
    ...(isWhole && pattern && pattern.cut === undefined ? (["glovebox_allow_session"] as const) : []),
    "glovebox_deny",
  ];
  const blocks: KnownBlock[] = [
    { type: "header", text: plain(headline(question)) },
    ...(isWhole ? [] : [warning(left)]),
    about(question),
    ...details.map(({ label, text }) => preformatted(`${label}:`, text)),
    ...policies(question),
    ...(pattern && offers.includes("glovebox_allow_session")
      ? [preformatted("“Allow for this session” also lets through, as long as the session lasts:", pattern)]
      : []),
    {
      type: "actions",
      block_id: question.id,
      elements: offers.map((it) => button(it, question, isWhole)),
    },
  ];
  return { text: escaped(headline(question)), blocks, offers };
}

/** The same without buttons, and with what became of it. */
export function endedMessage(question: Question, ending: Ending): SlackMessage {
  const { blocks } = questionMessage(question);
  const section: RichTextSection = {
    type: "rich_text_section",
    elements:
      "user" in ending
        ? [bold(`${ENDINGS[ending.action]} by `), { type: "user", user_id: ending.user }]
        : [bold(`Closed: ${oneLine(ending.how, 300)}`)],
  };
  return {
    text: escaped(`${headline(question)} (closed)`),
    blocks: [...blocks.filter(({ type }) => type !== "actions"), { type: "rich_text", elements: [section] }],
  };
}

const ENDINGS = {
  glovebox_allow_call: "Allowed once",
  glovebox_allow_session: "Allowed for this session",
  glovebox_deny: "Denied",
} as const;

function headline({ action }: Question): string {
  return `Approval needed: ${oneLine(action, 80)}`;
}

function warning(left: number): RichTextBlock {
  const more = left > 0 ? ` ${left} more details are not shown at all.` : "";
  const text = `Not all of it can be shown here.${more} Look at it in the gateway's terminal, or deny it.`;
  return { type: "rich_text", elements: [{ type: "rich_text_section", elements: [bold(text)] }] };
}

function about({ principal, sessionId, callId, bundle, expiresAt }: Question): RichTextBlock {
  const { client } = principal;
  const lines = [
    ["Who", oneLine(`${principal.id}, with ${client.name} ${client.version}`, 2 * NAME_ROOM)],
    ["Session", oneLine(sessionId, NAME_ROOM)],
    ...(callId === undefined ? [] : [["Call", oneLine(callId, NAME_ROOM)]]),
    ["Policy", oneLine(`${bundle.name} ${bundle.version}`, NAME_ROOM)],
  ] as const;
  const date = { type: "date", timestamp: Math.floor(Date.parse(expiresAt) / 1000), fallback: expiresAt } as const;
  const elements = lines.flatMap(([label = "", text = ""]) => [
    bold(`${label}: `),
    { type: "text", text: `${text}\n` } as const,
  ]);
  const until = [bold("Open until: "), { ...date, format: "{date_short_pretty} {time_secs}" }];
  return { type: "rich_text", elements: [{ type: "rich_text_section", elements: [...elements, ...until] }] };
}

/** What is cut is said outside the frame, where the text itself can't say it. */
function preformatted(label: string, { parts, cut }: Shown): RichTextBlock {
  return {
    type: "rich_text",
    elements: [
      { type: "rich_text_section", elements: [bold(label)] },
      { type: "rich_text_preformatted", elements: parts.map((text) => ({ type: "text", text })) },
      ...(cut === undefined ? [] : [{ type: "rich_text_section" as const, elements: [bold(`Cut: ${cut}`)] }]),
    ],
  };
}

function policies({ policies: all }: Question): RichTextBlock[] {
  if (all.length === 0) return [];
  const lines = all.slice(0, MAX_POLICIES).map(({ id, reason, layer }) => {
    const where = layer === undefined ? "" : `${layer}: `;
    const why = reason === undefined ? "" : ` — ${oneLine(reason, REASON_ROOM)}`;
    return `${where}${oneLine(id, NAME_ROOM)}${why}`;
  });
  if (all.length > lines.length) lines.push(`and ${all.length - lines.length} more`);
  return [
    {
      type: "rich_text",
      elements: [
        { type: "rich_text_section", elements: [bold("Asked by policy:")] },
        {
          type: "rich_text_list",
          style: "bullet",
          elements: lines.map((text) => ({ type: "rich_text_section", elements: [{ type: "text", text }] })),
        },
      ],
    },
  ];
}

function button(action: Action, { id, digest }: Question, isWhole: boolean): Button {
  const value = JSON.stringify({ questionId: id, digest });
  const of = (label: string, more: Partial<Button> = {}): Button => ({
    type: "button",
    action_id: action,
    text: plain(label),
    value,
    ...more,
  });
  const confirm = (title: string, text: string) => ({
    title: plain(title),
    text: plain(text),
    confirm: plain("Allow"),
    deny: plain("Back"),
    style: "danger" as const,
  });
  switch (action) {
    case "glovebox_allow_call":
      if (isWhole) return of("Allow once", { style: "primary" });
      return of("Allow once, partly unseen", {
        confirm: confirm("Allow what is not shown?", "The message shows only a part of what would be done."),
      });
    case "glovebox_allow_session":
      return of("Allow for this session", {
        confirm: confirm("Allow for this session?", "What the message says is let through without asking again."),
      });
    case "glovebox_deny":
      return of("Deny", { style: "danger" });
  }
}

function bold(text: string) {
  return { type: "text", text, style: { bold: true } } as const;
}

function plain(text: string) {
  return { type: "plain_text", text, emoji: false } as const;
}
