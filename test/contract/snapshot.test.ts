import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { agentContainer } from "../../src/container/agent-container.ts";
import type { Container } from "../../src/container/container.ts";
import { startContainer } from "../../src/container/docker.ts";
import type { Engine, Machine, MachineSpec } from "../../src/engine/engine.ts";
import { createQemuEngine } from "../../src/engine/qemu/qemu.ts";
import { openImageStore } from "../../src/image/store.ts";
import { newId } from "../../src/lib/id.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { expectRightTime } from "../support/clock.ts";
import { forever, runToEnd } from "./container-suite.ts";

/** Machines that are saved while they go on, and others that are opened as they were, on real QEMU. */
const scratch = mkdtempSync(join(tmpdir(), "glovebox-snapshot-"));
chmodSync(scratch, 0o711);

const TEST_MS = 300_000;
const profile = profileSchema.parse({});
const { imageDirectory, stateDirectory, templateDirectory } = loadConfig({}, process.env);
const quiet = { info: () => undefined, warn: () => undefined };
const options = { signal: forever, progress: () => undefined };
const plain = { mode: 0o644, createParents: false };

let engine: Engine;
let original: Opened;
/** The original as it was at first, for tests to which it does not matter what is in a snapshot. */
let saved: string;
let containerId = "";

interface Opened {
  readonly machine: Machine;
  readonly container: Container;
  readonly hostname: string;
}

async function specOf(changes: Partial<MachineSpec> = {}): Promise<MachineSpec> {
  const image = await openImageStore(imageDirectory).find("default");
  const id = newId("mach");
  const directory = join(scratch, id);
  mkdirSync(directory, { mode: 0o700 });
  const hostname = `sandbox-${id.slice(-8)}`;
  return { id, directory, image, memoryMiB: 768, vcpus: 2, diskMiB: 4096, hostname, ...changes };
}

async function openSaved(directory: string): Promise<Opened> {
  const spec = await specOf();
  const machine = await engine.openSaved(spec, directory, options);
  onTestFinished(() => machine[Symbol.asyncDispose]());
  return { machine, container: agentContainer(containerId, machine), hostname: spec.hostname };
}

async function save({ machine }: Opened): Promise<string> {
  const directory = join(scratch, newId("snap"));
  mkdirSync(directory);
  await machine.save(directory, forever);
  return directory;
}

beforeAll(async () => {
  engine = createQemuEngine({ cacheDirectory: stateDirectory, templateDirectory, log: quiet });
  const spec = await specOf();
  const opened = await engine.openPrepared(
    spec,
    {
      key: "snapshot tests",
      prepare: (machine, hostname, signal) =>
        startContainer({ hostname, image: spec.image.agentImage, profile }, machine, signal),
    },
    options,
  );
  const { machine } = opened;
  containerId = opened.prepared;
  original = { machine, container: agentContainer(containerId, machine), hostname: spec.hostname };
  saved = await save(original);
}, TEST_MS);

afterAll(async () => {
  await original?.machine[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

test("a machine goes on as if nothing had been, and another is as it was: disk, memory, running programs", {
  timeout: TEST_MS,
}, async () => {
  const { container } = original;
  await container.writeFile("/workspace/kept", Buffer.from("kept"), plain, forever);
  await runToEnd(container, ["sh", "-c", "printf %s 'in memory' > /dev/shm/kept"]);
  const script = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /workspace/count; sleep 0.05; done";
  const counting = await container.run(
    { run: "counting", argv: ["sh", "-c", script], cwd: "/", env: {}, stdin: false },
    forever,
  );
  let printed = "";
  counting.stdout.on("data", (chunk: Buffer) => {
    printed += String(chunk);
  });
  counting.stderr.resume();
  await expect.poll(() => printed.length).toBeGreaterThan(0);
  const whileCounting = await save(original);
  const atSave = printed.trim().split("\n").length;

  await container.writeFile("/workspace/kept", Buffer.from("changed"), plain, forever);
  // Nothing is lost, nothing is doubled.
  await expect.poll(() => printed.trim().split("\n").length).toBeGreaterThan(atSave + 20);
  const numbers = printed.trim().split("\n").map(Number);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));

  const copy = await openSaved(whileCounting);
  expect(copy.machine.facts.start).toBe("snapshot");
  const show = "cat /workspace/kept; echo; cat /dev/shm/kept; echo; hostname; cat /etc/hostname";
  const shown = (await runToEnd(copy.container, ["sh", "-c", show])).stdout.trim().split("\n");
  expect(shown).toEqual(["kept", "in memory", copy.hostname, copy.hostname]);
  await expectRightTime(async () => Number((await runToEnd(copy.container, ["date", "+%s"])).stdout));
  const count = async () => Number((await runToEnd(copy.container, ["cat", "/workspace/count"])).stdout);
  const first = await count();
  await expect.poll(count).toBeGreaterThan(first);
  await counting.signal("SIGKILL");
  await counting.exit;
});

const RANDOM = `
import os, uuid, secrets
print(os.urandom(16).hex()); print(uuid.uuid4()); print(secrets.token_hex(16)); print(open("/proc/sys/kernel/random/uuid").read().strip())`;

test("copies of one snapshot share no random stream, and nothing that either writes [G2]", {
  timeout: TEST_MS,
}, async () => {
  // A program that draws all the time, and so has drawn before and after the moment it was saved.
  const drawing = await original.container.run(
    {
      run: "drawing",
      argv: ["sh", "-c", "while :; do head -c 16 /dev/urandom | od -An -tx1 >> /workspace/drawn; sleep 0.02; done"],
      cwd: "/",
      env: {},
      stdin: false,
    },
    forever,
  );
  drawing.stdout.resume();
  drawing.stderr.resume();
  await runToEnd(original.container, ["sleep", "0.5"]);
  const whileDrawing = await save(original);
  const copies = await Promise.all([openSaved(whileDrawing), openSaved(whileDrawing)]);
  const all = [original, ...copies];
  const values: string[] = [];
  for (const { container } of all) {
    await runToEnd(container, ["sleep", "0.5"]);
    values.push(...(await runToEnd(container, ["python3", "-c", RANDOM])).stdout.trim().split("\n"));
  }
  expect(values).toHaveLength(12);
  expect(new Set(values).size).toBe(12);
  const drawn = await Promise.all(
    all.map(async ({ container }) =>
      (await runToEnd(container, ["cat", "/workspace/drawn"])).stdout.trim().split("\n"),
    ),
  );
  // What was drawn before is in all of them; what came after is each one's own, from the first on.
  const common = drawn.map((lines) => lines.filter((line) => drawn.every((others) => others.includes(line))).length);
  for (const [index, lines] of drawn.entries()) {
    expect(lines.length, `copy ${index}`).toBeGreaterThan(Number(common[index]));
    for (const line of lines.slice(common[index])) {
      for (const others of drawn.filter((it) => it !== lines)) expect(others).not.toContain(line);
    }
  }
  await copies[0]?.container.writeFile("/workspace/mine", Buffer.from("1"), plain, forever);
  for (const { container } of [original, ...copies.slice(1)])
    await expect(container.stat("/workspace/mine", forever)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  await drawing.signal("SIGKILL");
  await drawing.exit;
});

test("a copy can be saved in turn, by several at once, and needs nothing of what it came from", {
  timeout: TEST_MS,
}, async () => {
  await original.container.writeFile("/workspace/deep", Buffer.from("deep"), plain, forever);
  const first = await save(original);
  const copy = await openSaved(first);
  rmSync(first, { recursive: true });
  const [one, two] = await Promise.all([save(copy), save(copy)]);
  for (const directory of [one, two]) {
    const { container } = await openSaved(String(directory));
    expect((await runToEnd(container, ["cat", "/workspace/deep"])).stdout).toBe("deep");
  }
  expect((await runToEnd(copy.container, ["echo", "goes on"])).stdout).toBe("goes on\n");
});

test.each(["state", "disk.qcow2", "layer.qcow2", "machine.json"])(
  "a snapshot whose %s was changed, or is gone, is refused",
  { timeout: TEST_MS },
  async (name) => {
    for (const file of readdirSync(saved)) expect(statSync(join(saved, file)).mode & 0o277, file).toBe(0);
    const damaged = join(scratch, newId("snap"));
    cpSync(saved, damaged, { recursive: true });
    const path = join(damaged, name);
    const content = readFileSync(path);
    const at = Math.floor(content.length / 2);
    content.writeUInt8(content.readUInt8(at) ^ 1, at);
    rmSync(path);
    writeFileSync(path, content);
    for (const damage of [() => undefined, () => rmSync(path)]) {
      damage();
      await expect(openSaved(damaged)).rejects.toMatchObject({ code: "SNAPSHOT_UNUSABLE" });
    }
  },
);

test("a machine of another shape does not take it up", { timeout: TEST_MS }, async () => {
  for (const changes of [{ memoryMiB: 1024 }, { vcpus: 1 }, { diskMiB: 8192 }]) {
    const opening = engine.openSaved(await specOf(changes), saved, options);
    await expect(opening).rejects.toMatchObject({ code: "SNAPSHOT_UNUSABLE" });
  }
});

test("a saving that is given up, or has no room, leaves the machine going on", { timeout: TEST_MS }, async () => {
  for (const afterMs of [0, 50, 200, 600, 1_200]) {
    const directory = join(scratch, newId("snap"));
    mkdirSync(directory);
    const caller = new AbortController();
    const saving = original.machine.save(directory, caller.signal);
    setTimeout(() => caller.abort(new Error("given up")), afterMs);
    await saving.catch(() => undefined);
    expect((await runToEnd(original.container, ["echo", "goes on"])).stdout, `${afterMs} ms`).toBe("goes on\n");
  }
  await expect(original.machine.save(join(scratch, "missing"), forever)).rejects.toThrow();
  expect((await runToEnd(original.container, ["echo", "goes on"])).stdout).toBe("goes on\n");
});

test("a machine that is killed while it is saved is lost, and the saving says so", { timeout: TEST_MS }, async () => {
  const victim = await openSaved(saved);
  const directory = join(scratch, newId("snap"));
  mkdirSync(directory);
  const saving = victim.machine.save(directory, forever);
  saving.catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 400));
  process.kill(victim.machine.facts.pid, "SIGKILL");
  await expect(saving).rejects.toMatchObject({ code: expect.stringMatching(/^(MACHINE_LOST|BOOT_FAILED)$/) });
  await expect.poll(() => victim.machine.lost.aborted).toBe(true);
});

test("savings that are under way, or wait, when the machine is disposed of say that it is gone", {
  timeout: TEST_MS,
}, async () => {
  const victim = await openSaved(saved);
  const savings = [1, 2, 3].map(() => save(victim).catch((error: unknown) => error));
  await new Promise((resolve) => setTimeout(resolve, 200));
  await victim.machine[Symbol.asyncDispose]();
  for (const outcome of await Promise.all(savings)) expect(outcome).toMatchObject({ code: "MACHINE_LOST" });
});

test("what a machine is saved through is for its own user alone, and a disk that was made too long is not copied [G17]", {
  timeout: TEST_MS,
}, async () => {
  const spec = await specOf();
  const machine = await engine.openSaved(spec, saved, options);
  onTestFinished(() => machine[Symbol.asyncDispose]());
  const copy = { machine, container: agentContainer(containerId, machine), hostname: spec.hostname };
  const own = Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${machine.facts.pid}/status`, "utf8"))?.[1]);
  const seen = new Set<string>();
  const watching = setInterval(() => {
    const socket = statSync(join(spec.directory, "state.sock"), { throwIfNoEntry: false });
    if (socket) seen.add(`${socket.uid} ${(socket.mode & 0o777).toString(8)}`);
  }, 1);
  await save(copy);
  clearInterval(watching);
  // Between its making and its handing over it is ours, in a directory that is closed.
  expect([...seen]).toContain(`${own} 600`);

  const disk = join(spec.directory, "data.qcow2");
  const { size } = statSync(disk);
  truncateSync(disk, 64 * 1024 ** 3);
  await expect(save(copy)).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
  truncateSync(disk, size);
  expect((await runToEnd(copy.container, ["echo", "goes on"])).stdout).toBe("goes on\n");
});
