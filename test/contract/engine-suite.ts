import { existsSync, readdirSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Engine, Machine, MachineSpec } from "../../src/engine/engine.ts";
import { GatewayError } from "../../src/errors.ts";
import { expectRightTime } from "../support/clock.ts";

export interface EngineStand {
  readonly engine: Engine;
  /** A spec with a directory of its own. */
  readonly spec: (more?: Partial<MachineSpec>) => Promise<MachineSpec>;
}

const quiet = () => undefined;
const BOOT_MS = 200_000;

export async function ask(machine: Machine, path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const outgoing = request({ agent: machine.dockerAgent, path }, (answer) => text(answer).then(resolve, reject));
  outgoing.once("error", reject);
  outgoing.end();
  return await promise;
}

/** What every engine owes; one machine serves the tests that leave it alive. */
export function engineSuite(open: () => Promise<EngineStand>): void {
  let stand: EngineStand;
  let spec: MachineSpec;
  let machine: Machine;

  beforeAll(async () => {
    stand = await open();
    spec = await stand.spec({ memoryMiB: 768, vcpus: 1, diskMiB: 6144 });
    machine = await stand.engine.open(spec, { signal: AbortSignal.timeout(BOOT_MS), progress: quiet });
  }, BOOT_MS);

  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  test("the machine's own Docker engine answers, through the agent alone", async () => {
    expect(await ask(machine, "/_ping")).toBe("OK");
    const info = JSON.parse(await ask(machine, "/info"));
    expect(info).toMatchObject({ NCPU: 1, Driver: "overlay2" });
    expect(info.MemTotal / 1024 ** 2).toBeGreaterThan(600);
    expect(info.MemTotal / 1024 ** 2).toBeLessThanOrEqual(768);
    expect(info.KernelVersion).toBe(machine.guest.kernelRelease);
    await expectRightTime(async () => Date.parse(JSON.parse(await ask(machine, "/info")).SystemTime) / 1000);
  });

  test("the engine holds the agent's image, and four requests at once are four answers", async () => {
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask(machine, `/images/${spec.image.agentImage}/json`)));
    for (const answer of answers) expect(JSON.parse(answer).Id).toBe(spec.image.agentImage);
  });

  test("two machines are two kernels [G2]", { timeout: BOOT_MS }, async () => {
    const options = { signal: AbortSignal.timeout(BOOT_MS), progress: quiet };
    await using other = await stand.engine.open(await stand.spec(), options);
    expect(other.guest.bootId).not.toBe(machine.guest.bootId);
    expect(other.facts.pid).not.toBe(machine.facts.pid);
    expect(machine.lost.aborted).toBe(false);
  });

  test("an opening that is aborted leaves no process and no file", { timeout: BOOT_MS }, async () => {
    const aborted = await stand.spec();
    const controller = new AbortController();
    const opening = stand.engine.open(aborted, { signal: controller.signal, progress: quiet });
    setTimeout(() => controller.abort(new Error("changed my mind")), 1_500);
    await expect(opening).rejects.toThrow("changed my mind");
    expect(readdirSync(aborted.directory)).toEqual([]);
    expect(processesNaming(aborted.directory)).toEqual([]);
  });

  test("a machine that is killed is lost at once, and disposal is idempotent", { timeout: BOOT_MS }, async () => {
    const own = await stand.spec();
    const victim = await stand.engine.open(own, { signal: AbortSignal.timeout(BOOT_MS), progress: quiet });
    const lost = new Promise((resolve) => victim.lost.addEventListener("abort", resolve, { once: true }));
    process.kill(victim.facts.pid, "SIGKILL");
    await lost;
    expect(victim.lost.reason).toMatchObject({ code: "MACHINE_LOST" });
    const request = { pid: 1, run: "x", signal: "SIGKILL" as const };
    await expect(victim.signal(request, new AbortController().signal)).rejects.toMatchObject({ code: "MACHINE_LOST" });
    await Promise.all([victim[Symbol.asyncDispose](), victim[Symbol.asyncDispose]()]);
    expect(readdirSync(own.directory)).toEqual([]);
  });

  test("a machine that is condemned is lost for that reason, and its process ends [G13]", {
    timeout: BOOT_MS,
  }, async () => {
    const own = await stand.spec();
    await using culprit = await stand.engine.open(own, { signal: AbortSignal.timeout(BOOT_MS), progress: quiet });
    const reason = new GatewayError("CHANNEL_VIOLATION");
    culprit.condemn(reason);
    expect(culprit.lost.reason).toBe(reason);
    culprit.condemn(new GatewayError("MACHINE_LOST"));
    expect(culprit.lost.reason).toBe(reason);
    await expect.poll(() => processesNaming(own.directory)).toEqual([]);
  });
}

export function processesNaming(directory: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/cmdline`)) return false;
    return commandLine(pid).includes(directory);
  });
}

function commandLine(pid: string): string {
  try {
    return process.getBuiltinModule("node:fs").readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // It ended meanwhile.
    return "";
  }
}
