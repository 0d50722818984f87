import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import { type Channel, openChannel } from "../channel.ts";
import type { GuestFacts } from "../engine.ts";
import { awaitEngine, beginGuest } from "./guest.ts";
import { bootFailed, failureOf, launch, machineFacts, withLastWords } from "./launch.ts";
import { createMachine, partsOf, type QemuMachine } from "./machine.ts";
import type { Attempt, Launched } from "./parts.ts";
import { type BootLimits, startWatchdog } from "./watchdog.ts";

export interface Boot extends Attempt {
  readonly limits: BootLimits;
  /** A file that is to hold the machine's memory, for a template. */
  readonly memory?: string;
}

/** The watchdog ended this boot: worth a second try. */
class BootHung extends GatewayError {
  constructor(message: string) {
    super("BOOT_FAILED", message);
  }
}

/** Boots one machine until its container engine answers, or leaves nothing behind. A boot that hangs is tried once more. */
export async function boot(attempt: Boot): Promise<QemuMachine> {
  try {
    return await bootOnce(attempt);
  } catch (error) {
    if (!(error instanceof BootHung)) throw error;
    attempt.progress("the machine hung while it booted; starting it once more");
    return await bootOnce(attempt);
  }
}

async function bootOnce(attempt: Boot): Promise<QemuMachine> {
  const { limits, signal, progress, memory } = attempt;
  await using owned = new AsyncDisposableStack();
  progress(`starting a machine (${attempt.verdict.acceleration})`);
  using watchdog = startWatchdog(limits);
  const from = memory === undefined ? { origin: "boot" as const } : { origin: "template-boot" as const, memory };
  const launched = await launch(attempt, from, owned, watchdog.signOfLife);
  const channel = owned.use(openChannel(launched.process.channel));
  const ended = AbortSignal.any([signal, watchdog.expired, channel.closed]);
  let guest: GuestFacts;
  try {
    guest = await bringUp(launched, channel, ended, () => {
      watchdog.signOfLife();
      progress("the guest is up, its container engine is starting");
    });
  } catch (error) {
    signal.throwIfAborted();
    if (watchdog.expired.aborted)
      throw new BootHung(withLastWords(`The sandbox's machine hung: ${watchdog.expired.reason}.`, launched.process));
    throw bootFailed(await failureOf(launched, "The sandbox's machine did not boot."), error);
  }
  const facts = machineFacts(attempt, launched.process.pid, "cold");
  return createMachine({ ...launched, ...partsOf(attempt), channel, facts, guest, owned: owned.move() });
}

async function bringUp(
  { qmp }: Launched,
  channel: Channel,
  ended: AbortSignal,
  onSpeaks: () => void,
): Promise<GuestFacts> {
  await qmp.execute("qmp_capabilities", ended);
  await abortable(channel.ready, ended);
  onSpeaks();
  const guest = await beginGuest(channel, "", ended);
  await awaitEngine(channel, ended);
  return guest;
}
