import { join } from "node:path";
import type { AuditWriter } from "../audit/record.ts";
import type { Logger } from "../log.ts";
import type { PolicyInForce } from "../policy/layer.ts";
import type { Approvals, Channel } from "./approval.ts";
import { type ChannelPorts, openChannels } from "./channels.ts";
import { createApprovals } from "./desk.ts";
import type { Elicitation } from "./elicitation.ts";
import type { ApprovalsSettings } from "./settings.ts";
import { createTerminal } from "./terminal.ts";

export interface OpenApprovalsPorts extends Pick<ChannelPorts, "authorities" | "upstreamProxy" | "onSecret" | "hide"> {
  readonly stateDirectory: string;
  /** It is the user of an organisation's computer who has set the ways up. */
  readonly usersOwn: boolean;
  readonly elicitation: Pick<Elicitation, "channel">;
  readonly inForce: PolicyInForce;
  readonly audit: AuditWriter;
  readonly log: Logger;
}

/** The desk, with all the ways to ask people that the settings name. */
export async function openApprovals(
  settings: ApprovalsSettings,
  ports: OpenApprovalsPorts,
): Promise<Approvals & AsyncDisposable> {
  const { stateDirectory, usersOwn, elicitation, inForce, audit, log } = ports;
  await using stack = new AsyncDisposableStack();
  const network = stack.use(await openChannels(settings, ports));
  const channels: Channel[] = [...(settings.elicitation ? [elicitation.channel] : []), ...network.channels];
  const { terminal = {} } = settings;
  if (terminal !== false) {
    const directory = join(stateDirectory, "approvals");
    const { approvers } = terminal;
    channels.push(await createTerminal({ directory, ...(approvers && { approvers }), audit, log }));
  }
  const timeoutMs = settings.timeoutSeconds * 1_000;
  const desk = stack.use(createApprovals({ channels, usersOwn, audit, log, nowMs: Date.now, timeoutMs, inForce }));
  const owned = stack.move();
  return {
    approve: (...asked) => desk.approve(...asked),
    grants: (sessionId) => desk.grants(sessionId),
    forget: (sessionId) => desk.forget(sessionId),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
