import type { AuditWriter, IntentBody } from "../audit/record.ts";
import type { CallContext, Capability, Description, Outcome } from "../capability/capability.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import type { Logger } from "../log.ts";
import type { Mounts } from "../mounts/mounts.ts";
import type { BundleIdentity, Decision } from "../policy/decision.ts";
import type { Profile } from "../policy/profile.ts";
import type { PolicyRequest, Principal } from "../policy/request.ts";
import type { SessionTable } from "../session/session.ts";
import { keepable } from "./keepable.ts";
import { explain, policyRequest, understand } from "./understand.ts";

/** What the spine stands on; `gateway.ts` fills it in. */
export interface CallPorts {
  readonly find: (tool: string) => Capability | undefined;
  readonly decide: (request: PolicyRequest) => Decision;
  readonly bundle: BundleIdentity;
  readonly profile: Profile;
  readonly audit: AuditWriter;
  readonly sessions: SessionTable;
  readonly mounts: Mounts;
  readonly log: Logger;
}

export interface CallRequest {
  readonly tool: string;
  /** As the client sent them: nothing about them is known. */
  readonly args: unknown;
  readonly principal: Principal;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

export type CallResult =
  | { readonly kind: "done"; readonly callId: string; readonly outcome: Outcome<unknown> }
  | { readonly kind: "denied"; readonly callId: string; readonly decision: Decision }
  | { readonly kind: "failed"; readonly callId: string; readonly error: GatewayError };

/**
 * The path of one call: validate → describe → decide → record the intent → run → record the outcome. Nothing runs before
 * its intent is on disk; a permitted call has exactly one outcome record. Never rejects.
 */
export async function call(request: CallRequest, ports: CallPorts): Promise<CallResult> {
  const callId = newId("call");
  try {
    const capability = ports.find(request.tool);
    const understood = understand(capability, request);
    if (!understood.valid || !capability) {
      const problem = understood.valid ? `unknown tool` : understood.problem;
      await ports.audit.append(refusedIntent(callId, request, ports, problem));
      const code = capability ? "INVALID_ARGUMENTS" : "UNKNOWN_TOOL";
      return { kind: "failed", callId, error: new GatewayError(code, problem) };
    }
    const { args, description } = understood;
    const decision = ports.decide(policyRequest(capability, description, request.principal));
    const sessionId = ports.sessions.idOf(request.principal, sessionArgument(args));
    await ports.audit.append(intent(callId, request, sessionId, description, decision));
    if (decision.outcome !== "permit") return { kind: "denied", callId, decision };
    return await carryOut(callId, capability, args, sessionId, request, ports);
  } catch (error) {
    return { kind: "failed", callId, error: logged(error, callId, request, ports) };
  }
}

async function carryOut(
  callId: string,
  capability: Capability,
  args: Record<string, unknown>,
  sessionId: string,
  request: CallRequest,
  ports: CallPorts,
): Promise<CallResult> {
  const startedMs = performance.now();
  await using lease = ports.sessions.lease(request.principal, sessionArgument(args), callId);
  const { principal, signal, progress } = request;
  const { sessions, profile, mounts } = ports;
  const context: CallContext = {
    callId,
    principal,
    profile,
    signal,
    progress,
    sessions,
    mounts,
    session: () => lease.session(signal, progress),
    decide: (tool, would) => explain(tool, would, principal, ports),
  };
  let result: CallResult;
  try {
    result = { kind: "done", callId, outcome: await capability.run(args, context) };
  } catch (error) {
    result = { kind: "failed", callId, error: logged(error, callId, request, ports) };
  }
  const ended =
    result.kind === "done"
      ? { status: "ok" as const, facts: result.outcome.facts }
      : { status: "error" as const, code: result.error.code, facts: { message: keepable(result.error.message) } };
  const durationMs = Math.round(performance.now() - startedMs);
  await ports.audit.append({ kind: "outcome", callId, sessionId, durationMs, ...ended });
  return result;
}

function intent(callId: string, request: CallRequest, sessionId: string, description: Description, decision: Decision) {
  const { principal, tool } = request;
  const { outcome, policies, problems, bundle } = decision;
  const asked = { kind: "intent" as const, callId, principal, tool, arguments: description.audit, sessionId };
  return { ...asked, decision: outcome, policies, problems, bundle } satisfies IntentBody;
}

function refusedIntent(callId: string, request: CallRequest, ports: CallPorts, problem: string): IntentBody {
  const asked = { kind: "intent" as const, callId, principal: request.principal, tool: request.tool.slice(0, 100) };
  const kept = { arguments: keepable(request.args), decision: "invalid" as const };
  return { ...asked, ...kept, policies: [], problems: [problem], bundle: ports.bundle };
}

function sessionArgument(args: Record<string, unknown>): string | undefined {
  return typeof args["sessionId"] === "string" ? args["sessionId"] : undefined;
}

/** A cancelled call rejects with its signal's reason, whatever that is; everything else unexpected is INTERNAL. */
function logged(error: unknown, callId: string, request: CallRequest, ports: CallPorts): GatewayError {
  if (request.signal.aborted && !(error instanceof GatewayError)) return new GatewayError("CANCELLED");
  const failure = asGatewayError(error);
  const level = failure.code === "INTERNAL" ? "error" : "info";
  ports.log[level]({ callId, tool: request.tool.slice(0, 100), code: failure.code, err: error }, "call failed");
  return failure;
}
