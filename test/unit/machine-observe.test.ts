import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { observeProcess } from "../../src/engine/qemu/observe.ts";

/** A process with these words for a command line, until disposal. */
async function running(...words: string[]): Promise<{ readonly pid: number } & AsyncDisposable> {
  const script = "process.stdout.write('up'); setInterval(() => undefined, 1000)";
  const child = spawn(process.execPath, ["-e", script, "--", ...words], { stdio: ["ignore", "pipe", "ignore"] });
  await once(child.stdout, "data");
  return {
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

const MACHINE = ["-nodefaults", "-m", "1024M", "-smp", "2", "-device", "virtio-blk-pci,drive=root"];
const isAlive = () => true;

test("what a machine has is read from how its process was started, and from the kernel", async () => {
  await using it = await running(...MACHINE, "-device", "virtserialport,bus=ports.0", "-device", "virtio-rng-pci");
  const seen = await observeProcess({ pid: it.pid, isAlive, confinement: "none" });
  expect(seen).toMatchObject({
    isAlive: true,
    uid: process.getuid?.(),
    ownNetwork: false,
    devices: ["virtio-blk-pci", "virtserialport", "virtio-rng-pci"],
    memoryMiB: 1024,
    vcpus: 2,
  });
  // Node is no QEMU: it filters no system calls.
  expect(seen.weaker).toEqual(["its process has no seccomp filter"]);
});

test("a process that is less confined than it was started, or shows its guest more, is told of", async () => {
  await using it = await running(
    ...MACHINE,
    "-netdev",
    "user,id=n",
    "-device",
    "virtio-net-pci,netdev=n",
    "-virtfs",
    "x",
  );
  const { weaker } = await observeProcess({ pid: it.pid, isAlive, confinement: "user-and-network" });
  expect(weaker).toEqual(
    expect.arrayContaining([
      "its process runs as the gateway's user",
      "its process may gain privileges",
      "its process is in the gateway's network",
      "it has a device `virtio-net-pci`",
      "it was started with -netdev",
      "it was started with -virtfs",
    ]),
  );
});

test("a process that has ended is not judged by its number, which may be another's", async () => {
  const seen = await observeProcess({ pid: process.pid, isAlive: () => false, confinement: "user" });
  expect(seen).toMatchObject({ isAlive: false, weaker: [] });
  const never = await observeProcess({ pid: 0x7fff_fffe, isAlive, confinement: "user" });
  expect(never).toEqual({ isAlive: true, weaker: [] });
});
