import type { Agent } from "node:http";
import type { Duplex } from "node:stream";
import type { GatewayError } from "../errors.ts";
import type { IsolationLevel } from "../policy/profile.ts";

/** Files of one guest image and one agent image, all read-only; see `image/`. Paths are absolute on the host. */
export interface MachineImage {
  /** `sha256:` over everything below. */
  readonly digest: string;
  readonly kernel: string;
  readonly initramfs: string;
  /** erofs, read-only. */
  readonly root: string;
  /** Raw ext4 whose inner engine already holds the agent image; sessions write to an overlay of it. */
  readonly data: string;
  /** A program for the host that holds a saved machine's memory where nobody can change it (`guest/seal`). */
  readonly seal: string;
  /** The agent image's id in the inner engine, `sha256:…`. */
  readonly agentImage: string;
}

export interface MachineSpec {
  readonly id: string;
  /** An existing directory that is this machine's alone. All the files it makes lie in it. */
  readonly directory: string;
  readonly image: MachineImage;
  readonly memoryMiB: number;
  readonly vcpus: number;
  readonly diskMiB: number;
  /** The name by which its container knows itself: unique, and so the proof that a container runs in this machine. */
  readonly hostname: string;
}

/** What is known from outside about how a machine is isolated; recorded in the audit log. */
export interface MachineFacts {
  readonly engine: string;
  readonly engineVersion: string;
  readonly level: IsolationLevel;
  readonly acceleration: "kvm" | "hvf" | "tcg" | "none";
  /** Booted for this session, copied from a machine that was booted and prepared before, or as a user's snapshot has it. */
  readonly start: "cold" | "template" | "snapshot";
  /** A sentence when the machine runs but worse than it could (no usable hardware virtualisation, …). */
  readonly warning?: string;
  /** Process id of the machine on the host, for the ledger. */
  readonly pid: number;
}

/** A process tree inside the machine to be signalled from outside the container, where the agent can't interfere. */
export interface SignalRequest {
  /** Process id in the guest; 0 when the program has ended, for what it left behind and can be told by the marker. */
  readonly pid: number;
  /** Value of the run's `GLOVEBOX_RUN` variable: finds descendants that left the process group. */
  readonly run: string;
  readonly signal: "SIGINT" | "SIGTERM" | "SIGKILL" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2";
}

/**
 * What the guest agent does with the machine's one container: start a program, read or write a file or a whole tree of them, hand on the next connection
 * that a program makes, connect to a port of its loopback.
 */
export type AgentService = "/run" | "/file" | "/tree" | "/connection" | "/dial";

/** Certificates of authorities, in PEM. */
export interface Trust {
  /** The same for every session, left out to keep what was set: all of them, and those among them that few programs know of themselves. */
  readonly known?: { readonly all: string; readonly extra: string };
  /** The session's own, if it has one. */
  readonly own: string;
}

/** What the host sees of a machine that runs: nothing of it is the guest's word. What this host does not tell is absent. */
export interface MachineSighting {
  /** Whether its process is there; its processors stand still while it is paused or saved. */
  readonly isAlive: boolean;
  /** As which user of the host's it runs. */
  readonly uid?: number;
  readonly noNewPrivs?: boolean;
  /** 0 off, 1 strict, 2 filter. */
  readonly seccompMode?: number;
  /** Whether it has a capability of the host's. */
  readonly isCapable?: boolean;
  /** Whether it is in another network namespace than the gateway. */
  readonly ownNetwork?: boolean;
  /** Kinds of devices that it shows to its guest. */
  readonly devices?: readonly string[];
  readonly memoryMiB?: number;
  readonly vcpus?: number;
  /** In which ways it is confined less than when it was started, or has what no machine has; in words. */
  readonly weaker: readonly string[];
}

export interface GuestFacts {
  readonly bootId: string;
  readonly kernelRelease: string;
}

/**
 * A running machine with its own Docker engine. `lost` aborts, with a `GatewayError` as reason, when the machine ends in any
 * way but disposal. Disposal is idempotent, ends the process, and removes every file in `directory` that the engine made.
 */
export interface Machine extends AsyncDisposable {
  readonly id: string;
  readonly facts: MachineFacts;
  readonly guest: GuestFacts;
  /** Opens a two-way stream to a service of the guest agent; `container/agent.ts` has the protocol. @throws GatewayError MACHINE_LOST */
  connect(service: AgentService): Duplex;
  /** For dockerode: opens connections to the machine's own Docker engine and to nothing else. */
  readonly dockerAgent: Agent;
  readonly lost: AbortSignal;
  /** Ends the machine, whose guest has broken its word; `lost` aborts with the reason. Does nothing when it is lost already. */
  condemn(reason: GatewayError): void;
  /** Signals the process, its process group, its session and every process that carries its run marker. @throws GatewayError MACHINE_LOST */
  signal(request: SignalRequest, signal: AbortSignal): Promise<void>;
  /** Looks at it from the host. Rejects never: what can't be seen is absent. */
  observe(): Promise<MachineSighting>;
  /** Sets whose certificates programs in the container accept; running ones may have read the list before. @throws GatewayError MACHINE_LOST */
  trust(trust: Trust, signal: AbortSignal): Promise<void>;
  /** Stops the machine's processors: it costs no time any more, and notices nothing. @throws GatewayError MACHINE_LOST */
  pause(signal: AbortSignal): Promise<void>;
  /** Lets it go on, with the right time and fresh randomness. @throws GatewayError MACHINE_LOST */
  resume(signal: AbortSignal): Promise<void>;
  /**
   * Writes the machine as it is, in memory and on disk, into an empty directory, for `Engine.openSaved`. It stands still meanwhile and
   * then goes on as if nothing had been.
   * @throws GatewayError MACHINE_LOST, DISK_FULL, BOOT_FAILED
   */
  save(directory: string, signal: AbortSignal): Promise<void>;
}

/** What a machine is made ready with before it is copied: copies of it start with this done. */
export interface Preparation {
  /**
   * Names what `prepare` does and for whom. Copies share memory pages until they write to them, which is a side channel: so
   * machines of one key must belong to one domain of trust.
   */
  readonly key: string;
  /** Runs once on the machine that is to be copied, or on the one that is opened if there is nothing to copy. */
  prepare(machine: Machine, hostname: string, signal: AbortSignal): Promise<string>;
  /** Runs on the machine that is to be copied, after `prepare`: what copies will do first, so that they find it in memory. */
  rehearse?(machine: Machine, prepared: string, signal: AbortSignal): Promise<void>;
}

export interface Prepared {
  readonly machine: Machine;
  /** What `prepare` answered. */
  readonly prepared: string;
}

/**
 * Makes machines. `open` resolves when the machine's Docker engine answers; it retries a boot that hangs once, reports
 * progress in short sentences, and leaves nothing behind when it fails or is aborted. Disposal gives back what the engine keeps for
 * machines to come; it ends no machine.
 * @throws GatewayError QEMU_MISSING, QEMU_UNSUPPORTED, IMAGE_MISSING, BOOT_FAILED, DISK_FULL
 */
export interface Engine extends AsyncDisposable {
  readonly name: string;
  open(spec: MachineSpec, options: OpenOptions): Promise<Machine>;
  /**
   * Opens a prepared machine: where it can, as a copy of a template, which it makes when there is none. A template that can't be
   * used is made anew once; when that is of no use either the machine is booted, and its facts carry a warning.
   * @throws GatewayError as `open`, and what `prepare` throws
   */
  openPrepared(spec: MachineSpec, preparation: Preparation, options: OpenOptions): Promise<Prepared>;
  /**
   * Opens a machine as it was when it was saved in `directory`, with its own clock, randomness and name. Programs that ran go on; nobody
   * holds the other end of their streams. The directory may be removed afterwards.
   * @throws GatewayError SNAPSHOT_UNUSABLE when it is damaged or was of another shape, and as `open`
   */
  openSaved(spec: MachineSpec, directory: string, options: OpenOptions): Promise<Machine>;
}

export interface OpenOptions {
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}
