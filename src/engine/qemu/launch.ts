import { constants } from "node:fs";
import { copyFile, type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import type { MachineFacts } from "../engine.ts";
import { machineArguments } from "./command-line.ts";
import { createOverlay, makeRoom } from "./disk.ts";
import { openFiles } from "./files.ts";
import { confinedCommand } from "./host.ts";
import type { Attempt, Launched } from "./parts.ts";
import { type QemuProcess, startQemu } from "./process.ts";
import { createQmp } from "./qmp.ts";
import type { OpenSave } from "./saved.ts";
import type { Tail } from "./tail.ts";
import type { LoadedTemplate } from "./template.ts";

/** How much of the ends of the guest's console and of QEMU's complaints an error shows. */
const SHOWN_CHARS = 1_500;

/** A killed or failed process says how it ended within this time. */
const LAST_WORDS_MS = 500;

/** Where memory and disk begin; see `Origin`. */
export type LaunchFrom =
  | { readonly origin: "boot" }
  /** `memory` is an existing file, as large as the machine's memory. */
  | { readonly origin: "template-boot"; readonly memory: string }
  | { readonly origin: "clone"; readonly template: LoadedTemplate }
  | { readonly origin: "restore"; readonly saved: OpenSave };

/** Makes the machine's disk and starts its process. Everything that is to be ended or removed goes to `owned`. */
export async function launch(
  { qemu, verdict, spec, signal }: Attempt,
  from: LaunchFrom,
  owned: AsyncDisposableStack,
  onConsole: () => void,
): Promise<Launched> {
  const { image, directory } = spec;
  const { origin } = from;
  const overlay = join(directory, "data.qcow2");
  owned.defer(() => rm(overlay, { force: true }));
  await makeRoom(directory, origin === "restore" ? from.saved.diskBytes : 0);
  if (origin === "restore") await copyFile(pathOf(from.saved.disk), overlay, constants.COPYFILE_FICLONE);
  else await createOverlay(overlay, { base: image.data, sizeMiB: spec.diskMiB }, signal);
  const layer = await openLayer(from, owned);
  await using files = await openFiles([
    { path: image.kernel, flags: "r" },
    { path: image.initramfs, flags: "r" },
    { path: image.root, flags: "r" },
    { path: image.data, flags: "r" },
    { path: overlay, flags: "r+" },
    { path: directory, flags: "r" },
    ...(origin === "template-boot" ? [{ path: from.memory, flags: "r+" as const }] : []),
  ]);
  signal.throwIfAborted();
  const { acceleration } = verdict;
  const argv = machineArguments({ ...qemu, ...image, ...spec, acceleration, origin, layered: layer !== undefined });
  const process = owned.use(
    await startQemu(confinedCommand(qemu, verdict.groups, argv), {
      files: [...files.descriptors, ...inherited(from, layer)],
      ...(origin === "clone" ? { state: from.template.state } : {}),
      onConsole,
    }),
  );
  let shutdown: string | undefined;
  const qmp = createQmp(process.qmp, ({ name, data }) => {
    if (name === "SHUTDOWN") shutdown = printable(String(data["reason"]), 100);
  });
  return { process, qmp, overlay, layer, shutdown: () => shutdown };
}

/** Opened once more: what it came from may be closed before the machine is saved. */
async function openLayer(from: LaunchFrom, owned: AsyncDisposableStack): Promise<FileHandle | undefined> {
  const source =
    from.origin === "clone" ? from.template.disk : from.origin === "restore" ? from.saved.layer : undefined;
  if (!source) return undefined;
  const layer = await open(pathOf(source));
  owned.defer(() => layer.close());
  return layer;
}

/** The descriptors of `FD` from `memory` on that are open already. */
function inherited(from: LaunchFrom, layer: FileHandle | undefined): (number | "none")[] {
  if (from.origin === "clone") return [from.template.memory.fd, layer?.fd ?? "none"];
  if (from.origin === "restore") return ["none", layer?.fd ?? "none", from.saved.state.fd];
  return [];
}

function pathOf(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}`;
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
