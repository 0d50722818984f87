import { readFile, readlink } from "node:fs/promises";
import type { MachineSighting } from "../engine.ts";
import type { Confinement } from "./confinement.ts";

/** All that `machineArguments` gives a machine, on whichever bus. */
const DEVICES = /^(virtio-(blk|rng|serial)-(device|pci)|virtserialport)$/;
/** Options by which a guest gets a network, a folder or a device of the host's. */
const DOORS = /^--?(nic|net|netdev|virtfs|fsdev|usb|usbdevice|vnc|spice|redir)$/;

export interface Watched {
  readonly pid: number;
  /** Read after everything else: as long as nobody has waited for the process, its number is no other's. */
  readonly isAlive: () => boolean;
  readonly confinement: Confinement;
}

/**
 * What the host's kernel says of a machine's process (proc_pid_status(5), proc_pid_cmdline(5), namespaces(7)). The command line is what the
 * process was started with, as long as nobody took it over; devices can be added by way of its monitor, which the gateway alone has.
 */
export async function observeProcess({ pid, isAlive, confinement }: Watched): Promise<MachineSighting> {
  const [status, commandLine, network, ownNetwork] = await Promise.all([
    readOrNothing(() => readFile(`/proc/${pid}/status`, "utf8")),
    readOrNothing(() => readFile(`/proc/${pid}/cmdline`, "utf8")),
    readOrNothing(() => readlink(`/proc/${pid}/ns/net`)),
    readOrNothing(() => readlink("/proc/self/ns/net")),
  ]);
  const seen = {
    isAlive: isAlive(),
    ...(status !== undefined && statusFacts(status)),
    ...(network !== undefined && ownNetwork !== undefined && { ownNetwork: network !== ownNetwork }),
    ...(commandLine && commandLineFacts(commandLine.split("\0"))),
  };
  const { doors = [], ...facts } = seen;
  return { ...facts, weaker: facts.isAlive ? weaknesses(facts, doors, confinement) : [] };
}

function statusFacts(status: string) {
  const row = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1];
  const uid = Number(row("Uid")?.split(/\s+/)[1]);
  const seccomp = row("Seccomp");
  const capable = row("CapEff");
  return {
    ...(Number.isInteger(uid) && { uid }),
    noNewPrivs: row("NoNewPrivs") === "1",
    ...(seccomp !== undefined && { seccompMode: Number(seccomp) }),
    ...(capable !== undefined && { isCapable: !/^0+$/.test(capable) }),
  };
}

function commandLineFacts(argv: readonly string[]) {
  const values = (option: string) => argv.flatMap((it, at) => (it === option ? [argv[at + 1] ?? ""] : []));
  const kindOf = (device: string) => device.split(",", 1)[0] ?? "";
  const memoryMiB = Number(values("-m")[0]?.replace(/M$/, ""));
  const vcpus = Number(values("-smp")[0]);
  return {
    devices: [...new Set(values("-device").map(kindOf))],
    doors: [...argv.filter((it) => DOORS.test(it)), ...(argv.includes("-nodefaults") ? [] : ["default devices"])],
    ...(Number.isInteger(memoryMiB) && { memoryMiB }),
    ...(Number.isInteger(vcpus) && { vcpus }),
  };
}

function weaknesses(
  { uid, noNewPrivs, seccompMode, isCapable, ownNetwork, devices = [] }: Omit<MachineSighting, "weaker">,
  doors: readonly string[],
  confinement: Confinement,
): string[] {
  const ownUser = confinement.startsWith("user");
  const confined = confinement !== "none";
  const emptyNetwork = confinement === "network" || confinement === "user-and-network";
  const strange = devices.filter((it) => !DEVICES.test(it));
  return [
    ...(ownUser && uid === process.getuid?.() ? ["its process runs as the gateway's user"] : []),
    ...(ownUser && isCapable ? ["its process has capabilities of the host's"] : []),
    ...(confined && noNewPrivs === false ? ["its process may gain privileges"] : []),
    ...(seccompMode !== undefined && seccompMode !== 2 ? ["its process has no seccomp filter"] : []),
    ...(emptyNetwork && ownNetwork === false ? ["its process is in the gateway's network"] : []),
    ...strange.map((it) => `it has a device \`${it.slice(0, 60)}\``),
    ...doors.map((it) => `it was started with ${it.slice(0, 60)}`),
  ];
}

/** Other systems have no /proc, and a process may end between two looks at it. */
async function readOrNothing(read: () => Promise<string>): Promise<string | undefined> {
  try {
    return await read();
  } catch {
    return undefined;
  }
}
