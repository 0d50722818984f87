import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import type { MachineImage, MachineSpec } from "../../src/engine/engine.ts";
import { examineHost } from "../../src/engine/qemu/host.ts";
import { endMachineProcess, readMachineProcess } from "../../src/engine/qemu/machine-process.ts";
import { boots, chooseAcceleration } from "../../src/engine/qemu/probe.ts";
import { createQemuEngine } from "../../src/engine/qemu/qemu.ts";
import { openImageStore } from "../../src/image/store.ts";
import { newId } from "../../src/lib/id.ts";
import { engineSuite, processesNaming } from "./engine-suite.ts";

const scratch = mkdtempSync(join(tmpdir(), "glovebox-engine-"));
chmodSync(scratch, 0o711);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const log = { info: () => undefined, warn: () => undefined };
const never = new AbortController().signal;

function image(): Promise<MachineImage> {
  return openImageStore(loadConfig({}, process.env).imageDirectory).find("default");
}

function directory(): string {
  const path = join(scratch, newId("mach"));
  mkdirSync(path, { mode: 0o700 });
  return path;
}

async function spec(more: Partial<MachineSpec> = {}): Promise<MachineSpec> {
  const shape = { memoryMiB: 1024, vcpus: 2, diskMiB: 4096, hostname: "sandbox-1" };
  return { id: newId("mach"), directory: directory(), image: await image(), ...shape, ...more };
}

describe("the QEMU engine", () => {
  engineSuite(async () => ({
    engine: createQemuEngine({ cacheDirectory: scratch, templateDirectory: join(scratch, "templates"), log }),
    spec,
  }));
});

describe("the choice of acceleration", () => {
  test("the guest boots under emulation as far as the probe looks", async () => {
    const qemu = await examineHost(never);
    const trial = { image: await image(), directory: directory(), acceleration: "tcg" as const, groups: [] };
    expect(await boots(qemu, { ...trial, deadlineMs: 60_000 }, never)).toBe(true);
    expect(processesNaming(trial.directory)).toEqual([]);
  });

  test("a /dev/kvm that a guest hangs on, or that is not there, is not used; the trial leaves no process", async () => {
    // As this test's own user, so that the device can be opened wherever it exists.
    const qemu = { ...(await examineHost(never)), confinement: "none" as const };
    const trial = { image: await image(), directory: directory(), acceleration: "kvm" as const, groups: [] };
    const startedMs = performance.now();
    const works = await boots(qemu, { ...trial, deadlineMs: 6_000 }, never);
    expect(performance.now() - startedMs).toBeLessThan(30_000);
    expect(processesNaming(trial.directory)).toEqual([]);
    if (works) return;
    const cacheFile = join(trial.directory, "acceleration.json");
    const said: string[] = [];
    const options = {
      image: trial.image,
      directory: trial.directory,
      cacheFile,
      progress: (it: string) => said.push(it),
    };
    const verdict = await chooseAcceleration(qemu, options, never);
    expect(verdict).toMatchObject({ acceleration: "tcg", warning: expect.stringContaining("emulated") });
    const secondMs = performance.now();
    expect(await chooseAcceleration(qemu, options, never)).toEqual(verdict);
    expect(performance.now() - secondMs).toBeLessThan(5_000);
    writeFileSync(cacheFile, readFileSync(cacheFile, "utf8").replace(/[0-9a-f]{64}/, "0".repeat(64)));
    expect((await chooseAcceleration(qemu, options, never)).acceleration).toBe("tcg");
  });
});

describe("what a dead gateway leaves", () => {
  test("is found by its directory, and ended; other processes are left alone [G15]", async () => {
    const own = await spec();
    const engine = createQemuEngine({ cacheDirectory: scratch, templateDirectory: join(scratch, "templates"), log });
    const machine = await engine.open(own, { signal: AbortSignal.timeout(150_000), progress: () => undefined });
    // Looks like it by name and is none of ours.
    const bystander = spawn("sleep", ["300"], { argv0: "qemu-system-x86_64", stdio: "ignore" });
    try {
      const found = await readMachineProcess(own.directory);
      expect(found?.pid).toBe(machine.facts.pid);
      expect(await endMachineProcess(own.directory)).toBe(machine.facts.pid);
      expect(existsSync(`/proc/${machine.facts.pid}`)).toBe(false);
      expect(await endMachineProcess(own.directory)).toBeUndefined();
      expect(bystander.exitCode).toBeNull();
    } finally {
      bystander.kill("SIGKILL");
      await machine[Symbol.asyncDispose]();
    }
  });
});

describe("failures", () => {
  test("a kernel that does not boot is tried twice and reported with the end of its console", async () => {
    const own = await spec();
    const broken = join(scratch, "broken-initramfs");
    writeFileSync(broken, Buffer.alloc(4096), { mode: 0o444 });
    const said: string[] = [];
    const limits = { silentMs: 20_000, totalMs: 40_000 };
    const engine = createQemuEngine({
      cacheDirectory: scratch,
      templateDirectory: join(scratch, "templates"),
      log,
      bootLimits: limits,
    });
    const opening = engine.open(
      { ...own, image: { ...own.image, initramfs: broken } },
      { signal: never, progress: (it) => said.push(it) },
    );
    await expect(opening).rejects.toMatchObject({
      code: "BOOT_FAILED",
      message: expect.stringMatching(/panic|Linux|console/i),
    });
    expect(processesNaming(own.directory)).toEqual([]);
  });
});
