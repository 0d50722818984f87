import { createHash } from "node:crypto";
import type { Container, ContainerSpec } from "../container/container.ts";
import type { Attestation } from "../engine/attest.ts";
import type {
  Engine,
  Machine,
  MachineFacts,
  MachineImage,
  MachineSpec,
  OpenOptions,
  Preparation,
  Prepared,
} from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import type { Profile } from "../policy/profile.ts";
import type { Inspection, ToInspect } from "./inspection.ts";
import type { Ledger } from "./ledger.ts";
import { rehearse } from "./rehearse.ts";

/** What a sandbox is made with; `gateway.ts` picks the drivers. */
export interface SandboxPorts {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly findImage: (name: string) => Promise<MachineImage>;
  /** Who shares saved machines: no other domain's sessions start from a copy of the same memory. */
  readonly domain: string;
  /** Names all that decides what `startContainer` makes. */
  readonly containerShape: (spec: ContainerSpec) => Promise<string>;
  /** Answers the container's id. */
  readonly startContainer: (spec: ContainerSpec, machine: Machine, signal: AbortSignal) => Promise<string>;
  readonly adoptContainer: (id: string, machine: Machine) => Container;
  readonly inspect: (sandbox: ToInspect, signal: AbortSignal) => Promise<Inspection>;
  /** Refuses with ISOLATION_BELOW_FLOOR. */
  readonly attest: (sandbox: Unattested, signal: AbortSignal) => Promise<Attestation>;
}

export interface Unattested {
  readonly container: Container;
  readonly machine: Machine;
  readonly hostname: string;
  readonly profile: Profile;
}

/** A machine with its container, attested. Disposal ends both, and rejects when something of them may be left. */
export interface Sandbox extends AsyncDisposable {
  readonly machineId: string;
  readonly imageDigest: string;
  readonly container: Container;
  /** For its network. */
  readonly machine: Pick<Machine, "connect" | "condemn" | "trust" | "lost">;
  readonly facts: MachineFacts;
  readonly attestation: Attestation;
  /** Whether it was made before it was asked for. */
  readonly pooled: boolean;
  /** Aborts with a GatewayError when the machine ends by itself. */
  readonly lost: AbortSignal;
  /** Stops it, until `resume`; nothing in it may be running for anybody. @throws GatewayError MACHINE_LOST */
  pause(signal: AbortSignal): Promise<void>;
  resume(signal: AbortSignal): Promise<void>;
  /** Looks at it from outside of its container. @throws GatewayError CHANNEL_VIOLATION, CONTAINER_FAILED, MACHINE_LOST */
  inspect(signal: AbortSignal): Promise<Inspection>;
  /** Writes it as it is into an empty directory, for `restoreSandbox`; it goes on meanwhile, with a pause. */
  save(directory: string, signal: AbortSignal): Promise<SavedSandbox>;
}

export type OpenSandbox = (options: OpenOptions) => Promise<Sandbox>;
export type RestoreSandbox = (saved: SavedIn, options: OpenOptions) => Promise<Sandbox>;

/** What a saved sandbox is, besides its machine's files. */
export interface SavedSandbox {
  /** Digest of all that decided what its container is like, and for whom. */
  readonly shape: string;
  /** The container's id. */
  readonly container: string;
}

export interface SavedIn extends SavedSandbox {
  readonly directory: string;
}

/** Opens everything or nothing: what was acquired before a failure is given back before it is reported. */
export function openSandbox(profile: Profile, ports: SandboxPorts, options: OpenOptions): Promise<Sandbox> {
  return furnish(profile, ports, options, (spec, preparation) => ports.engine.openPrepared(spec, preparation, options));
}

/**
 * Opens a sandbox as another one was when it was saved. It is attested as any other.
 * @throws GatewayError SNAPSHOT_UNUSABLE when the policy in force makes other containers, or the machine doesn't fit any more
 */
export function restoreSandbox(
  profile: Profile,
  ports: SandboxPorts,
  saved: SavedIn,
  options: OpenOptions,
): Promise<Sandbox> {
  return furnish(profile, ports, options, async (spec, preparation) => {
    if (saved.shape !== digestOf(preparation)) throw new GatewayError("SNAPSHOT_UNUSABLE", OTHER_PROFILE);
    const machine = await ports.engine.openSaved(spec, saved.directory, options);
    // It trusts the authority of the session that it was saved from.
    await machine.trust({ own: "" }, options.signal);
    return { machine, prepared: saved.container };
  });
}

const OTHER_PROFILE = "The snapshot was taken under another policy bundle or profile than the one in force.";

async function furnish(
  profile: Profile,
  ports: SandboxPorts,
  { signal, progress }: OpenOptions,
  openMachine: (spec: MachineSpec, preparation: Preparation) => Promise<Prepared>,
): Promise<Sandbox> {
  await using stack = new AsyncDisposableStack();
  progress("looking up the guest image");
  const image = await ports.findImage(profile.image);
  const machineId = newId("mach");
  const directory = await ports.ledger.enter(machineId);
  stack.defer(() => ports.ledger.forget(machineId));
  signal.throwIfAborted();
  const hostname = `sandbox-${machineId.slice(-8)}`;
  const { memoryMiB, vcpus, diskMiB } = profile.resources;
  const spec = { id: machineId, directory, image, memoryMiB, vcpus, diskMiB, hostname };
  const containerOf = (name: string) => ({ hostname: name, image: image.agentImage, profile });
  const preparation: Preparation = {
    key: JSON.stringify([ports.domain, await ports.containerShape(containerOf(""))]),
    prepare: (it, name, until) => {
      progress("starting the container");
      return ports.startContainer(containerOf(name), it, until);
    },
    rehearse: async (it, id, until) => {
      progress("rehearsing what sandboxes do first");
      await using container = ports.adoptContainer(id, it);
      await rehearse(container, until);
    },
  };
  const { machine, prepared } = await openMachine(spec, preparation);
  stack.use(machine);
  const container = stack.use(ports.adoptContainer(prepared, machine));
  progress("attesting the isolation");
  const attestation = await ports.attest({ container, machine, hostname, profile }, signal);
  const owned = stack.move();
  const { facts, lost } = machine;
  return {
    machineId,
    imageDigest: image.digest,
    container,
    machine,
    facts,
    attestation,
    pooled: false,
    lost,
    pause: (until) => machine.pause(until),
    resume: (until) => machine.resume(until),
    inspect: (until) => ports.inspect({ container: prepared, machine, spec: containerOf(hostname) }, until),
    save: async (to, until) => {
      await machine.save(to, until);
      return { shape: digestOf(preparation), container: prepared };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function digestOf({ key }: Preparation): string {
  return createHash("sha256").update(key).digest("hex");
}
