import { z } from "zod";
import { type Capability, capability } from "../capability/capability.ts";
import { plain, sessionId } from "../capability/fields.ts";
import { GatewayError } from "../errors.ts";
import { skillResult } from "./outcome.ts";

const NAME = "runCapability";

const input = z.strictObject({
  capability: plain(130).min(1).describe("The tool's name, as useSkill or findCapability gave it."),
  arguments: z.record(z.string(), z.unknown()).default({}),
  sessionId,
});

/**
 * The call that is meant: for policy, the record and whoever reads it, a capability that is called through `runCapability` is called. What is no call of
 * a skill's capability stays as it is, and is refused as such.
 */
export function meant<T extends { readonly tool: string; readonly args: unknown }>(
  call: T,
  isSkillTool: (tool: string) => boolean,
): T {
  if (call.tool !== NAME) return call;
  const parsed = input.safeParse(call.args ?? {});
  if (!parsed.success || !isSkillTool(parsed.data.capability)) return call;
  const { capability: tool, sessionId: session } = parsed.data;
  // As they were sent: zod leaves a key `__proto__` out of a record, and the tool itself refuses it.
  const { arguments: args = {} } = call.args as { readonly arguments?: object };
  return { ...call, tool, args: session === undefined ? args : { ...args, sessionId: session } };
}

/** For clients that don't list tools anew. */
export const runCapability: Capability = capability({
  name: NAME,
  description: "Call a tool of a skill in use, where the client does not list it. Same as calling the tool itself.",
  annotations: { title: "Run a capability", readOnly: false, destructive: true, idempotent: false, openWorld: true },
  input,
  output: skillResult,
  describe: () => {
    // Whatever is a skill's tool has become a call of it before.
    throw new GatewayError("INVALID_ARGUMENTS", "capability: there is no such tool of a skill; ask findCapability");
  },
  run: () => Promise.reject(new GatewayError("INVALID_ARGUMENTS")),
});
