import type { FileHandle } from "node:fs/promises";
import type { Channel } from "../channel.ts";
import type { GuestFacts, MachineFacts, MachineSpec } from "../engine.ts";
import type { Confinement } from "./confinement.ts";
import type { QemuHost } from "./host.ts";
import type { Verdict } from "./probe.ts";
import type { QemuProcess } from "./process.ts";
import type { Qmp } from "./qmp.ts";

/** What a machine is made with. */
export interface Attempt {
  readonly qemu: QemuHost;
  readonly verdict: Verdict;
  readonly spec: MachineSpec;
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** A QEMU that runs, with its monitor in use. Its process and files are owned by whoever launched it. */
export interface Launched {
  readonly process: QemuProcess;
  readonly qmp: Qmp;
  /** The machine's disk: everything that it wrote. */
  readonly overlay: string;
  /** What lies between that and the image's disk. */
  readonly layer: FileHandle | undefined;
  /** Why the guest says that it shuts down, once it does. */
  readonly shutdown: () => string | undefined;
}

/** A machine that serves its session. */
export interface MachineParts extends Launched {
  readonly id: string;
  readonly memoryMiB: number;
  readonly diskMiB: number;
  /** See `shapeOf`. */
  readonly shape: string;
  /** How its process was cut off from the host when it was started. */
  readonly confinement: Confinement;
  readonly facts: MachineFacts;
  readonly guest: GuestFacts;
  readonly channel: Channel;
  /** Everything that the machine owns: its process, its channel, its files. */
  readonly owned: AsyncDisposableStack;
}

/** What is known of the machine that was saved. */
export interface Origins {
  readonly guest: GuestFacts;
  readonly marker: Buffer;
}
