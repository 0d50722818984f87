import type { Container, ContainerSpec } from "../container/container.ts";
import type { Attestation } from "../engine/attest.ts";
import type { Engine, Machine, MachineFacts, MachineImage } from "../engine/engine.ts";
import { newId } from "../lib/id.ts";
import type { Profile } from "../policy/profile.ts";
import type { Ledger } from "./ledger.ts";

/** What a sandbox is made with; `gateway.ts` picks the drivers. */
export interface SandboxPorts {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly findImage: (name: string) => Promise<MachineImage>;
  readonly openContainer: (spec: ContainerSpec, machine: Machine, signal: AbortSignal) => Promise<Container>;
  /** Refuses with ISOLATION_BELOW_FLOOR. */
  readonly attest: (
    container: Container,
    machine: Machine,
    profile: Profile,
    signal: AbortSignal,
  ) => Promise<Attestation>;
}

/** A machine with its container, attested. Disposal ends both, and rejects when something of them may be left. */
export interface Sandbox extends AsyncDisposable {
  readonly machineId: string;
  readonly container: Container;
  readonly facts: MachineFacts;
  readonly attestation: Attestation;
  /** Aborts with a GatewayError when the machine ends by itself. */
  readonly lost: AbortSignal;
}

/** Opens everything or nothing: what was acquired before a failure is given back before it is reported. */
export async function openSandbox(
  sessionId: string,
  profile: Profile,
  ports: SandboxPorts,
  options: { signal: AbortSignal; progress: (message: string) => void },
): Promise<Sandbox> {
  const { signal, progress } = options;
  await using stack = new AsyncDisposableStack();
  progress("looking up the guest image");
  const image = await ports.findImage(profile.image);
  const machineId = newId("mach");
  const directory = await ports.ledger.enter(machineId);
  stack.defer(() => ports.ledger.forget(machineId));
  signal.throwIfAborted();
  const { memoryMiB, vcpus, diskMiB } = profile.resources;
  const machine = stack.use(
    await ports.engine.open({ id: machineId, directory, image, memoryMiB, vcpus, diskMiB }, options),
  );
  progress("starting the container");
  const container = stack.use(
    await ports.openContainer({ sessionId, image: image.agentImage, profile }, machine, signal),
  );
  progress("attesting the isolation");
  const attestation = await ports.attest(container, machine, profile, signal);
  const owned = stack.move();
  const { facts, lost } = machine;
  return { machineId, container, facts, attestation, lost, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
