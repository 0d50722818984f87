import { GatewayError } from "../../errors.ts";
import { deadline } from "../../lib/deadline.ts";
import { failureOf, launch, machineFacts } from "./launch.ts";
import { createMachine, partsOf, type QemuMachine } from "./machine.ts";
import type { Attempt } from "./parts.ts";
import { takeUp } from "./take-up.ts";
import type { LoadedTemplate } from "./template.ts";

/** An idle computer needs a fiftieth of it. */
const CLONE_MS = 20_000;

/** The copy did not come to life: the template is suspect. */
export class CloneFailed extends GatewayError {
  constructor(message: string, cause: unknown) {
    super("BOOT_FAILED", message, { cause });
  }
}

/**
 * Starts a machine as a copy of a template: memory and disk are the template's until it writes to them. It has its own clock,
 * randomness and name before this resolves.
 * @throws CloneFailed
 */
export async function clone(attempt: Attempt, template: LoadedTemplate): Promise<QemuMachine> {
  const { spec, signal } = attempt;
  await using owned = new AsyncDisposableStack();
  const launched = await launch(attempt, { origin: "clone", template }, owned, () => undefined);
  try {
    const options = { travels: "devices", hostname: spec.hostname, owned } as const;
    const { channel, guest } = await takeUp(launched, template, options, deadline(CLONE_MS, signal));
    const facts = machineFacts(attempt, launched.process.pid, "template");
    return createMachine({ ...launched, ...partsOf(attempt), channel, facts, guest, owned: owned.move() });
  } catch (error) {
    signal.throwIfAborted();
    throw new CloneFailed(await failureOf(launched, "A copy of the saved machine did not start."), error);
  }
}
