import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

const REPEATS = 15;

/**
 * The whole path on real parts, with the client in the same process: what an MCP call costs, beside the bare operation on the
 * same inner engine in the same run.
 */
export async function benchGateway(say: (message: string) => void): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-"));
  const machines: Machine[] = [];
  try {
    const config = await benchConfig(root);
    const real = createQemuEngine({ ...config, cacheDirectory: config.stateDirectory, log: createLog("silent") });
    const engine: Engine = {
      name: real.name,
      open: real.open,
      openPrepared: async (spec, preparation, options) => {
        const opened = await real.openPrepared(spec, preparation, options);
        machines.push(opened.machine);
        return opened;
      },
      [Symbol.asyncDispose]: () => real[Symbol.asyncDispose](),
    };
    await using gateway = await openGateway(config, new AbortController().signal, engine);
    const [clientSide, serverSide] = InMemoryTransport.createLinkedPair();
    await createServer(gateway.server).connect(serverSide);
    const client = new Client({ name: "bench", version: "1.0.0" });
    await client.connect(clientSide);
    const call = async (name: string, args: Record<string, unknown>) => {
      const result = await client.callTool({ name, arguments: args }, undefined, { timeout: 300_000 });
      if (result.isError) throw new Error(`${name}: ${JSON.stringify(result.content)}`);
    };
    const repeated = async (run: () => Promise<unknown>) => {
      const times: number[] = [];
      for (let index = 0; index < REPEATS; index += 1) times.push(await timed(run));
      return median(times);
    };

    say("the gateway's own share of a call");
    const share = await repeated(() => call("listSessions", {}));
    say("opening a session, cold");
    const cold = await timed(() => call("exec", { argv: ["true"] }));
    const machine = machines[0];
    if (!machine) throw new Error("no machine was opened");
    say("exec through MCP and bare");
    const bare = await bareExec(machine);
    const bareMs = await repeated(bare);
    const execMs = await repeated(() => call("exec", { argv: ["true"] }));
    say("files");
    const small = "x".repeat(1_000);
    const large = "x".repeat(10_000_000);
    const smallWrite = await repeated(() => call("writeFile", { path: "/workspace/small", content: small }));
    const smallRead = await repeated(() => call("readFile", { path: "/workspace/small" }));
    const largeWrite = await timed(() => call("writeFile", { path: "/workspace/large", content: large }));
    const largeRead = await timed(() => call("readFile", { path: "/workspace/large", encoding: "base64" }));
    await client.close();
    return [
      row("gateway's own share of a call (MCP, policy, audit)", share, "ms", "bare docker exec", bareMs),
      row("session open, cold, to the first exec's result", cold, "ms", "bare docker exec", bareMs),
      row("exec through MCP", execMs, "ms", "bare docker exec", bareMs),
      row("writeFile 1 KB", smallWrite, "ms", "bare docker exec", bareMs),
      row("readFile 1 KB", smallRead, "ms", "bare docker exec", bareMs),
      row("writeFile 10 MB", largeWrite, "ms", "writeFile 1 KB", smallWrite),
      row("readFile 10 MB", largeRead, "ms", "readFile 1 KB", smallRead),
    ];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** A data directory of its own, with this machine's guest images in it, passable for the machines' users. */
async function benchConfig(root: string): Promise<Config> {
  const data = join(root, "data");
  await mkdir(data);
  for (const directory of [root, data]) await chmod(directory, 0o711);
  symlinkSync(loadConfig({}, process.env).imageDirectory, join(data, "images"));
  return loadConfig({ dataDir: data, logLevel: "silent" }, {});
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
