import { setTimeout } from "node:timers/promises";
import type { CallResult } from "../call/ports.ts";
import { GatewayError } from "../errors.ts";

/** A gateway, as tests of skills use it: all goes through the calls that an agent has. */
export interface TestPort {
  call(tool: string, args: object): Promise<CallResult>;
  /** Aborts when the tests are to stop. */
  readonly signal: AbortSignal;
}

const AGAIN_MS = 500;

/**
 * Calls again while the sandbox is being prepared, as that answer says to; preparation has its own deadline.
 * @throws GatewayError when the tests are to stop: then an answer says nothing about the skill
 */
export function patient({ call, signal }: TestPort): TestPort {
  const answered = async (tool: string, args: object): Promise<CallResult> => {
    for (;;) {
      const answer = await call(tool, args);
      if (signal.aborted) throw stopReason(signal);
      if (!isPreparing(answer)) return answer;
      await setTimeout(AGAIN_MS, undefined, { signal }).catch(() => {
        throw stopReason(signal);
      });
    }
  };
  return { call: answered, signal };
}

export function isPreparing(answer: CallResult): boolean {
  return answer.kind === "failed" && answer.error.code === "STILL_PREPARING";
}

function stopReason({ reason }: AbortSignal): GatewayError {
  return reason instanceof GatewayError ? reason : new GatewayError("CANCELLED", "the tests were stopped");
}
