import type { IncomingMessage } from "node:http";
import type { AskPerson } from "../approval/approval.ts";
import { settled, standingOf } from "../approval/settle.ts";
import { requestPath } from "../policy/request-path.ts";
import type { Gate } from "./gate.ts";
import { pairs } from "./headers.ts";
import type { HttpClient } from "./http-client.ts";
import { type HttpTarget, readHttpTarget } from "./http-target.ts";
import { overridesItself } from "./secret-binding.ts";
import type { Standing } from "./standing.ts";
import type { Passage, Traffic } from "./traffic.ts";

/** What stands in the way of a request, with the status that says so. */
export class Obstacle extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface AdmitPorts {
  readonly gate: Gate;
  readonly traffic: Traffic;
  readonly ask: AskPerson;
  readonly standing: Standing;
  /** Resolves when the session may open another connection, or make another request. @throws the signal's reason */
  readonly pace: { connection(signal: AbortSignal): Promise<void>; request(signal: AbortSignal): Promise<void> };
}

export interface Admitted {
  readonly target: HttpTarget;
  readonly passage: Passage;
}

/** Decides a request. What is permitted is on record when this resolves. @throws Obstacle, GatewayError AUDIT_UNWRITABLE */
export async function admit(
  request: IncomingMessage,
  client: HttpClient,
  { gate, traffic, pace, ask, standing }: AdmitPorts,
): Promise<Admitted> {
  await pace.request(client.gone);
  const target = readHttpTarget(request, client.destination);
  if ("problem" in target) {
    throw new Obstacle(400, traffic.refuse(client.destination ?? { host: "proxy", port: 0 }, target.problem));
  }
  const { host, port, scheme } = target;
  const method = request.method ?? "";
  const path = requestPath(target.path);
  const isRead = gate.readsRequests(host);
  if (isRead && (path === undefined || overridesItself(pairs(request.rawHeaders)))) {
    const what = path === undefined ? "path" : "method or path";
    throw new Obstacle(400, traffic.refuse(target, `the request's ${what} can be read in more than one way`));
  }
  const decide = () => gate.request({ host, port, scheme }, { method, ...(path !== undefined && { path }) });
  const before = decide();
  const verdict = await settled(before, ask, client.gone);
  if (!verdict.permitted) {
    const what = isRead ? `${verdict.reason} (${method} ${path})` : verdict.reason;
    throw new Obstacle(403, traffic.refuse(target, what, { policies: verdict.policies }));
  }
  // Before anything is awaited: see `passTls`.
  standing.keep(client.connection, target, () => standingOf(before, decide()));
  const passage = await client.passage(target, async () => {
    await pace.connection(client.gone);
    return await traffic.open({ host, port, scheme }, verdict);
  });
  client.gone.throwIfAborted();
  return { target, passage };
}
