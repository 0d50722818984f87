import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import Docker from "dockerode";
import { type Config, loadConfig } from "../src/config.ts";
import type { Engine, Machine } from "../src/engine/engine.ts";
import { createQemuEngine } from "../src/engine/qemu/qemu.ts";
import { openGateway } from "../src/gateway.ts";
import { createLog } from "../src/log.ts";
import { createServer } from "../src/mcp/server.ts";
import { median, type Row, row, timed } from "./row.ts";

const REPEATS = 30;
const OPENINGS = 8;
const SNAPSHOTS = 4;
/** The pool fills a few seconds after a sandbox was handed out. */
const REFILL_MS = 8_000;
const MEGABYTE = 1_000_000;

/** Times what no gateway can save: the program itself, started by a program beside it. Milliseconds, a line each. */
const INSIDE = `
import os, sys, time
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    os.waitpid(os.posix_spawnp("true", ["true"], os.environ), 0)
    print((time.perf_counter() - began) * 1000)`;

/**
 * The whole path on real parts, with the client in the same process: what an MCP call costs, beside the bare operation on the
 * same inner engine in the same run.
 */
export async function benchGateway(say: (message: string) => void): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-"));
  try {
    say("opening a session, booted");
    const cold = await openings(await benchConfig(join(root, "cold"), 0), 2, { booted: true });
    say("opening a session, from a template");
    const config = await benchConfig(join(root, "warm"), 0);
    await openings(config, 1);
    const template = await openings(config, OPENINGS);
    say("opening a session, from the pool");
    const pool = await openings({ ...config, spares: 1 }, OPENINGS, { restMs: REFILL_MS });
    const rows = [
      row("session open, from a template, to the first exec's result", template.times, "ms", "booted", cold.times),
      row("session open, from the pool, to the first exec's result", pool.times, "ms", "booted", cold.times),
      row("private memory of an idle session, a copy", template.privateMiB, "MiB", "booted", cold.privateMiB),
      row("proportional memory of an idle session, a copy", template.sharedMiB, "MiB", "booted", cold.sharedMiB),
      row("sessions in a GiB", [1024 / median(template.privateMiB)], "sessions", "booted", [
        1024 / median(cold.privateMiB),
      ]),
    ];
    rows.push(...(await benchSnapshots(config, cold.times, say)));
    return [...rows, ...(await benchCalls(config, say))];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Beside the time in which a fresh sandbox would have been booted. */
async function benchSnapshots(
  config: Config,
  bootedMs: readonly number[],
  say: (message: string) => void,
): Promise<Row[]> {
  await using stand = await openStand(config);
  const { call } = stand;
  say("snapshots: taking, going back, forking");
  await call("exec", { argv: ["true"] });
  const taken = await several(SNAPSHOTS, async () => {
    await call("snapshotSession", { snapshot: "bench" });
    await call("deleteSnapshot", { snapshot: "bench" });
  });
  await call("snapshotSession", { snapshot: "bench" });
  const restored = await several(SNAPSHOTS, async () => {
    await call("restoreSession", { snapshot: "bench" });
    await call("exec", { argv: ["true"] });
  });
  const forked: number[] = [];
  for (let index = 0; index < SNAPSHOTS; index += 1) {
    let sessionId = "";
    forked.push(
      await timed(async () => {
        ({ sessionId } = (await call("forkSession", {})) as { sessionId: string });
        await call("exec", { argv: ["true"], sessionId });
      }),
    );
    await call("closeSession", { sessionId });
  }
  return [
    row("snapshotSession, and deleting it", taken, "ms", "session open, booted", bootedMs),
    row("restoreSession, to the first exec's result", restored, "ms", "session open, booted", bootedMs),
    row("forkSession, to the first exec's result", forked, "ms", "session open, booted", bootedMs),
  ];
}

async function benchCalls(config: Config, say: (message: string) => void): Promise<Row[]> {
  await using stand = await openStand(config);
  const { call } = stand;
  say("the gateway's own share of a call");
  const share = await repeated(() => call("listSessions", {}));
  await call("exec", { argv: ["true"] });
  say("exec through MCP, through the engine, and on the host");
  const machine = stand.machines[0];
  if (!machine) throw new Error("no machine was opened");
  const bare = await bareExec(machine);
  await bare();
  const [execMs, bareMs] = await alternating(() => call("exec", { argv: ["true"] }), bare);
  const hostMs = await repeated(hostProcess);
  const inside = (await call("exec", { argv: ["python3", "-c", INSIDE, String(REPEATS)] })) as { stdout: string };
  const insideMs = inside.stdout.trim().split("\n").map(Number);
  const together = async (count: number) => {
    const times: number[] = [];
    for (let round = 0; round < Math.ceil((2 * REPEATS) / count); round += 1) {
      const batch = Array.from({ length: count }, () => timed(() => call("exec", { argv: ["true"] })));
      times.push(...(await Promise.all(batch)));
    }
    return times;
  };
  const eight = await together(8);
  const thirtyTwo = await together(32);
  say("files");
  const small = "x".repeat(1_000);
  const large = "x".repeat(10 * MEGABYTE);
  const smallWrite = await repeated(() => call("writeFile", { path: "/workspace/small", content: small }));
  const smallRead = await repeated(() => call("readFile", { path: "/workspace/small" }));
  const rate = (ms: number) => 10_000 / ms;
  const largeWrite = await several(10, () => call("writeFile", { path: "/workspace/large", content: large }));
  const largeRead = await several(10, () => call("readFile", { path: "/workspace/large", encoding: "base64" }));
  const copy = await several(3, async () => void Buffer.from(large));
  return [
    row("gateway's own share of a call (MCP, policy, audit)", share, "ms", "fork + exec on the host", hostMs),
    row("exec through MCP", execMs, "ms", "docker exec, same engine", bareMs),
    row("exec through MCP", execMs, "ms", "fork + exec inside the sandbox", insideMs),
    row("exec through MCP", execMs, "ms", "fork + exec on the host", hostMs),
    row("exec through MCP, each of 8 at once", eight, "ms", "alone", execMs),
    row("exec through MCP, each of 32 at once", thirtyTwo, "ms", "alone", execMs),
    row("writeFile 1 KB", smallWrite, "ms", "docker exec, same engine", bareMs),
    row("readFile 1 KB", smallRead, "ms", "docker exec, same engine", bareMs),
    row("writeFile 100 MB in ten", largeWrite.map(rate), "MB/s", "a copy in memory", copy.map(rate)),
    row("readFile 100 MB in ten", largeRead.map(rate), "MB/s", "a copy in memory", copy.map(rate)),
  ];
}

export interface Stand extends AsyncDisposable {
  readonly machines: readonly Machine[];
  call(name: string, args: Record<string, unknown>): Promise<unknown>;
}

/** A gateway with a client in this process. `booted`: every machine is booted, as if there were no templates. */
export async function openStand(config: Config, { booted = false } = {}): Promise<Stand> {
  await using stack = new AsyncDisposableStack();
  const machines: Machine[] = [];
  const real = createQemuEngine({ ...config, cacheDirectory: config.stateDirectory, log: createLog("silent") });
  const engine: Engine = {
    name: real.name,
    open: real.open,
    openPrepared: async (spec, preparation, options) => {
      const opened = booted ? undefined : await real.openPrepared(spec, preparation, options);
      const machine = opened?.machine ?? (await real.open(spec, options));
      machines.push(machine);
      return opened ?? { machine, prepared: await preparation.prepare(machine, spec.hostname, options.signal) };
    },
    openSaved: async (...args) => {
      const machine = await real.openSaved(...args);
      machines.push(machine);
      return machine;
    },
    [Symbol.asyncDispose]: () => real[Symbol.asyncDispose](),
  };
  const gateway = stack.use(await openGateway(config, new AbortController().signal, engine));
  const [clientSide, serverSide] = InMemoryTransport.createLinkedPair();
  await createServer(gateway.server).connect(serverSide);
  const client = new Client({ name: "bench", version: "1.0.0" });
  await client.connect(clientSide);
  stack.defer(() => client.close());
  const owned = stack.move();
  return {
    machines,
    call: async (name, args) => {
      const result = await client.callTool({ name, arguments: args }, undefined, { timeout: 300_000 });
      if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
      return result.structuredContent;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Opens sessions one after the other; each time is that to the result of the first program. */
async function openings(
  config: Config,
  count: number,
  { booted = false, restMs = 0 } = {},
): Promise<{ times: number[]; privateMiB: number[]; sharedMiB: number[] }> {
  await using stand = await openStand(config, { booted });
  const times: number[] = [];
  const privateMiB: number[] = [];
  const sharedMiB: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const startedMs = performance.now();
    const { sessionId } = (await stand.call("openSession", {})) as { sessionId: string };
    const idle = memoryOf(stand.machines.at(-1));
    await stand.call("exec", { argv: ["true"], sessionId });
    // The first opening of a gateway reads the template, or finds the pool empty.
    if (index > 0 || count === 1) {
      times.push(performance.now() - startedMs);
      privateMiB.push(idle.privateMiB);
      sharedMiB.push(idle.sharedMiB);
    }
    await stand.call("closeSession", { sessionId });
    await sleep(restMs);
  }
  return { times, privateMiB, sharedMiB };
}

/** MiB: pages that it has written, and its share of all that it has mapped. */
function memoryOf(machine: Machine | undefined): { privateMiB: number; sharedMiB: number } {
  const rollup = readFileSync(`/proc/${machine?.facts.pid}/smaps_rollup`, "utf8");
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1]) / 1024;
  return { privateMiB: of("Anonymous"), sharedMiB: of("Pss") };
}

export async function several(count: number, run: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) times.push(await timed(run));
  return times;
}

function repeated(run: () => Promise<unknown>): Promise<number[]> {
  return several(REPEATS, run);
}

/** In turns, so that a noisy computer disturbs both alike. */
async function alternating(one: () => Promise<unknown>, other: () => Promise<unknown>): Promise<[number[], number[]]> {
  const times: [number[], number[]] = [[], []];
  for (let index = 0; index < REPEATS; index += 1) {
    times[0].push(await timed(one));
    times[1].push(await timed(other));
  }
  return times;
}

async function hostProcess(): Promise<void> {
  await once(spawn("true", { stdio: "ignore" }), "close");
}

/** A data directory of its own, with this machine's guest images in it, passable for the machines' users. */
export async function benchConfig(root: string, spares: number): Promise<Config> {
  const data = join(root, "data");
  await mkdir(data, { recursive: true });
  for (const directory of [join(root, ".."), root, data]) await chmod(directory, 0o711);
  symlinkSync(loadConfig({}, process.env).imageDirectory, join(data, "images"));
  return loadConfig({ dataDir: data, logLevel: "silent", spares: String(spares) }, {});
}

/** With another bundle as the user's. */
export function withPolicy(config: Config, directory: string): Config {
  return { ...config, settings: { ...config.settings, policy: { directory, statedIn: "bench" } } };
}

/** What `docker exec <container> true` does, on the machine's own engine: create, start, read to the end, inspect. */
async function bareExec(machine: Machine): Promise<() => Promise<void>> {
  // dockerode connects through the agent; the path is never used.
  const docker = new Docker({ socketPath: "/unused", agent: machine.dockerAgent } as Docker.DockerOptions);
  const [info] = await docker.listContainers();
  if (!info) throw new Error("no container runs in the machine");
  const container = docker.getContainer(info.Id);
  return async () => {
    const exec = await container.exec({ Cmd: ["true"], AttachStdout: true, AttachStderr: true });
    const stream = await exec.start({ hijack: true, stdin: false });
    stream.resume();
    await new Promise((resolve) => stream.once("end", resolve));
    await exec.inspect();
  };
}
