import type { Process, ProcessSpec } from "../session/process.ts";
import type { Session } from "../session/session.ts";
import type { CallContext } from "./capability.ts";
import { reportOutput } from "./live-output.ts";
import { missingProgram } from "./missing-program.ts";

/**
 * Runs a program until it has ended; when the call is cancelled, so is the program. `from`: what an image gets it from, for people.
 * @throws GatewayError PROGRAM_NOT_FOUND, and what `Processes.start` throws
 */
export async function runToEnd(
  spec: Omit<ProcessSpec, "callId">,
  from: string,
  { processes }: Pick<Session, "processes">,
  { signal, callId, progress }: Pick<CallContext, "signal" | "callId" | "progress">,
): Promise<Process> {
  const [program] = spec.argv;
  const process = await processes.start({ ...spec, callId }, signal).catch(missingProgram(program, from));
  const stopReporting = reportOutput(process, progress);
  const onAbort = () => void process.cancel("cancelled");
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal.aborted) onAbort();
    await process.ended;
    return process;
  } finally {
    signal.removeEventListener("abort", onAbort);
    stopReporting();
  }
}
