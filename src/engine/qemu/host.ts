import { access, constants, stat } from "node:fs/promises";
import { GatewayError } from "../../errors.ts";
import { type Host, qemuBinary } from "./command-line.ts";
import { type Confinement, confine, confinementWarning, strongestConfinement } from "./confinement.ts";
import { type QemuVersion, qemuVersion } from "./version.ts";

/** What this computer offers to run machines with. */
export interface QemuHost {
  readonly host: Host;
  readonly binary: string;
  readonly version: QemuVersion;
  readonly confinement: Confinement;
  readonly asRoot: boolean;
  /** A sentence when QEMU is confined less than it could be. */
  readonly warning?: string;
}

/** @throws GatewayError QEMU_MISSING, QEMU_UNSUPPORTED */
export async function examineHost(signal: AbortSignal): Promise<QemuHost> {
  const host = thisHost();
  const binary = qemuBinary(host);
  const version = await qemuVersion(binary, signal);
  const asRoot = process.getuid?.() === 0;
  const confinement = await strongestConfinement(host, asRoot, signal);
  const warning = confinementWarning(confinement, host, asRoot);
  return { host, binary, version, confinement, asRoot, ...(warning ? { warning } : {}) };
}

function thisHost(): Host {
  const { platform, arch } = process;
  if ((platform === "linux" || platform === "darwin") && (arch === "x64" || arch === "arm64")) {
    return { platform, architecture: arch };
  }
  throw new GatewayError(
    "QEMU_UNSUPPORTED",
    `Sandboxes run on Linux and macOS, x64 and arm64, not on ${platform} ${arch}.`,
  );
}

/** The whole command line: confinement, QEMU, its arguments. Each call makes up a new user where machines have their own. */
export function confinedCommand(qemu: QemuHost, groups: readonly number[], qemuArguments: readonly string[]): string[] {
  return [...confine(qemu.confinement, qemu.asRoot, groups), qemu.binary, ...qemuArguments];
}

/** The groups with which a confined QEMU can use /dev/kvm, or why it can't. */
export type KvmAccess = { readonly groups: readonly number[] } | { readonly refusal: string };

export async function kvmAccess(
  qemu: Pick<QemuHost, "asRoot" | "confinement">,
  device = "/dev/kvm",
): Promise<KvmAccess> {
  try {
    const { mode, gid } = await stat(device);
    const ownUser = qemu.asRoot && qemu.confinement.startsWith("user");
    if (!ownUser) {
      await access(device, constants.R_OK | constants.W_OK);
      return { groups: [] };
    }
    if ((mode & 0o006) === 0o006) return { groups: [] };
    // The group of root opens far more than this device.
    if ((mode & 0o060) === 0o060 && gid !== 0) return { groups: [gid] };
    return { refusal: `${device} is for root alone: give it a group (\`chgrp kvm ${device} && chmod 660 ${device}\`)` };
  } catch {
    return { refusal: `${device} is missing, or not accessible to this user` };
  }
}
