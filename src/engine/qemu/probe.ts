import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { abortable, deadline } from "../../lib/deadline.ts";
import type { MachineImage } from "../engine.ts";
import { type Acceleration, probeArguments } from "./command-line.ts";
import { openFiles } from "./files.ts";
import { confinedCommand, kvmAccess, type QemuHost } from "./host.ts";
import { type QemuProcess, startQemu } from "./process.ts";

const run = promisify(execFile);

/** What the guest agent prints in the initramfs as soon as user space runs. */
const USER_SPACE_MARKER = "glovebox: user space";

/** A guest reaches user space in under a second with working hardware virtualisation; a hung one never does. */
export const PROBE_MS = 6_000;

const verdictSchema = z.strictObject({
  key: z.string(),
  acceleration: z.enum(["kvm", "hvf", "tcg"]),
  /** Supplementary groups that QEMU needs for it. */
  groups: z.array(z.int()),
  warning: z.string().optional(),
});

export type Verdict = Omit<z.infer<typeof verdictSchema>, "key">;

export interface ProbeOptions {
  readonly image: Pick<MachineImage, "kernel" | "initramfs" | "digest">;
  /** A machine's directory; names the process, nothing is written there. */
  readonly directory: string;
  /** Where the verdict is kept until the host restarts, or QEMU or the image change. */
  readonly cacheFile: string;
  readonly progress: (message: string) => void;
}

/**
 * Finds out which accelerator really works, by booting the guest kernel with it: the presence of /dev/kvm proves nothing, on
 * some hosts an ordinary kernel hangs with it. What doesn't work is replaced by emulation, with a warning.
 */
export async function chooseAcceleration(qemu: QemuHost, options: ProbeOptions, signal: AbortSignal): Promise<Verdict> {
  const key = await cacheKey(qemu, options.image.digest);
  const known = await readVerdict(options.cacheFile, key);
  if (known) return known;
  const verdict = await judge(qemu, options, signal);
  await writeVerdict(options.cacheFile, key, verdict);
  return verdict;
}

async function judge(qemu: QemuHost, options: ProbeOptions, signal: AbortSignal): Promise<Verdict> {
  const acceleration = qemu.host.platform === "darwin" ? "hvf" : "kvm";
  const access = acceleration === "kvm" ? await kvmAccess(qemu) : { groups: [] };
  if ("refusal" in access) return emulation(access.refusal);
  options.progress("trying out this computer's hardware virtualisation");
  const works = await boots(qemu, { ...options, acceleration, groups: access.groups, deadlineMs: PROBE_MS }, signal);
  if (!works)
    return emulation(`the guest does not boot with ${acceleration.toUpperCase()} within ${PROBE_MS / 1000} s`);
  return { acceleration, groups: [...access.groups] };
}

function emulation(why: string): Verdict {
  return {
    acceleration: "tcg",
    groups: [],
    warning: `No hardware virtualisation (${why}): the sandbox is emulated, and slow.`,
  };
}

export interface TrialOptions extends Pick<ProbeOptions, "image" | "directory"> {
  readonly acceleration: Acceleration;
  readonly groups: readonly number[];
  readonly deadlineMs: number;
}

/** Whether the guest's kernel and initramfs reach user space in time. The trial's process is gone when this answers. */
export async function boots(qemu: QemuHost, options: TrialOptions, signal: AbortSignal): Promise<boolean> {
  const { image, acceleration, directory } = options;
  await using files = await openFiles([
    { path: image.kernel, flags: "r" },
    { path: image.initramfs, flags: "r" },
  ]);
  const shape = { memoryMiB: 512, vcpus: 1, origin: "boot", layered: false } as const;
  const argv = probeArguments({ ...qemu, ...image, acceleration, directory, ...shape });
  const seen = Promise.withResolvers<boolean>();
  await using trial: QemuProcess = await startQemu(confinedCommand(qemu, options.groups, argv), {
    files: files.descriptors,
    onConsole: () => {
      if (trial.console.text().includes(USER_SPACE_MARKER)) seen.resolve(true);
    },
  });
  const limit = deadline(options.deadlineMs, signal);
  try {
    return await abortable(Promise.race([seen.promise, trial.exited.then(() => false)]), limit);
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted) return false;
    throw error;
  }
}

async function cacheKey(qemu: QemuHost, imageDigest: string): Promise<string> {
  const facts = [await hostBootId(qemu), qemu.binary, qemu.version.text, qemu.confinement, imageDigest];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}

async function hostBootId(qemu: QemuHost): Promise<string> {
  if (qemu.host.platform === "linux") return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  return (await run("sysctl", ["-n", "kern.bootsessionuuid"])).stdout.trim();
}

/** A cache: what can't be read is found out again. */
async function readVerdict(path: string, key: string): Promise<Verdict | undefined> {
  try {
    const { key: storedKey, ...verdict } = verdictSchema.parse(JSON.parse(await readFile(path, "utf8")));
    return storedKey === key ? verdict : undefined;
  } catch {
    return undefined;
  }
}

async function writeVerdict(path: string, key: string, verdict: Verdict): Promise<void> {
  const aside = `${path}.${process.pid}`;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(aside, JSON.stringify({ key, ...verdict }), { mode: 0o600 });
  await rename(aside, path);
}
