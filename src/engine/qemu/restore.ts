import { deadline } from "../../lib/deadline.ts";
import { bootFailed, failureOf, launch, machineFacts } from "./launch.ts";
import { createMachine, partsOf, type QemuMachine } from "./machine.ts";
import type { Attempt } from "./parts.ts";
import { openSave } from "./saved.ts";
import { shapeOf } from "./shape.ts";
import { takeUp } from "./take-up.ts";

/** All of its memory is read. */
const RESTORE_MS = 120_000;

/**
 * Starts a machine as another one was when it was saved in `directory`. It has its own clock, randomness and name before this
 * resolves, and its memory to itself.
 * @throws GatewayError SNAPSHOT_UNUSABLE, and as `boot` does
 */
export async function restore(attempt: Attempt, directory: string): Promise<QemuMachine> {
  const { spec, signal, progress } = attempt;
  progress("checking the snapshot");
  await using saved = await openSave(directory, shapeOf(attempt), signal);
  await using owned = new AsyncDisposableStack();
  progress("reading the snapshot");
  const launched = await launch(attempt, { origin: "restore", saved }, owned, () => undefined);
  try {
    const options = { travels: "everything", hostname: spec.hostname, owned } as const;
    const { channel, guest } = await takeUp(launched, saved, options, deadline(RESTORE_MS, signal));
    const facts = machineFacts(attempt, launched.process.pid, "snapshot");
    return createMachine({ ...launched, ...partsOf(attempt), channel, facts, guest, owned: owned.move() });
  } catch (error) {
    signal.throwIfAborted();
    throw bootFailed(await failureOf(launched, "The snapshot's machine did not start."), error);
  }
}
