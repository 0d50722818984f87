import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import type { MachineFacts, MachineSpec } from "../engine.ts";
import { machineArguments } from "./command-line.ts";
import { createOverlay } from "./disk.ts";
import { openFiles } from "./files.ts";
import { confinedCommand, type QemuHost } from "./host.ts";
import type { Verdict } from "./probe.ts";
import { type QemuProcess, startQemu } from "./process.ts";
import { createQmp, type Qmp } from "./qmp.ts";
import type { Tail } from "./tail.ts";
import type { LoadedTemplate } from "./template.ts";

/** How much of the ends of the guest's console and of QEMU's complaints an error shows. */
const SHOWN_CHARS = 1_500;

/** A killed or failed process says how it ended within this time. */
const LAST_WORDS_MS = 500;

export interface Attempt {
  readonly qemu: QemuHost;
  readonly verdict: Verdict;
  readonly spec: MachineSpec;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** Where memory and disk begin; see `Origin`. */
export type LaunchFrom =
  | { readonly origin: "boot" }
  /** `memory` is an existing file, as large as the machine's memory. */
  | { readonly origin: "template-boot"; readonly memory: string }
  | { readonly origin: "clone"; readonly template: LoadedTemplate };

/** A QEMU that runs, with its monitor in use. Its process and files are owned by whoever launched it. */
export interface Launched {
  readonly process: QemuProcess;
  readonly qmp: Qmp;
  /** The machine's disk: everything that it wrote. */
  readonly overlay: string;
  /** Why the guest says that it shuts down, once it does. */
  readonly shutdown: () => string | undefined;
}

/** Makes the machine's disk and starts its process. Everything that is to be ended or removed goes to `owned`. */
export async function launch(
  { qemu, verdict, spec, signal }: Attempt,
  from: LaunchFrom,
  owned: AsyncDisposableStack,
  onConsole: () => void,
): Promise<Launched> {
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
    ...(from.origin === "template-boot"
      ? [
          { path: from.memory, flags: "r+" as const },
          { path: directory, flags: "r" as const },
        ]
      : []),
  ]);
  signal.throwIfAborted();
  const { origin } = from;
  const argv = machineArguments({ ...qemu, ...image, ...spec, acceleration: verdict.acceleration, origin });
  const shared = origin === "clone" ? [from.template.memory.fd, from.template.disk.fd] : [];
  const process = owned.use(
    await startQemu(confinedCommand(qemu, verdict.groups, argv), {
      files: [...files.descriptors, ...shared],
      ...(origin === "clone" ? { state: from.template.state } : {}),
      onConsole,
    }),
  );
  let shutdown: string | undefined;
  const qmp = createQmp(process.qmp, ({ name, data }) => {
    if (name === "SHUTDOWN") shutdown = printable(String(data["reason"]), 100);
  });
  return { process, qmp, overlay, shutdown: () => shutdown };
}

export function machineFacts({ qemu, verdict }: Attempt, pid: number, start: MachineFacts["start"]): MachineFacts {
  const warning = [verdict.warning, qemu.warning].filter((it) => it !== undefined).join(" ");
  return {
    engine: "qemu",
    engineVersion: qemu.version.text,
    level: "microvm",
    acceleration: verdict.acceleration,
    start,
    ...(warning ? { warning } : {}),
    pid,
  };
}

/** Ends a machine that did not come up, and answers the sentence with what was heard of it. */
export async function failureOf({ process }: Launched, sentence: string): Promise<string> {
  process.kill();
  await Promise.race([process.exited, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
  return withLastWords(sentence, process);
}

export function bootFailed(message: string, cause: unknown): GatewayError {
  return new GatewayError("BOOT_FAILED", message, { cause });
}

export function withLastWords(sentence: string, process: QemuProcess): string {
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
