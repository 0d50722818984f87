import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config.ts";
import { agentContainer } from "../../src/container/agent-container.ts";
import { engineContainer, startContainer } from "../../src/container/docker.ts";
import { hardenedOptions } from "../../src/container/hardening.ts";
import { createQemuEngine } from "../../src/engine/qemu/qemu.ts";
import { openImageStore } from "../../src/image/store.ts";
import { newId } from "../../src/lib/id.ts";
import { type Profile, profileSchema } from "../../src/policy/profile.ts";
import type { TestSandbox } from "../contract/container-suite.ts";

const quiet = { info: () => undefined, warn: () => undefined };

/** A real QEMU machine with a hardened container of the default image; gone with its files when disposed. */
export async function openTestSandbox(
  changes: Partial<Profile> = {},
  driver: "agent" | "engine" = "agent",
): Promise<TestSandbox> {
  const profile: Profile = { ...profileSchema.parse({}), ...changes };
  const { imageDirectory, stateDirectory, templateDirectory } = loadConfig({}, process.env);
  const signal = AbortSignal.timeout(240_000);
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "glovebox-machine-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  // Machines run as users of their own, who must get through it.
  await chmod(directory, 0o711);
  const image = await openImageStore(imageDirectory).find(profile.image);
  const engine = stack.use(createQemuEngine({ cacheDirectory: stateDirectory, templateDirectory, log: quiet }));
  const { memoryMiB, vcpus, diskMiB } = profile.resources;
  const id = newId("mach");
  const hostname = `sandbox-${id.slice(-8)}`;
  const containerOf = (name: string) => ({ hostname: name, image: image.agentImage, profile });
  const opened = await engine.openPrepared(
    { id, directory, image, memoryMiB, vcpus, diskMiB, hostname },
    {
      key: JSON.stringify(["tests", hardenedOptions(containerOf(""))]),
      prepare: (it, name, until) => startContainer(containerOf(name), it, until),
    },
    { signal, progress: () => undefined },
  );
  const machine = stack.use(opened.machine);
  const container = stack.use(
    driver === "agent"
      ? agentContainer(opened.prepared, machine)
      : await engineContainer(opened.prepared, machine, signal),
  );
  const owned = stack.move();
  return { container, machine, profile, hostname, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
