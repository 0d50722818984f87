import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import { printable } from "../../lib/text.ts";
import { type Channel, openChannel } from "../channel.ts";
import type { GuestFacts, Machine, MachineFacts, MachineSpec } from "../engine.ts";
import { machineArguments } from "./command-line.ts";
import { createOverlay } from "./disk.ts";
import { openFiles } from "./files.ts";
import { confinedCommand, type QemuHost } from "./host.ts";
import { createMachine } from "./machine.ts";
import type { Verdict } from "./probe.ts";
import { type QemuProcess, startQemu } from "./process.ts";
import { createQmp } from "./qmp.ts";
import type { Tail } from "./tail.ts";
import { type BootLimits, startWatchdog } from "./watchdog.ts";

/** How much of the ends of the guest's console and of QEMU's complaints an error shows. */
const SHOWN_CHARS = 1_500;

/** A killed or failed process says how it ended within this time. */
const LAST_WORDS_MS = 500;

const guestFacts = z.strictObject({
  bootId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  kernelRelease: z.string().regex(/^[\w.+~-]{1,100}$/),
});

export interface Boot {
  readonly qemu: QemuHost;
  readonly verdict: Verdict;
  readonly spec: MachineSpec;
  readonly limits: BootLimits;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** The watchdog ended this boot: worth a second try. */
export class BootHung extends GatewayError {
  constructor(message: string) {
    super("BOOT_FAILED", message);
  }
}

/** Boots one machine until its container engine answers, or leaves nothing behind. */
export async function boot({ qemu, verdict, spec, limits, signal, progress }: Boot): Promise<Machine> {
  await using owned = new AsyncDisposableStack();
  progress(`starting a machine (${verdict.acceleration})`);
  using watchdog = startWatchdog(limits);
  const process = owned.use(await startMachine({ qemu, verdict, spec, signal }, owned, watchdog.signOfLife));
  let shutdown: string | undefined;
  const qmp = createQmp(process.qmp, ({ name, data }) => {
    if (name === "SHUTDOWN") shutdown = printable(String(data["reason"]), 100);
  });
  const channel = owned.use(openChannel(process.channel));
  const ended = AbortSignal.any([signal, watchdog.expired, channel.closed]);
  let guest: GuestFacts;
  try {
    await qmp.execute("qmp_capabilities", ended);
    guest = await beginSession(channel, ended, () => {
      watchdog.signOfLife();
      progress("the guest is up, its container engine is starting");
    });
  } catch (error) {
    signal.throwIfAborted();
    if (watchdog.expired.aborted)
      throw new BootHung(withLastWords(`The sandbox's machine hung: ${watchdog.expired.reason}.`, process));
    process.kill();
    await Promise.race([process.exited, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
    throw new GatewayError("BOOT_FAILED", withLastWords("The sandbox's machine did not boot.", process), {
      cause: error,
    });
  }
  const facts = machineFacts(qemu, verdict, process.pid);
  return createMachine({ id: spec.id, facts, guest, process, channel, shutdown: () => shutdown, owned: owned.move() });
}

/** Makes the machine's disk and starts its process. The disk's removal goes to `owned`. */
async function startMachine(
  { qemu, verdict, spec, signal }: Pick<Boot, "qemu" | "verdict" | "spec" | "signal">,
  owned: AsyncDisposableStack,
  onConsole: () => void,
): Promise<QemuProcess> {
  const { image, directory } = spec;
  const overlay = join(directory, "data.qcow2");
  owned.defer(() => rm(overlay, { force: true }));
  await createOverlay(overlay, { directory, base: image.data, sizeMiB: spec.diskMiB }, signal);
  await using files = await openFiles([
    { path: image.kernel, flags: "r" },
    { path: image.initramfs, flags: "r" },
    { path: image.root, flags: "r" },
    { path: image.data, flags: "r" },
    { path: overlay, flags: "r+" },
  ]);
  signal.throwIfAborted();
  const argv = machineArguments({ ...qemu, ...image, ...spec, acceleration: verdict.acceleration });
  return await startQemu(confinedCommand(qemu, verdict.groups, argv), files.descriptors, onConsole);
}

/** Gives the guest time and randomness, and waits for its container engine. */
async function beginSession(channel: Channel, ended: AbortSignal, onSpeaks: () => void): Promise<GuestFacts> {
  await abortable(channel.ready, ended);
  onSpeaks();
  const entropy = randomBytes(32).toString("base64");
  return await channel.ask("/begin", { unixTimeMs: Date.now(), entropy }, guestFacts, ended);
}

function machineFacts(qemu: QemuHost, verdict: Verdict, pid: number): MachineFacts {
  const warning = [verdict.warning, qemu.warning].filter((it) => it !== undefined).join(" ");
  return {
    engine: "qemu",
    engineVersion: qemu.version.text,
    level: "microvm",
    acceleration: verdict.acceleration,
    ...(warning ? { warning } : {}),
    pid,
  };
}

function withLastWords(sentence: string, process: QemuProcess): string {
  const parts = [sentence];
  const complaints = readable(process.stderr);
  const console = readable(process.console);
  if (complaints) parts.push(`QEMU said:\n${complaints}`);
  parts.push(console ? `The end of its console:\n${console}` : "Its console is empty.");
  return parts.join("\n");
}

/** The firmware clears the screen and switches line wrapping; that is not worth a replacement character each. */
function readable(tail: Tail): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal sequences begin with one
  const plain = tail.text().replaceAll(/\u001b(?:c|\[[0-9;?]*[A-Za-z])|\r/g, "");
  return printable(plain.trim().slice(-SHOWN_CHARS));
}
