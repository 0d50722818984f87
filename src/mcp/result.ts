import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import type { CallResult } from "../call/ports.ts";

type Denied = Extract<CallResult, { kind: "denied" }>;

/** Namespace of our `_meta` keys (MCP reserves unprefixed ones). */
const META = "glovebox/call";

/** The one place where what happened becomes what the client sees: never a stack, a cause or a host path. */
export function toToolResult(result: CallResult): CallToolResult {
  const { callId } = result;
  switch (result.kind) {
    case "done": {
      const { outcome } = result;
      const pictures = (outcome.pictures ?? []).map(({ mimeType, base64 }) => ({
        type: "image" as const,
        mimeType,
        data: base64,
      }));
      return {
        content: [{ type: "text", text: outcome.text }, ...pictures],
        structuredContent: outcome.result as Record<string, unknown>,
        _meta: { [META]: { callId } },
      };
    }
    case "denied":
      return refusal(denialText(result, callId), { callId, code: "DENIED", decision: result.decision });
    case "failed": {
      const { code, message, fix, retryable } = result.error;
      const text = `${code}: ${message}\nWhat to do: ${fix}\nRetrying the same call may help: ${retryable ? "yes" : "no"}. Call id: ${callId}`;
      return refusal(text, { callId, code, retryable });
    }
  }
}

function refusal(text: string, meta: Record<string, unknown>): CallToolResult {
  return { isError: true, content: [{ type: "text", text }], _meta: { [META]: meta } };
}

function denialText({ decision, unapproved, relief }: Denied, callId: string): string {
  const reasons = decision.policies.map(
    ({ id, reason, layer }) => `- ${layer === undefined ? id : `${layer}: ${id}`}: ${reason ?? "forbids it"}`,
  );
  const why =
    decision.problems.length > 0
      ? decision.problems.map((it) => `- policy could not be evaluated, which denies: ${it}`)
      : reasons.length > 0
        ? reasons
        : ["- no policy permits it (everything is denied unless a policy permits it)"];
  const bundle = `${decision.bundle.name} ${decision.bundle.version} (${decision.bundle.digest.slice(0, 19)}…)`;
  return [
    unapproved === undefined
      ? "DENIED by policy. Nothing was executed."
      : `NOT APPROVED: policy leaves this call to a person. Nothing was executed. ${unapproved}`,
    ...why,
    ...(relief === undefined ? [] : [relief]),
    `Policy bundle: ${bundle}. Call id: ${callId}`,
    relief === undefined && unapproved === undefined
      ? "Repeating the call gives the same answer. `explainPolicy` tells about a changed call without executing it."
      : "`explainPolicy` tells about a changed call without executing it.",
  ].join("\n");
}
