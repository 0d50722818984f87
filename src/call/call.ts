import { detailsOf, runDetails } from "../approval/details.ts";
import type { IntentBody } from "../audit/record.ts";
import type { CallContext, Capability, Description } from "../capability/capability.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import { recordedRequest } from "../policy/replay.ts";
import { askPerson } from "./ask-person.ts";
import { bodiesOf, type CallBodies, type Ended } from "./bodies.ts";
import { type Decided, decided } from "./decided.ts";
import { explain } from "./explain.ts";
import { keepable } from "./keepable.ts";
import type { CallPorts, CallRequest, CallResult } from "./ports.ts";
import { policyRequest, understand } from "./understand.ts";

/**
 * The path of one call: validate → describe → decide → record the intent → ask, where policy says so → run → record the outcome. Nothing
 * runs before its intent is on disk; a call that runs has exactly one outcome record. Never rejects.
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
    const sessionId = ports.sessions.idOf(request.principal, sessionArgument(args));
    const would = policyRequest(capability, description, request.principal);
    const { decision, asked, undecided } = decided(would, sessionId, ports);
    const bodies = bodiesOf(callId, request, sessionId, ports);
    const { failure, ...kept } = await bodies.arguments(args);
    // What can't be kept as policy has it kept does not run, whatever was decided.
    const refused = failure && { decision: "deny" as const, policies: [], problems: [failure.message] };
    const intended = intent(callId, request, sessionId, { description, decision, asked });
    await ports.audit.append({ ...intended, ...refused, ...kept });
    if (undecided ?? failure) throw undecided ?? failure;
    if (decision.outcome === "deny") {
      const relief = ports.accounts.relief(decision, { principalId: request.principal.id, sessionId });
      return { kind: "denied", callId, decision, ...(relief !== undefined && { relief }) };
    }
    if (decision.outcome === "ask") {
      const details = [...detailsOf(capability.name, args, asked), ...runDetails(description.runs ?? [])];
      const refused = await askPerson({ request: asked, decision, sessionId, callId, details }, request, ports);
      if (refused) return { kind: "denied", callId, ...refused };
    }
    return await carryOut(callId, capability, args, { sessionId, bodies }, request, ports);
  } catch (error) {
    return { kind: "failed", callId, error: logged(error, callId, request, ports) };
  }
}

async function carryOut(
  callId: string,
  capability: Capability,
  args: Record<string, unknown>,
  { sessionId, bodies }: { readonly sessionId: string; readonly bodies: CallBodies },
  request: CallRequest,
  ports: CallPorts,
): Promise<CallResult> {
  const startedMs = performance.now();
  await using lease = ports.sessions.lease(request.principal, sessionArgument(args), callId);
  const { principal, signal, progress, trace } = request;
  const { sessions, mounts } = ports;
  const context: CallContext = {
    callId,
    principal,
    profile: ports.policy.current.profile,
    signal,
    progress,
    sessions,
    mounts,
    session: () => lease.session(signal, progress),
    decide: (tool, would) => explain(tool, would, { principal, sessionId }, ports),
  };
  let result: Ended;
  try {
    using _counted = ports.accounts.run({ principalId: principal.id, sessionId });
    result = { kind: "done", callId, outcome: await capability.run(args, context) };
  } catch (error) {
    result = { kind: "failed", callId, error: logged(error, callId, request, ports) };
  }
  const ended =
    result.kind === "done"
      ? { status: "ok" as const, facts: result.outcome.facts }
      : { status: "error" as const, code: result.error.code, facts: { message: keepable(result.error.message) } };
  const durationMs = Math.round(performance.now() - startedMs);
  const { failure, ...kept } = await bodies.result(result);
  const { machineId } = lease;
  const place = { sessionId, ...(machineId !== undefined && { machineId }) };
  await ports.audit.append({
    kind: "outcome",
    callId,
    ...place,
    ...(trace && { trace }),
    durationMs,
    ...ended,
    ...kept,
  });
  return failure ? { kind: "failed", callId, error: logged(failure, callId, request, ports) } : result;
}

type Described = Pick<Decided, "decision" | "asked"> & { readonly description: Description };

function intent(callId: string, request: CallRequest, sessionId: string, described: Described): IntentBody {
  const { principal, tool } = request;
  const { outcome, policies, problems, bundle, shadow } = described.decision;
  const call = { kind: "intent" as const, callId, principal, tool, arguments: described.description.audit, sessionId };
  const seen = { ...(shadow && { shadow }), request: recordedRequest(described.asked, { usage: true }) };
  return { ...call, decision: outcome, policies, problems, bundle, ...seen, ...namesOf(request) };
}

function refusedIntent(callId: string, request: CallRequest, ports: CallPorts, problem: string): IntentBody {
  const asked = { kind: "intent" as const, callId, principal: request.principal, tool: request.tool.slice(0, 100) };
  const kept = { arguments: keepable(request.args), decision: "invalid" as const };
  const bundle = ports.policy.current.identity;
  return { ...asked, ...kept, policies: [], problems: [problem], bundle, ...namesOf(request) };
}

/** By what the client knows the call: for the record, and never for a decision. */
function namesOf({ requestId, trace }: CallRequest) {
  return { ...(requestId !== undefined && { requestId }), ...(trace && { trace }) };
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
