import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type CommandOptions, machineArguments, probeArguments } from "../../src/engine/qemu/command-line.ts";
import { confine } from "../../src/engine/qemu/confinement.ts";
import { kvmAccess } from "../../src/engine/qemu/host.ts";
import { endMachineProcess, findInPs, readMachineProcess, startTimeOf } from "../../src/engine/qemu/machine-process.ts";
import { createTail } from "../../src/engine/qemu/tail.ts";
import { isAtLeast, parseVersion } from "../../src/engine/qemu/version.ts";
import { startWatchdog } from "../../src/engine/qemu/watchdog.ts";

const linux: CommandOptions = {
  host: { platform: "linux", architecture: "x64" },
  version: { major: 7, minor: 2, text: "7.2.22" },
  acceleration: "tcg",
  directory: "/state/machines/m,1",
  kernel: "/image/vmlinuz",
  initramfs: "/image/initramfs",
  memoryMiB: 1024,
  vcpus: 2,
  origin: "boot",
  layered: false,
};
const mac: CommandOptions = { ...linux, host: { platform: "darwin", architecture: "arm64" }, acceleration: "hvf" };

/** The value behind each occurrence of an option. */
function values(argv: readonly string[], option: string): string[] {
  return argv.flatMap((word, index) => (word === option ? [argv[index + 1] ?? ""] : []));
}

test("under TCG the machine is a q35, emulated, on PCI", () => {
  const argv = machineArguments(linux);
  expect(values(argv, "-machine")).toEqual(["q35,sata=off,smbus=off,usb=off,memory-backend=memory"]);
  expect(values(argv, "-accel")).toEqual(["tcg,thread=multi,tb-size=256"]);
  expect(values(argv, "-cpu")).toEqual(["max"]);
  expect(values(argv, "-append")[0]).toContain("mitigations=off");
  expect(values(argv, "-device")).toContain("virtio-blk-pci,drive=root");
});

test("under KVM it is a microvm with the host's CPU and its mitigations", () => {
  const argv = machineArguments({ ...linux, acceleration: "kvm" });
  expect(values(argv, "-machine")).toEqual(["microvm,rtc=on,memory-backend=memory"]);
  expect(values(argv, "-cpu")).toEqual(["host"]);
  expect(values(argv, "-append")[0]).not.toContain("mitigations");
  expect(values(argv, "-device").every((it) => !it.includes("-pci"))).toBe(true);
});

test("on arm64 it is a virt machine with its own console", () => {
  const argv = machineArguments(mac);
  expect(values(argv, "-machine")).toEqual(["virt,memory-backend=memory"]);
  expect(values(argv, "-accel")).toEqual(["hvf"]);
  expect(values(argv, "-append")[0]).toMatch(/^console=ttyAMA0 /);
  const emulated = machineArguments({
    ...mac,
    host: { platform: "linux", architecture: "arm64" },
    acceleration: "tcg",
  });
  expect(values(emulated, "-cpu")).toEqual(["max,pauth-impdef=on"]);
  expect(values(machineArguments({ ...mac, host: { platform: "darwin", architecture: "x64" } }), "-machine")).toEqual([
    "q35,sata=off,smbus=off,usb=off,memory-backend=memory",
  ]);
});

test("macOS has no seccomp sandbox and no /proc, and QEMU watches its parent from 11.1 on", () => {
  const argv = machineArguments(mac);
  expect(values(argv, "-sandbox")).toEqual([]);
  expect(values(argv, "-kernel")).toEqual(["/image/vmlinuz"]);
  expect(values(argv, "-run-with")).toEqual([]);
  expect(values(machineArguments({ ...mac, version: { major: 11, minor: 1, text: "11.1" } }), "-run-with")).toEqual([
    "exit-with-parent=on",
  ]);
});

test("no machine has a network device, a shared folder, a path of ours, or a listening socket", () => {
  const accelerations = fc.constantFrom("kvm", "tcg", "hvf");
  const hosts = fc.record({ platform: fc.constantFrom("linux"), architecture: fc.constantFrom("x64", "arm64") });
  fc.assert(
    fc.property(accelerations, hosts, fc.integer({ min: 7, max: 14 }), (acceleration, host, major) => {
      const options: CommandOptions = {
        ...linux,
        acceleration: acceleration as CommandOptions["acceleration"],
        host: host as CommandOptions["host"],
        version: { major, minor: 2, text: `${major}.2` },
      };
      for (const argv of [machineArguments(options), probeArguments(options)]) {
        const rest = argv.filter((it) => it !== "guest=/state/machines/m,,1").join(" ");
        expect(rest).not.toMatch(/net|9p|virtiofs|vhost|usb-|server|path=|\/image|\/state|hostfwd|vnc|spice/);
        expect(argv).toEqual(expect.arrayContaining(["-nodefaults", "-no-user-config", "-no-reboot", "-sandbox"]));
      }
    }),
  );
});

test("the trial of an accelerator has no disk and no channel", () => {
  const argv = probeArguments(linux);
  expect(values(argv, "-append")[0]).toMatch(/ glovebox\.probe$/);
  expect(values(argv, "-device")).toEqual([]);
  expect(values(argv, "-blockdev")).toEqual([]);
});

test("versions are read and compared", () => {
  expect(parseVersion("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright")).toEqual({
    major: 7,
    minor: 2,
    text: "7.2.22",
  });
  expect(parseVersion("QEMU emulator version 10.0.2")?.major).toBe(10);
  expect(parseVersion("something else 7.2")).toBeUndefined();
  expect(isAtLeast({ major: 10, minor: 0 }, 7, 2)).toBe(true);
  expect(isAtLeast({ major: 7, minor: 1 }, 7, 2)).toBe(false);
  expect(isAtLeast({ major: 6, minor: 9 }, 7, 2)).toBe(false);
});

test("as root each machine gets a user of its own without any capability", () => {
  const user = (argv: string[]) => values(argv, "--reuid")[0];
  const first = confine("user-and-network", true, []);
  expect(user(first)).not.toBe(user(confine("user-and-network", true, [])));
  expect(Number(user(first))).toBeGreaterThanOrEqual(2_000_000_000);
  expect(Number(user(first))).toBeLessThan(2 ** 31);
  expect(first).toEqual(
    expect.arrayContaining(["--no-new-privs", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]),
  );
  expect(first.slice(0, 2)).toEqual(["unshare", "--net"]);
  expect(values(confine("user", true, [105]), "--groups")).toEqual(["105"]);
  expect(confine("network", false, [])).toEqual(expect.arrayContaining(["--user", "--map-current-user", "--net"]));
  expect(confine("none", false, [])).toEqual([]);
});

test("a device that only root may use is not handed to a confined QEMU", async () => {
  const confined = { asRoot: true, confinement: "user" } as const;
  expect(await kvmAccess(confined, "/dev/null")).toEqual({ groups: [] });
  expect(await kvmAccess(confined, "/dev/mem")).toHaveProperty("refusal");
  expect(await kvmAccess(confined, "/dev/missing")).toHaveProperty("refusal");
});

test("a tail keeps the last bytes, whatever the pieces", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "binary-ascii", maxLength: 30 })),
      fc.integer({ min: 1, max: 64 }),
      (pieces, max) => {
        const tail = createTail(max);
        for (const piece of pieces) tail.push(Buffer.from(piece));
        expect(tail.text()).toBe(pieces.join("").slice(-max));
      },
    ),
  );
});

test("a watchdog expires on silence, and on too long a boot in spite of signs of life", async () => {
  using silent = startWatchdog({ silentMs: 40, totalMs: 10_000 });
  await once(silent.expired, "abort");
  expect(silent.expired.reason).toContain("no sign of life");
  using busy = startWatchdog({ silentMs: 100, totalMs: 300 });
  const alive = setInterval(busy.signOfLife, 5);
  await once(busy.expired, "abort");
  clearInterval(alive);
  expect(busy.expired.reason).toContain("not ready");
});

test("a machine's process is found by its directory and nothing else", async () => {
  const directory = await mkdtemp(join(tmpdir(), "left,over-"));
  // Any program will do; `cat` waits for its input.
  const child = spawn("sh", ["-c", "cat", "guest=", `guest=${directory.replaceAll(",", ",,")}`], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  try {
    await once(child, "spawn");
    const found = await readMachineProcess(directory);
    expect(found).toEqual({ pid: child.pid, startTime: expect.stringMatching(/^\d+$/) });
    expect(await readMachineProcess(directory.slice(0, -1))).toBeUndefined();
    expect(await readMachineProcess(`${directory}/x`)).toBeUndefined();
    const exit = once(child, "exit");
    expect(await endMachineProcess(directory)).toBe(child.pid);
    expect((await exit)[1]).toBe("SIGKILL");
    expect(await endMachineProcess(directory)).toBeUndefined();
  } finally {
    child.kill("SIGKILL");
    await rm(directory, { recursive: true });
  }
});

test("process tables are read whatever a program calls itself", () => {
  const fields = Array.from({ length: 30 }, (_, index) => index + 3).join(" ");
  expect(startTimeOf(`12 (a) b (c) ${fields}`)).toBe("22");
  const ps = [
    "  77 Mon Jan  5 10:20:30 2026 /usr/bin/other guest=/a/bc",
    " 123 Mon Jan  5 10:20:31 2026 qemu-system-aarch64 -name guest=/a/b -m 1024M",
  ].join("\n");
  expect(findInPs(ps, "/a/b")).toEqual({ pid: 123, startTime: "Mon Jan  5 10:20:31 2026" });
  expect(findInPs(ps, "/a")).toBeUndefined();
});
