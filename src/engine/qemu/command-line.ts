import { isAtLeast, type QemuVersion } from "./version.ts";

export type Acceleration = "kvm" | "hvf" | "tcg";

/** The computer that QEMU runs on; the guest has its architecture. */
export interface Host {
  readonly platform: "linux" | "darwin";
  readonly architecture: "x64" | "arm64";
}

/**
 * File descriptors that QEMU is born with. Every pipe is one end of an anonymous socket pair, so nobody else on the host can
 * connect to it; every file is open already, so the confined process needs no path of ours and finds none.
 */
export const FD = {
  channel: 3,
  qmp: 4,
  console: 5,
  kernel: 6,
  initramfs: 7,
  root: 8,
  base: 9,
  overlay: 10,
  /** The machine's directory, by which it finds the socket that its state goes to when it is saved. */
  directory: 11,
  /** A template's, or a clone's. */
  memory: 12,
  /** What its disk is written over besides the image's: a template's. */
  layer: 13,
  /** A saved machine's. */
  state: 14,
} as const;

/**
 * Where a machine's memory and disk begin: empty and as the image has it, the same but kept in a file (a template in the making),
 * as a template left them, or as they were when a machine was saved.
 */
export type Origin = "boot" | "template-boot" | "clone" | "restore";

/** Name of the channel's port: the guest agent looks for it. */
const PORT_NAME = "glovebox";

export interface CommandOptions {
  readonly host: Host;
  readonly version: QemuVersion;
  readonly acceleration: Acceleration;
  /** The machine's directory: how its process is found after a crash. */
  readonly directory: string;
  readonly kernel: string;
  readonly initramfs: string;
  readonly memoryMiB: number;
  readonly vcpus: number;
  readonly origin: Origin;
  /** Whether there is a layer between the machine's disk and the image's. */
  readonly layered: boolean;
}

export function qemuBinary(host: Host): string {
  return host.architecture === "arm64" ? "qemu-system-aarch64" : "qemu-system-x86_64";
}

/** The arguments of a session's machine. */
export function machineArguments(options: CommandOptions): string[] {
  const bus = isMicrovm(options) ? "device" : "pci";
  return [
    ...commonArguments(options, []),
    ...descriptor(FD.root),
    ...descriptor(FD.base),
    ...descriptor(FD.overlay),
    ...(options.layered ? descriptor(FD.layer) : []),
    ...(options.origin === "clone" || options.origin === "restore" ? ["-incoming", "defer"] : []),
    "-blockdev",
    JSON.stringify({
      driver: "raw",
      "node-name": "root",
      "read-only": true,
      file: openFile(FD.root, { "read-only": true }),
    }),
    "-blockdev",
    JSON.stringify({
      driver: "qcow2",
      "node-name": "data",
      file: openFile(FD.overlay, { discard: "unmap" }),
      backing: options.layered ? layer() : baseDisk(),
      discard: "unmap",
      "detect-zeroes": "unmap",
      // The disk dies with the machine: nothing to flush for.
      cache: { direct: false, "no-flush": true },
    }),
    "-device",
    `virtio-blk-${bus},drive=root`,
    // A full host disk is the guest's I/O error; by default QEMU would stop the machine and wait.
    "-device",
    `virtio-blk-${bus},drive=data,werror=report,rerror=report`,
    "-object",
    "rng-builtin,id=random",
    "-device",
    `virtio-rng-${bus},rng=random`,
    "-device",
    `virtio-serial-${bus},id=ports,max_ports=2`,
    "-chardev",
    `socket,id=channel,fd=${FD.channel}`,
    "-device",
    `virtserialport,bus=ports.0,chardev=channel,name=${PORT_NAME}`,
  ];
}

function baseDisk(): Record<string, unknown> {
  return { driver: "raw", "read-only": true, file: openFile(FD.base, { "read-only": true }) };
}

function layer(): Record<string, unknown> {
  const file = openFile(FD.layer, { "read-only": true });
  return { driver: "qcow2", "read-only": true, file, backing: baseDisk() };
}

/** A machine without disks or channel that shows whether the guest kernel reaches user space with this accelerator. */
export function probeArguments(options: CommandOptions): string[] {
  return commonArguments(options, ["glovebox.probe"]);
}

function commonArguments(options: CommandOptions, kernelWords: readonly string[]): string[] {
  const { host, version, acceleration } = options;
  const darwin = host.platform === "darwin";
  return [
    ...["-name", nameArgument(options.directory)],
    ...["-no-user-config", "-nodefaults", "-nographic", "-no-reboot"],
    // macOS has no parent-death signal; QEMU can watch for itself from 11.1 on. Older ones end when the channel closes.
    ...(darwin && isAtLeast(version, 11, 1) ? ["-run-with", "exit-with-parent=on"] : []),
    ...(darwin ? [] : ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]),
    ...[
      "-object",
      memory(options),
      "-machine",
      `${machineType(options)},memory-backend=memory`,
      "-accel",
      accelerator(acceleration),
      "-cpu",
      cpu(options),
    ],
    ...["-m", `${options.memoryMiB}M`, "-smp", String(options.vcpus)],
    ...["-chardev", `socket,id=qmp,fd=${FD.qmp}`, "-mon", "chardev=qmp,mode=control"],
    ...["-chardev", `socket,id=console,fd=${FD.console}`, "-serial", "chardev:console"],
    ...["-kernel", darwin ? options.kernel : `/proc/self/fd/${FD.kernel}`],
    ...["-initrd", darwin ? options.initramfs : `/proc/self/fd/${FD.initramfs}`],
    ...["-append", kernelCommandLine(options, kernelWords)],
  ];
}

/** A clone's pages are the template's until it writes to them. */
function memory({ origin, memoryMiB }: CommandOptions): string {
  const size = `id=memory,size=${memoryMiB}M`;
  if (origin === "boot" || origin === "restore") return `memory-backend-ram,${size}`;
  return `memory-backend-file,${size},share=${origin === "clone" ? "off" : "on"},mem-path=/proc/self/fd/${FD.memory}`;
}

/** QEMU never looks at the name. Commas are its separator and are written twice. */
export function nameArgument(directory: string): string {
  return `guest=${directory.replaceAll(",", ",,")}`;
}

/** Under TCG a microvm hangs early in many boots (its timer interrupt never arrives); q35 does not. */
function isMicrovm({ host, acceleration }: CommandOptions): boolean {
  return host.architecture === "x64" && acceleration === "kvm";
}

function machineType(options: CommandOptions): string {
  if (options.host.architecture === "arm64") return "virt";
  return isMicrovm(options) ? "microvm,rtc=on" : "q35,sata=off,smbus=off,usb=off";
}

function accelerator(acceleration: Acceleration): string {
  // tb-size: MiB of translated code; the default is a share of the host's memory.
  return acceleration === "tcg" ? "tcg,thread=multi,tb-size=256" : acceleration;
}

function cpu({ host, acceleration }: CommandOptions): string {
  if (acceleration !== "tcg") return "host";
  // Pointer authentication with its architected algorithm costs half of an emulated CPU's time.
  return host.architecture === "arm64" ? "max,pauth-impdef=on" : "max";
}

function kernelCommandLine({ host, acceleration }: CommandOptions, words: readonly string[]): string {
  const x64 = host.architecture === "x64";
  return [
    `console=${x64 ? "ttyS0" : "ttyAMA0"}`,
    "quiet",
    // A panic reboots at once, and `-no-reboot` makes that the end of the machine.
    "panic=-1",
    ...(x64 ? ["reboot=t", "tsc=reliable"] : []),
    // An emulated CPU does not speculate, so guarding against it is only slow.
    ...(acceleration === "tcg" ? ["mitigations=off"] : []),
    ...words,
  ].join(" ");
}

function descriptor(fd: number): string[] {
  return ["-add-fd", `fd=${fd},set=${fd}`];
}

function openFile(fd: number, options: Record<string, unknown>): Record<string, unknown> {
  return { driver: "file", filename: `/dev/fdset/${fd}`, ...options };
}
