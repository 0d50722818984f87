import { createHash } from "node:crypto";
import {
  chmodSync,
  constants,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { agentContainer } from "../../src/container/agent-container.ts";
import type { Container } from "../../src/container/container.ts";
import { startContainer } from "../../src/container/docker.ts";
import type { Engine, Machine } from "../../src/engine/engine.ts";
import { createQemuEngine } from "../../src/engine/qemu/qemu.ts";
import { sealFile } from "../../src/engine/qemu/seal.ts";
import { loadTemplate, TemplateDamaged } from "../../src/engine/qemu/template.ts";
import { openImageStore } from "../../src/image/store.ts";
import { newId } from "../../src/lib/id.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { expectRightTime } from "../support/clock.ts";
import { forever, runToEnd } from "./container-suite.ts";

/** Machines that are copies of a saved one, on real QEMU. */
const scratch = mkdtempSync(join(tmpdir(), "glovebox-template-"));
chmodSync(scratch, 0o711);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const TEST_MS = 300_000;
const profile = profileSchema.parse({});
const { imageDirectory, stateDirectory } = loadConfig({}, process.env);

interface Copy extends AsyncDisposable {
  readonly machine: Machine;
  readonly container: Container;
  readonly hostname: string;
}

function engineAt(templateDirectory: string, warnings: string[] = []): Engine {
  const log = {
    info: () => undefined,
    warn: (_facts: unknown, message?: string) => message && void warnings.push(message),
  };
  const engine = createQemuEngine({ cacheDirectory: stateDirectory, templateDirectory, log: log as never });
  onTestFinished(() => engine[Symbol.asyncDispose]());
  return engine;
}

async function openCopy(engine: Engine): Promise<Copy> {
  const image = await openImageStore(imageDirectory).find("default");
  const id = newId("mach");
  const directory = join(scratch, id);
  mkdirSync(directory, { mode: 0o700 });
  const hostname = `sandbox-${id.slice(-8)}`;
  const opened = await engine.openPrepared(
    { id, directory, image, memoryMiB: 768, vcpus: 2, diskMiB: 4096, hostname },
    {
      key: "test",
      prepare: (machine, name, signal) =>
        startContainer({ hostname: name, image: image.agentImage, profile }, machine, signal),
    },
    { signal: AbortSignal.timeout(TEST_MS), progress: () => undefined },
  );
  const { machine } = opened;
  return {
    machine,
    container: agentContainer(opened.prepared, machine),
    hostname,
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  };
}

const shared = join(scratch, "templates");

function templateIn(directory: string): string {
  const names = readdirSync(directory).filter((it) => !it.endsWith(".lock"));
  expect(names).toHaveLength(1);
  return join(directory, String(names[0]));
}

function digests(directory: string): Record<string, string> {
  const entries = readdirSync(directory).map((name) => {
    const content = readFileSync(join(directory, name));
    return [name, createHash("sha256").update(content).digest("hex")];
  });
  return Object.fromEntries(entries);
}

const RANDOM = `
import os, random, uuid, secrets, tempfile
print(os.urandom(16).hex()); print(random.getrandbits(128)); print(uuid.uuid4()); print(secrets.token_hex(16))
print(tempfile.mkdtemp()); print(open("/proc/sys/kernel/random/uuid").read().strip()); print(hash("a string")); print(id(object()))`;

test("copies share no random stream, no name, and nothing that either writes; the template stays as it was [G2]", {
  timeout: TEST_MS,
}, async () => {
  const engine = engineAt(shared);
  await using one = await openCopy(engine);
  const template = templateIn(shared);
  const before = digests(template);
  await using two = await openCopy(engine);
  expect([one.machine.facts.start, two.machine.facts.start]).toEqual(["template", "template"]);
  expect(one.machine.facts.pid).not.toBe(two.machine.facts.pid);

  const first = (await runToEnd(one.container, ["python3", "-c", RANDOM])).stdout.trim().split("\n");
  const second = (await runToEnd(two.container, ["python3", "-c", RANDOM])).stdout.trim().split("\n");
  expect(first).toHaveLength(8);
  for (const [index, value] of first.entries()) expect(second[index], `line ${index}`).not.toBe(value);

  for (const { container, hostname } of [one, two]) {
    const { stdout } = await runToEnd(container, ["sh", "-c", "hostname; cat /etc/hostname"]);
    expect(stdout).toBe(`${hostname}\n${hostname}\n`);
    await expectRightTime(async () => Number((await runToEnd(container, ["date", "+%s"])).stdout));
  }

  const plain = { mode: 0o644, createParents: false };
  await one.container.writeFile("/workspace/mine", Buffer.alloc(5_000_000, "1"), plain, forever);
  await runToEnd(one.container, ["sh", "-c", "sync; echo 1 > /tmp/mine; sync"]);
  await using three = await openCopy(engine);
  for (const { container } of [two, three])
    for (const path of ["/workspace/mine", "/tmp/mine"])
      await expect(container.stat(path, forever)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });

  expect(digests(template)).toEqual(before);
  for (const name of readdirSync(template)) expect(statSync(join(template, name)).mode & 0o222, name).toBe(0);
});

test("a machine that was paused goes on where it was, with the right time and fresh randomness", {
  timeout: TEST_MS,
}, async () => {
  await using copy = await openCopy(engineAt(shared));
  const run = await copy.container.run(
    { run: "ticker", argv: ["sh", "-c", "while :; do date +%s; sleep 0.2; done"], cwd: "/", env: {}, stdin: false },
    forever,
  );
  let text = "";
  run.stdout.on("data", (chunk: Buffer) => {
    text += String(chunk);
  });
  run.stderr.resume();
  await expect.poll(() => text.length).toBeGreaterThan(0);
  await copy.machine.pause(forever);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const asleep = text.length;
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(text.length).toBe(asleep);
  await expectRightTime(async () => {
    await copy.machine.resume(forever);
    await expect.poll(() => text.length).toBeGreaterThan(asleep + 22);
    return Number(text.slice(0, text.lastIndexOf("\n")).split("\n").at(-1));
  });
  await run.signal("SIGKILL");
  expect(await run.exit).toMatchObject({ by: "signal" });
});

test("sealed memory can be opened for writing and mapped, and never be written, by root neither", async () => {
  const path = join(scratch, "memory");
  writeFileSync(path, Buffer.alloc(100_000, 7));
  const { seal } = await openImageStore(imageDirectory).find("default");
  await using memory = await sealFile(seal, path, forever);
  const again = openSync(`/proc/self/fd/${memory.fd}`, constants.O_RDWR);
  expect(() => writeSync(again, "x")).toThrow(/EPERM/);
  await using third = await open(`/proc/self/fd/${memory.fd}`, "r+");
  await expect(third.truncate(0)).rejects.toThrow(/EPERM/);
  expect((await memory.readFile()).equals(Buffer.alloc(100_000, 7))).toBe(true);
});

test("a template that was changed is made anew, and it is said", { timeout: TEST_MS }, async () => {
  const warnings: string[] = [];
  const engine = engineAt(damaged("memory"), warnings);
  await using copy = await openCopy(engine);
  expect(copy.machine.facts.start).toBe("template");
  expect(warnings).toEqual(["a saved machine could not be copied; it is made anew"]);
  expect((await runToEnd(copy.container, ["echo", "works"])).stdout).toBe("works\n");
});

test.each([
  ["state", "its state is not what was saved"],
  ["disk.qcow2", "its disk is not what was saved"],
  ["template.json", "its description can't be read"],
])("a template whose %s was changed is not loaded", async (name, reason) => {
  const { seal } = await openImageStore(imageDirectory).find("default");
  const loading = loadTemplate(templateIn(damaged(name)), seal, forever);
  await expect(loading).rejects.toThrow(reason);
  await expect(loading).rejects.toBeInstanceOf(TemplateDamaged);
});

/** A copy of the shared template, where nobody has loaded it yet, with one bit of a file changed; of its description, the first. */
function damaged(name: string): string {
  const directory = join(scratch, `damaged-${name}`);
  cpSync(shared, directory, { recursive: true });
  const file = join(templateIn(directory), name);
  chmodSync(file, 0o600);
  const content = readFileSync(file);
  const at = name === "template.json" ? 0 : Math.floor(content.length / 2);
  content.writeUInt8(content.readUInt8(at) ^ 1, at);
  writeFileSync(file, content);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("where no template can be made the machine is booted, and its facts say so", { timeout: TEST_MS }, async () => {
  const blocked = join(scratch, "blocked");
  writeFileSync(blocked, "");
  const warnings: string[] = [];
  await using copy = await openCopy(engineAt(join(blocked, "templates"), warnings));
  expect(copy.machine.facts).toMatchObject({ start: "cold", warning: expect.stringContaining("No saved machine") });
  expect(warnings).toHaveLength(2);
  expect((await runToEnd(copy.container, ["hostname"])).stdout).toBe(`${copy.hostname}\n`);
});
