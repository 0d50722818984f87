import { isIP } from "node:net";
import { z } from "zod";
import { secretSource } from "../policy/secret.ts";

const words = (pattern: RegExp, message: string) => z.array(z.string().regex(pattern, message)).min(1).max(256);

const webhook = z.strictObject({
  /** Where questions are sent. */
  url: z.string().max(2048).refine(isPlainHttps, "must be an https:// address without user, password or #fragment"),
  /** Signs questions and answers: `whsec_` and base64 of 24 to 64 random bytes. */
  secret: secretSource,
  /** How long to wait between two looks for an answer, in seconds. */
  pollSeconds: z.int().min(1).max(60).default(2),
});

/** Slack's identifiers: capitals and digits, their kind in front. */
const slack = z.strictObject({
  channel: z.string().regex(/^[CG][A-Z0-9]{2,31}$/, "must be a channel's id, such as C024BE91L, not its name"),
  /** The bot's, `xoxb-…`. */
  token: secretSource,
  /** With which Slack signs what it sends; "Basic Information" of the app shows it. */
  signingSecret: secretSource,
  /** Where answers arrive, from a tunnel or a reverse proxy. */
  listen: z.strictObject({
    host: z
      .string()
      .refine((it) => isIP(it) !== 0, "must be an address of this computer, such as 127.0.0.1")
      .default("127.0.0.1"),
    port: z.int().min(1).max(65_535),
  }),
  /** Who may answer. Left out: whoever is in the channel and belongs to the workspace. */
  approvers: words(/^[UW][A-Z0-9]{2,31}$/, "must be a member's id, such as U024BE7LH, not a name").optional(),
  /** Left out: the token's own workspace. */
  team: z
    .string()
    .regex(/^T[A-Z0-9]{2,31}$/, "must be a workspace's id, such as T024BE7LD")
    .optional(),
});

/** `approvals` of glovebox.yaml: how people are asked. */
export const approvalsSchema = z.strictObject({
  /** How long a question stays open; unanswered, it is a denial. */
  timeoutSeconds: z.int().min(10).max(86_400).default(600),
  terminal: z
    .union([
      z.literal(false),
      z.strictObject({
        /** Users of this computer. */
        approvers: words(/^[^\s\p{C}]{1,128}$/u, "must be the name of a user").optional(),
      }),
    ])
    .optional(),
  elicitation: z.boolean().default(true),
  webhook: webhook.optional(),
  slack: slack.optional(),
});

export type ApprovalsSettings = z.infer<typeof approvalsSchema>;
export type WebhookSettings = z.infer<typeof webhook>;
export type SlackSettings = z.infer<typeof slack>;

function isPlainHttps(address: string): boolean {
  const url = URL.parse(address);
  return url?.protocol === "https:" && `${url.username}${url.password}${url.hash}` === "";
}
