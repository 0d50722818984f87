import type { z } from "zod";
import type { Json } from "../audit/record.ts";
import type { Mounts } from "../mounts/mounts.ts";
import type { Decision } from "../policy/decision.ts";
import type { LayerDecision } from "../policy/explain/explanation.ts";
import type { Proposal } from "../policy/explain/nearest.ts";
import type { Profile } from "../policy/profile.ts";
import type { Fact, Principal, Resource } from "../policy/request.ts";
import type { Session, Sessions } from "../session/session.ts";

/** What the model is told about a tool beyond its schema (MCP tool annotations). */
export interface Annotations {
  readonly title: string;
  readonly readOnly: boolean;
  readonly destructive: boolean;
  readonly idempotent: boolean;
  readonly openWorld: boolean;
}

/** A call as policy and the audit log see it; pure: made from validated arguments alone, before anything runs. */
export interface Description {
  readonly resource: Resource;
  readonly context: { readonly [name: string]: Fact };
  /** The arguments as the audit log keeps them: bodies as digests and sizes. */
  readonly audit: Json;
  /** What would run, one after the other, where the arguments do not say it: for a person who is asked. */
  readonly runs?: readonly (readonly string[])[];
}

/** What a running capability may use. `session` opens the sandbox on first use. */
export interface CallContext {
  readonly callId: string;
  readonly principal: Principal;
  readonly profile: Profile;
  readonly signal: AbortSignal;
  /** A short sentence, or a piece of live output, for the person who waits. Never throws. */
  readonly progress: (message: string) => void;
  readonly session: () => Promise<Session>;
  readonly sessions: Sessions;
  readonly mounts: Mounts;
  /** Asks policy about a would-be call; nothing is executed or recorded as an intent of it. */
  readonly decide: (tool: string, args: unknown) => Explanation;
}

export type Explanation =
  | {
      readonly valid: true;
      readonly decision: Decision;
      readonly description: Pick<Description, "resource" | "context">;
      /** What each layer makes of it; absent while there is one only. */
      readonly layers?: readonly LayerDecision[];
      /** Of what is not permitted: the smallest change that would be, where one is found. */
      readonly nearest?: Proposal;
    }
  | { readonly valid: false; readonly problem: string };

/** A picture for the model, besides the structured result. */
export interface Picture {
  readonly mimeType: string;
  readonly base64: string;
}

export interface Outcome<Output> {
  /** Fits the output schema; suffices alone, since some clients show nothing else. */
  readonly result: Output;
  /** The same for a reader. */
  readonly text: string;
  readonly pictures?: readonly Picture[];
  /** What the outcome record keeps of it. */
  readonly facts: Json;
}

/** An action that Glovebox implements; `mcp/server.ts` makes the tool of it. */
export interface Capability<Input extends z.ZodObject = z.ZodObject, Output extends z.ZodObject = z.ZodObject> {
  /** camelCase; the tool's name and the Cedar action's. */
  readonly name: string;
  readonly description: string;
  readonly annotations: Annotations;
  readonly input: Input;
  readonly output: Output;
  /** Whether this profile lets it do anything; one that it does not is not listed. */
  offered?(profile: Profile): boolean;
  describe(args: z.output<Input>, principal: Principal): Description;
  /** @throws GatewayError; anything else becomes INTERNAL. */
  run(args: z.output<Input>, context: CallContext): Promise<Outcome<z.output<Output>>>;
}

/** Keeps the schema's types inside and lets the registry hold any capability. */
export function capability<Input extends z.ZodObject, Output extends z.ZodObject>(
  definition: Capability<Input, Output>,
): Capability {
  return definition as unknown as Capability;
}
