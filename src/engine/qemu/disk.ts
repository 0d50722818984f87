import { execFile } from "node:child_process";
import { stat, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { deadline } from "../../lib/deadline.ts";

const run = promisify(execFile);
const MIB = 1024 * 1024;

/** The least free space on the host at which a machine is started; its disk grows as the guest writes. */
const HOST_RESERVE_MIB = 1024;

export interface OverlayOptions {
  /** What the disk begins as; only read. */
  readonly base: string;
  readonly sizeMiB: number;
}

/** Refuses when the host would have too little space after another `bytes`. @throws GatewayError DISK_FULL */
export async function makeRoom(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const freeMiB = Math.floor((bavail * bsize) / MIB);
  const neededMiB = HOST_RESERVE_MIB + Math.ceil(bytes / MIB);
  if (freeMiB < neededMiB)
    throw new GatewayError("DISK_FULL", `The host has ${freeMiB} MiB left for sandboxes; ${neededMiB} MiB are needed.`);
}

/**
 * Makes `path`, a copy-on-write disk over `base`.
 * @throws GatewayError IMAGE_MISSING, CONFIG_INVALID, QEMU_MISSING
 */
export async function createOverlay(path: string, options: OverlayOptions, signal: AbortSignal): Promise<void> {
  const baseMiB = Math.ceil((await sizeOf(options.base)) / MIB);
  if (options.sizeMiB < baseMiB) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `resources.diskMiB is ${options.sizeMiB}; the image needs ${baseMiB} at least.`,
    );
  }
  try {
    const create = ["create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", options.base, path, `${options.sizeMiB}M`];
    await run("qemu-img", create, { signal: deadline(30_000, signal), killSignal: "SIGKILL" });
  } catch (cause) {
    signal.throwIfAborted();
    const failure = z.looseObject({ code: z.unknown() }).safeParse(cause);
    if (failure.data?.code === "ENOENT")
      throw new GatewayError("QEMU_MISSING", "`qemu-img` is not installed.", { cause });
    throw new GatewayError("BOOT_FAILED", "The sandbox's disk could not be made.", { cause });
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw new GatewayError("IMAGE_MISSING", undefined, { cause });
  }
}
