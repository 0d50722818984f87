import { z } from "zod";
import { parseJson } from "../lib/json.ts";
import { ACTIONS } from "./slack-message.ts";

const id = z.string().regex(/^[A-Z0-9]{3,32}$/);

/** Of Slack's own, which adds keys as it likes: those that are not named here are not looked at. */
const payloadSchema = z.object({
  type: z.literal("block_actions"),
  team: z.object({ id }),
  channel: z.object({ id }),
  user: z.object({
    id,
    username: z.string().max(256).optional(),
    name: z.string().max(256).optional(),
    team_id: id.optional(),
    is_bot: z.boolean().optional(),
  }),
  message: z.object({ ts: z.string().regex(/^[0-9]{1,16}\.[0-9]{1,9}$/) }),
  actions: z.tuple([z.object({ type: z.literal("button"), action_id: z.enum(ACTIONS), value: z.string().max(2_000) })]),
});

const valueSchema = z.strictObject({ questionId: z.string().max(128), digest: z.string().max(128) });

/** Somebody's click on one of our buttons, as Slack tells of it. */
export interface Click {
  readonly team: string;
  readonly channel: string;
  readonly user: {
    readonly id: string;
    /** A name that can be shown as it is; absent where it is anything else. */
    readonly name?: string;
    /** Where the person belongs, which in a shared channel may be another workspace; absent where Slack doesn't say. */
    readonly team?: string;
    readonly isBot: boolean;
  };
  /** Of the message with the button. */
  readonly ts: string;
  readonly action: (typeof ACTIONS)[number];
  readonly questionId: string;
  readonly digest: string;
}

/** `undefined`: it is none. */
export function readClick(payload: unknown): Click | undefined {
  const parsed = payloadSchema.safeParse(payload);
  if (!parsed.success) return undefined;
  const { team, channel, user, message, actions } = parsed.data;
  const [{ action_id: action, value: text }] = actions;
  const value = valueSchema.safeParse(parseJson(text));
  if (!value.success) return undefined;
  const name = [user.username, user.name].find((it) => it !== undefined && /^[\p{L}\p{N}._-]{1,80}$/u.test(it));
  return {
    team: team.id,
    channel: channel.id,
    user: {
      id: user.id,
      ...(name !== undefined && { name }),
      ...(user.team_id !== undefined && { team: user.team_id }),
      isBot: user.is_bot === true,
    },
    ts: message.ts,
    action,
    ...value.data,
  };
}
