import type { EventBody, IntentBody, Json, OutcomeBody } from "../../src/audit/record.ts";

export function intent(callId: string, args: Json = { argv: ["true"] }): IntentBody {
  return {
    kind: "intent",
    callId,
    principal: { id: "local:ada", client: { name: "test", version: "1.0.0" }, transport: "stdio" },
    tool: "exec",
    arguments: args,
    sessionId: "ses-1",
    decision: "permit",
    policies: [{ id: "main.cedar#exec", effect: "permit", reason: "programs may run" }],
    problems: [],
    bundle: { name: "default", version: "1.0.0", digest: `sha256:${"a".repeat(64)}` },
  };
}

export function outcome(callId: string, facts: Json = { exitCode: 0 }): OutcomeBody {
  return { kind: "outcome", callId, sessionId: "ses-1", status: "ok", durationMs: 5, facts };
}

export function event(facts: Json, name: EventBody["event"] = "process-ended"): EventBody {
  return { kind: "event", event: name, sessionId: "ses-1", facts };
}
