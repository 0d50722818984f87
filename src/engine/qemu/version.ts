import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { deadline } from "../../lib/deadline.ts";

const run = promisify(execFile);

export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  /** As printed, e.g. `7.2.22`. */
  readonly text: string;
}

/** The oldest QEMU that the guest kernel and the command line are tried with. */
const OLDEST = { major: 7, minor: 2 };

export function isAtLeast(version: Pick<QemuVersion, "major" | "minor">, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** Reads the first line of `qemu-system-… --version`; `undefined` when it is none. */
export function parseVersion(output: string): QemuVersion | undefined {
  const match = /^QEMU emulator version ((\d{1,4})\.(\d{1,4})[\d.]*)/.exec(output);
  if (!match) return undefined;
  return { major: Number(match[2]), minor: Number(match[3]), text: match[1] ?? "" };
}

/** @throws GatewayError QEMU_MISSING, QEMU_UNSUPPORTED */
export async function qemuVersion(binary: string, signal: AbortSignal): Promise<QemuVersion> {
  const version = parseVersion(await output(binary, signal));
  if (!version) throw new GatewayError("QEMU_UNSUPPORTED", `\`${binary} --version\` did not name a version.`);
  if (!isAtLeast(version, OLDEST.major, OLDEST.minor)) {
    throw new GatewayError("QEMU_UNSUPPORTED", `QEMU ${version.text} is too old to run the sandbox.`);
  }
  return version;
}

async function output(binary: string, signal: AbortSignal): Promise<string> {
  try {
    return (await run(binary, ["--version"], { signal: deadline(10_000, signal), killSignal: "SIGKILL" })).stdout;
  } catch (cause) {
    signal.throwIfAborted();
    const failure = z.looseObject({ code: z.unknown() }).safeParse(cause);
    if (failure.data?.code === "ENOENT")
      throw new GatewayError("QEMU_MISSING", `\`${binary}\` is not installed.`, { cause });
    throw new GatewayError("QEMU_UNSUPPORTED", `\`${binary} --version\` does not run.`, { cause });
  }
}
