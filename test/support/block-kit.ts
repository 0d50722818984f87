import { z } from "zod";

/**
 * Slack's limits of what a message may hold (https://docs.slack.dev/reference/block-kit), strictly: a key that isn't known here is one
 * that nobody has looked up. No text object may have Slack read markup.
 */
const plainText = (maxChars: number) =>
  z.strictObject({ type: z.literal("plain_text"), text: z.string().min(1).max(maxChars), emoji: z.literal(false) });

const confirm = z.strictObject({
  title: plainText(100),
  text: plainText(300),
  confirm: plainText(30),
  deny: plainText(30),
  style: z.enum(["primary", "danger"]).optional(),
});

const button = z.strictObject({
  type: z.literal("button"),
  action_id: z.string().min(1).max(255),
  text: plainText(75),
  value: z.string().min(1).max(2_000),
  style: z.enum(["primary", "danger"]).optional(),
  confirm: confirm.optional(),
});

const style = z.strictObject({ bold: z.boolean() }).optional();
const text = z.strictObject({ type: z.literal("text"), text: z.string().min(1).max(3_000), style });
const element = z.union([
  text,
  z.strictObject({ type: z.literal("user"), user_id: z.string().regex(/^[UW][A-Z0-9]+$/) }),
  z.strictObject({ type: z.literal("date"), timestamp: z.int().min(1), format: z.string(), fallback: z.string() }),
]);
const section = z.strictObject({ type: z.literal("rich_text_section"), elements: z.array(element).min(1) });
const preformatted = z.strictObject({ type: z.literal("rich_text_preformatted"), elements: z.array(text).min(1) });
const list = z.strictObject({
  type: z.literal("rich_text_list"),
  style: z.enum(["bullet", "ordered"]),
  elements: z.array(section).min(1),
});

const block = z.union([
  z.strictObject({ type: z.literal("header"), text: plainText(150) }),
  z.strictObject({ type: z.literal("rich_text"), elements: z.array(z.union([section, preformatted, list])).min(1) }),
  z.strictObject({
    type: z.literal("actions"),
    block_id: z.string().min(1).max(255),
    elements: z.array(button).min(1).max(25),
  }),
]);

export const blocksSchema = z
  .array(block)
  .min(1)
  .max(50)
  .refine((it) => asciiChars(it) <= 12_000, "msg_blocks_too_long: Slack refuses somewhere above 13,000");

/** Top-level text: Slack reads markup in it. */
export const markupSchema = z
  .string()
  .min(1)
  .max(4_000)
  .refine((it) => !/[<>]/.test(it) && !/&(?!amp;|lt;|gt;)/.test(it), "markup");

function asciiChars(value: unknown): number {
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, "\\u0000").length;
}

/** All text that a reader sees, element by element. */
export function textsOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, it]) => (key === "text" && typeof it === "string" ? [it] : textsOf(it)));
}
