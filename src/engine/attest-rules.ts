import { ISOLATION_LEVELS, type IsolationLevel } from "../policy/profile.ts";
import type { Attestation, AttestOptions } from "./attest.ts";

type Expectations = Omit<AttestOptions, "container" | "signal">;
type Mount = Attestation["mounts"][number];

/** Every fact that is worse than it must be, in words; none when the sandbox may be used. A pure function. */
export function failedFacts(facts: Attestation, expected: Expectations): string[] {
  return [
    ...kernelFailures(facts, expected),
    ...privilegeFailures(facts),
    ...mountFailures(facts, expected.profile.writableRoot),
    ...reachFailures(facts),
    ...limitFailures(facts, expected),
  ];
}

function kernelFailures(
  facts: Attestation,
  { machine, profile, hostname, hostBootId, otherBootIds }: Expectations,
): string[] {
  const { level } = machine.facts;
  const { floor } = profile.isolation;
  const own = level !== "shared-kernel";
  return failures([
    [rank(level) >= rank(floor), `isolation is \`${level}\`, the profile's floor \`${floor}\``],
    [facts.bootId === machine.guest.bootId, `boot id ${facts.bootId} is not the machine's ${machine.guest.bootId}`],
    [facts.kernelRelease === machine.guest.kernelRelease, `kernel ${facts.kernelRelease} is not the machine's`],
    [!own || facts.bootId !== hostBootId, "boot id is the host's: the kernel is shared"],
    [!own || !otherBootIds.has(facts.bootId), "boot id is another session's: the kernel is shared"],
    [facts.hostname === hostname, `the container is called ${facts.hostname}, not ${hostname}: it is another's`],
  ]);
}

function privilegeFailures(facts: Attestation): string[] {
  const sets = Object.entries(facts.capabilities);
  return failures([
    [facts.uids.length === 4 && !facts.uids.includes(0), `user ids are ${facts.uids.join(" ")}`],
    [facts.gids.length === 4 && !facts.gids.includes(0), `group ids are ${facts.gids.join(" ")}`],
    [!facts.groups.includes(0), "the root group is among the groups"],
    ...sets.map(([name, mask]): Check => [/^0+$/.test(mask), `${name} capabilities are ${mask}`]),
    [facts.noNewPrivs, "no-new-privileges is off"],
    [facts.seccompMode === 2, `seccomp mode is ${facts.seccompMode}`],
  ]);
}

/** What belongs in the container, by target: the kind of file system, and a part of where it comes from. */
const EXPECTED_MOUNTS: Readonly<Record<string, { fstype: RegExp; root?: RegExp; readOnly?: true }>> = {
  "/": { fstype: /^overlay$/ },
  "/proc": { fstype: /^proc$/ },
  "/dev": { fstype: /^tmpfs$/ },
  "/dev/pts": { fstype: /^devpts$/ },
  "/dev/mqueue": { fstype: /^mqueue$/ },
  "/dev/shm": { fstype: /^tmpfs$/ },
  "/sys": { fstype: /^sysfs$/, readOnly: true },
  "/sys/fs/cgroup": { fstype: /^cgroup2$/, readOnly: true },
  "/.glovebox/runner": { fstype: /./, root: /^\/usr\/libexec\/glovebox\/runner$/, readOnly: true },
  "/.glovebox/runner.sock": { fstype: /^tmpfs$/, root: /^\/glovebox\/runner\.sock$/, readOnly: true },
  "/.glovebox/inside": { fstype: /./, root: /^\/usr\/libexec\/glovebox\/inside$/, readOnly: true },
  "/.glovebox/extra-authorities.pem": {
    fstype: /^tmpfs$/,
    root: /^\/glovebox\/extra-authorities\.pem$/,
    readOnly: true,
  },
  "/etc/ssl/certs/ca-certificates.crt": { fstype: /^tmpfs$/, root: /^\/glovebox\/authorities\.pem$/, readOnly: true },
  "/etc/resolv.conf": { fstype: /./, root: /\/containers\/[0-9a-f]{64}\/resolv\.conf$/ },
  "/etc/hostname": { fstype: /./, root: /\/containers\/[0-9a-f]{64}\/hostname$/ },
  "/etc/hosts": { fstype: /./, root: /\/containers\/[0-9a-f]{64}\/hosts$/ },
};
/** Everything else is a volume of the inner engine, or what hides a kernel path. */
const VOLUME_ROOT = /\/volumes\/[0-9a-f]{64}\/_data$/;
const KERNEL_PATH = /^\/(proc|sys)\//;
const KERNEL_FSTYPE = /^(proc|sysfs|tmpfs|devtmpfs)$/;
/** File systems by which a host shares folders with a machine. */
const SHARED_FSTYPE = /^(9p|virtiofs|nfs\d?|cifs|smb\d?|vboxsf|vmhgfs|prl_fs|ceph|fuse(\..*)?)$/;

function mountFailures({ mounts }: Attestation, writableRoot: boolean): string[] {
  const strange = mounts.filter((it) => !isExpected(it));
  // The last mount on a target is the one that is seen.
  const root = mounts.findLast((it) => it.target === "/");
  return failures([
    ...strange.map((it): Check => [false, `unexpected mount of ${it.fstype} (${it.root}) at ${it.target}`]),
    [root !== undefined && (writableRoot || isReadOnly(root)), "the root file system can be written"],
  ]);
}

function isExpected(mount: Mount): boolean {
  if (SHARED_FSTYPE.test(mount.fstype)) return false;
  const rule = Object.hasOwn(EXPECTED_MOUNTS, mount.target) ? EXPECTED_MOUNTS[mount.target] : undefined;
  if (rule) {
    return (
      rule.fstype.test(mount.fstype) && (rule.root?.test(mount.root) ?? true) && (!rule.readOnly || isReadOnly(mount))
    );
  }
  if (KERNEL_PATH.test(mount.target)) return KERNEL_FSTYPE.test(mount.fstype);
  return VOLUME_ROOT.test(mount.root);
}

function isReadOnly(mount: Mount): boolean {
  return mount.options.includes("ro");
}

const HARMLESS_DEVICE = /^\/dev\/(console|full|null|ptmx|random|tty|urandom|zero|pts\/(ptmx|\d+))$/;

function reachFailures(facts: Attestation): string[] {
  const devices = facts.devices.filter((it) => !HARMLESS_DEVICE.test(it));
  return failures([
    [facts.sockets.length === 0, `a container engine's socket can be seen: ${facts.sockets.join(" ")}`],
    [facts.interfaces.every((it) => it === "lo"), `network interfaces are ${facts.interfaces.join(" ")}`],
    [facts.routes.length === 0, `there are network routes: ${facts.routes.join(", ")}`],
    [devices.length === 0, `devices can be seen: ${devices.join(" ")}`],
    [facts.unmaskedPaths.length === 0, `kernel paths are not hidden: ${facts.unmaskedPaths.join(" ")}`],
    [facts.writablePaths.length === 0, `kernel paths can be written: ${facts.writablePaths.join(" ")}`],
  ]);
}

function limitFailures(facts: Attestation, { profile }: Expectations): string[] {
  const { pids, memoryMiB } = profile.resources;
  return failures([
    [(facts.pidsMax ?? Infinity) <= pids, `the limit of processes is ${facts.pidsMax ?? "absent"}, not ${pids}`],
    [
      (facts.memoryMaxBytes ?? Infinity) < memoryMiB * 1_048_576,
      `the memory limit is ${facts.memoryMaxBytes ?? "absent"}`,
    ],
  ]);
}

type Check = readonly [holds: boolean, failure: string];

function failures(checks: readonly Check[]): string[] {
  return checks.filter(([holds]) => !holds).map(([, failure]) => failure);
}

function rank(level: IsolationLevel): number {
  return ISOLATION_LEVELS.indexOf(level);
}
