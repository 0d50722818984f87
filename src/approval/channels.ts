import { readAsItAges } from "../egress/secret-value.ts";
import type { TunnelThrough } from "../egress/upstream-proxy.ts";
import { GatewayError } from "../errors.ts";
import { createOutbound } from "../lib/outbound.ts";
import type { Logger } from "../log.ts";
import type { SecretSource } from "../policy/secret.ts";
import type { Channel } from "./approval.ts";
import type { ApprovalsSettings, SlackSettings, WebhookSettings } from "./settings.ts";
import { createSlack, type SlackChannel } from "./slack.ts";
import { createSlackApi } from "./slack-api.ts";
import { createWebhook } from "./webhook.ts";

const SLACK_API = new URL("https://slack.com/api/");

export interface ChannelPorts {
  /** Whose certificates count, in PEM: the system's and the configured ones. */
  readonly authorities: () => Promise<readonly string[]>;
  readonly upstreamProxy?: TunnelThrough;
  /** Is told each secret of a way, as it is read: for whoever keeps secrets out of what is written down. */
  readonly onSecret?: (name: string, value: string) => void;
  /** Takes them out of what a receiver may have said again. */
  readonly hide?: (text: string) => string;
  readonly log: Pick<Logger, "warn" | "debug">;
  /** Where Slack's Web API is; left out: at Slack. */
  readonly slackApi?: URL;
}

export interface Channels extends AsyncDisposable {
  /** Those that the settings name, of the ones over the network. */
  readonly channels: readonly Channel[];
}

/**
 * The ways to ask people over the network. A port for answers that can't be had is logged: questions then fail by this way, with an
 * error that names it, and try it again. Disposal ends what is open and tells so where it was asked.
 */
export async function openChannels(
  { webhook, slack }: Pick<ApprovalsSettings, "webhook" | "slack">,
  ports: ChannelPorts,
): Promise<Channels> {
  await using stack = new AsyncDisposableStack();
  const closing = new AbortController();
  stack.defer(() => closing.abort());
  const send = createOutbound({
    ...ports,
    failed: (message, cause) => new GatewayError("APPROVAL_CHANNEL_FAILED", message, { cause }),
  });
  const secretIn = (name: string, source: SecretSource) => readAsItAges(name, source, closing.signal, ports.onSecret);
  const channels: Channel[] = [];
  if (webhook) channels.push(stack.use(openWebhook(webhook)));
  if (slack) channels.push(stack.use(await openSlack(slack)));
  const owned = stack.move();
  return { channels, [Symbol.asyncDispose]: () => owned.disposeAsync() };

  function openWebhook(settings: WebhookSettings) {
    return createWebhook(settings, {
      send,
      secret: secretIn("approvals.webhook.secret", settings.secret),
      log: ports.log,
    });
  }

  async function openSlack(settings: SlackSettings): Promise<SlackChannel> {
    const token = secretIn("approvals.slack.token", settings.token);
    const signingSecret = secretIn("approvals.slack.signingSecret", settings.signingSecret);
    const call = createSlackApi({ send, token, root: ports.slackApi ?? SLACK_API });
    const channel = createSlack(settings, { call, signingSecret, log: ports.log });
    try {
      await channel.open();
    } catch (error) {
      ports.log.warn({ err: error }, "nobody can answer by Slack for now");
    }
    return channel;
  }
}
