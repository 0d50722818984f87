import type { Process } from "../session/process.ts";
import type { Session } from "../session/session.ts";
import type { CallContext } from "./capability.ts";
import { statIfAny } from "./lookup.ts";
import type { Manager, Order, Place } from "./managers/manager.ts";
import { runToEnd } from "./run-to-end.ts";

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
    const { argv, from } = next.value;
    const spec = { argv, cwd: order.directory, env: {}, keepStdinOpen: false, timeoutMs: leftMs };
    const process = await runToEnd(spec, from, session, context);
    const { endedBy, exitCode } = process.end ?? {};
    succeeded = endedBy === "exit" && exitCode === 0;
    if (!succeeded && !(endedBy === "exit" && next.value.mayFail)) return { failed: process };
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
