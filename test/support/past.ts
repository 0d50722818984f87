import { openAuditLog } from "../../src/audit/log.ts";
import type { IntentBody, RecordBody } from "../../src/audit/record.ts";
import { describeCall } from "../../src/call/describe.ts";
import { findCapability } from "../../src/capability/registry.ts";
import type { Decision } from "../../src/policy/decision.ts";
import { recordedRequest } from "../../src/policy/replay.ts";
import type { PolicyRequest, Principal } from "../../src/policy/request.ts";

export const ADA: Principal = {
  id: "local:ada",
  client: { name: "tests", version: "1.0.0" },
  transport: "stdio",
};

/** The request of a call. @throws Error when its arguments do not fit */
export function requestOf(tool: string, args: object, principal = ADA): PolicyRequest {
  const described = describeCall(tool, args, principal);
  if ("problem" in described) throw new Error(described.problem);
  return described.request;
}

interface Recorded {
  readonly callId?: string;
  readonly sessionId?: string;
  readonly decided?: Decision["outcome"] | "invalid";
  readonly usage?: boolean;
}

/** An intent as the spine writes it. */
export function intentOf(
  tool: string,
  args: object,
  { callId = "call-1", sessionId = "ses-1", decided = "permit", usage = false }: Recorded = {},
): IntentBody {
  const request = requestOf(tool, args);
  const capability = findCapability(tool);
  const audit = capability?.describe(capability.input.parse(args), ADA).audit ?? null;
  return {
    kind: "intent",
    callId,
    principal: ADA,
    tool,
    arguments: audit,
    sessionId,
    decision: decided,
    policies: [],
    problems: [],
    bundle: { name: "t", version: "1.0.0", digest: `sha256:${"0".repeat(64)}` },
    request: recordedRequest(request, { usage }),
  };
}

/** Writes them as a gateway does: what was permitted has an outcome. */
export async function writeLog(directory: string, bodies: readonly RecordBody[]): Promise<void> {
  await using log = await openAuditLog({ directory, gateway: "gw-test" });
  // The log takes no more than some thousand calls that have no outcome yet.
  for (let from = 0; from < bodies.length; from += 1_000) {
    const some = bodies.slice(from, from + 1_000);
    await Promise.all(some.flatMap((it) => [it, ...outcomeOf(it)]).map((it) => log.append(it)));
  }
}

function outcomeOf(body: RecordBody): RecordBody[] {
  if (body.kind !== "intent" || body.decision !== "permit") return [];
  return [{ kind: "outcome", callId: body.callId, status: "ok", durationMs: 1, facts: {} }];
}
