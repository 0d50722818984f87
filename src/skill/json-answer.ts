import { GatewayError } from "../errors.ts";

/** What writes JSON recurses: deeper, a value that was read could not be sent. No answer is meant to be so deep. */
const MAX_DEPTH = 64;

/**
 * What a program of the sandbox answers in JSON, as it may go to a client: no deeper than 64, and without lone surrogates, which strict clients
 * refuse together with the message around them.
 * @throws GatewayError SKILL_FAILED
 */
export function jsonAnswer(text: string): unknown {
  try {
    return sendable(JSON.parse(text), 0);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError("SKILL_FAILED", "its answer was to be JSON, and is not", { cause: error });
  }
}

function sendable(value: unknown, depth: number): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) throw new GatewayError("SKILL_FAILED", `its answer is nested more than ${MAX_DEPTH} deep`);
  if (Array.isArray(value)) return value.map((it) => sendable(it, depth + 1));
  // Not assignment: a key called `__proto__` stays a key.
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key.toWellFormed(), sendable(it, depth + 1)]));
}
