import { createSecrets } from "../egress/secret-cache.ts";
import type { TunnelThrough } from "../egress/upstream-proxy.ts";
import type { Logger } from "../log.ts";
import type { SecretSource } from "../policy/secret.ts";
import type { Channel } from "./approval.ts";
import { createOutbound } from "./outbound.ts";
import type { ApprovalsSettings, SlackSettings, WebhookSettings } from "./settings.ts";
import { createSlack, type SlackChannel } from "./slack.ts";
import { createSlackApi } from "./slack-api.ts";
import { createWebhook } from "./webhook.ts";

/** How old the value of a secret may be, in ms. */
const SECRET_MS = 300_000;
const SLACK_API = new URL("https://slack.com/api/");

export interface ChannelPorts {
  /** Whose certificates count, in PEM: the system's and the configured ones. */
  readonly authorities: () => Promise<readonly string[]>;
  readonly upstreamProxy?: TunnelThrough;
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
  const send = createOutbound(ports);
  const secretIn = (name: string, source: SecretSource) => readFrom(name, source, closing.signal);
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

/** One secret's value, read when it is needed and again as it ages. It goes to no host by the sandbox's ways. */
function readFrom(name: string, source: SecretSource, signal: AbortSignal): (signal: AbortSignal) => Promise<string> {
  const secret = { name, source, refreshMs: SECRET_MS, hosts: [] };
  // Whoever asks is told of a failure: there is nobody else to tell.
  const secrets = createSecrets([secret], { signal, onFailure: () => undefined });
  return (asking) => secrets.value(name, asking);
}
