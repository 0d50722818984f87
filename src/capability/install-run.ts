import type { Process } from "../session/process.ts";
import type { Session } from "../session/session.ts";
import type { CallContext } from "./capability.ts";
import { reportOutput } from "./live-output.ts";
import { statIfAny } from "./lookup.ts";
import type { Manager, Order, Place, Step } from "./managers/manager.ts";
import { missingProgram } from "./missing-program.ts";

const MAX_READ_BYTES = 65_536;

export type Installed = { readonly note: string | undefined } | { readonly failed: Process };

/** Runs a package manager's steps until one fails. When the call is cancelled, so is the step that runs. */
export async function runSteps(
  manager: Manager,
  order: Order,
  { session, timeoutMs, context }: { session: Session; timeoutMs: number; context: CallContext },
): Promise<Installed> {
  const steps = manager.steps(order, placeOf(session, context.signal));
  const dueMs = performance.now() + timeoutMs;
  let succeeded = true;
  for (;;) {
    const next = await steps.next(succeeded);
    if (next.done) return { note: next.value };
    const leftMs = Math.max(1, Math.ceil(dueMs - performance.now()));
    const process = await runStep(next.value, order.directory, { session, timeoutMs: leftMs, context });
    const { endedBy, exitCode } = process.end ?? {};
    succeeded = endedBy === "exit" && exitCode === 0;
    if (!succeeded && !(endedBy === "exit" && next.value.mayFail)) return { failed: process };
  }
}

async function runStep(
  { argv, from }: Step,
  cwd: string,
  { session, timeoutMs, context }: { session: Session; timeoutMs: number; context: CallContext },
): Promise<Process> {
  const { signal, callId, progress } = context;
  const spec = { argv, cwd, env: {}, keepStdinOpen: false, timeoutMs, callId };
  const process = await session.processes.start(spec, signal).catch(missingProgram(argv[0], from));
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

function placeOf({ container }: Session, signal: AbortSignal): Place {
  return {
    has: async (path) => (await statIfAny(container, path, signal)) !== undefined,
    read: async (path) => (await container.readFile(path, MAX_READ_BYTES, signal)).toString("utf8"),
    write: (path, content) =>
      container.writeFile(path, Buffer.from(content), { mode: 0o644, createParents: true }, signal),
  };
}
