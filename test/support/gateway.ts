import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import {
  type CallToolResult,
  type ElicitRequest,
  ElicitRequestSchema,
  type ElicitResult,
} from "@modelcontextprotocol/sdk/types.js";
import type { AuditRecord } from "../../src/audit/record.ts";
import { loadConfig } from "../../src/config.ts";

export const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const POLICIES = join(import.meta.dirname, "..", "..", "policies");

/** A data directory of a test's own, with this machine's guest images in it; removed when disposed. */
export interface TestData extends Disposable {
  readonly directory: string;
}

export function testData(): TestData {
  const outer = mkdtempSync(join(tmpdir(), "glovebox-test-"));
  const directory = join(outer, "data");
  mkdirSync(directory);
  // Machines run as users of their own, who must get through both.
  chmodSync(outer, 0o711);
  chmodSync(directory, 0o711);
  const { imageDirectory, templateDirectory } = loadConfig({}, process.env);
  symlinkSync(imageDirectory, join(directory, "images"));
  // Saved machines are of no test's own: each would take as long to make as a boot.
  mkdirSync(templateDirectory, { recursive: true, mode: 0o711 });
  symlinkSync(templateDirectory, join(directory, "templates"));
  return { directory, [Symbol.dispose]: () => rmSync(outer, { recursive: true, force: true }) };
}

/** A real client connected to the real server, over stdio. */
export interface TestClient extends AsyncDisposable {
  readonly client: Client;
  readonly pid: number;
  /** What the server wrote to stderr so far. */
  readonly stderr: () => string;
  /**
   * Calls again while the sandbox is being prepared, as the answer then says to: where machines are emulated that can take longer than
   * one call waits. The test's own time limit is the deadline.
   */
  call(tool: string, args?: Record<string, unknown>, options?: CallOptions): Promise<ToolAnswer>;
}

/** How an answer begins that came before the sandbox was there. */
const PREPARING = "STILL_PREPARING: the sandbox is still being prepared";

interface CallOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (message: string) => void;
  readonly timeoutMs?: number;
}

export interface ToolAnswer {
  readonly isError: boolean;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into results of many shapes
  readonly result: any;
  readonly raw: CallToolResult;
}

interface ClientOptions {
  /** Answers the server's forms; without it the client shows none. */
  readonly elicit?: (request: ElicitRequest["params"]) => Promise<ElicitResult>;
  /** In place of the Node that runs the server: a program that runs what follows it. */
  readonly command?: readonly [string, ...string[]];
}

/** `args` are the server's, `nodeArgs` those of the Node that runs it. */
export async function connect(
  data: TestData,
  args: readonly string[] = [],
  nodeArgs: readonly string[] = [],
  { elicit, command: [wrapper, ...wrapped] = [process.execPath] }: ClientOptions = {},
): Promise<TestClient> {
  const env = { ...(process.env as Record<string, string>), GLOVEBOX_DATA_DIR: data.directory };
  const transport = new StdioClientTransport({
    command: wrapper,
    args: [
      ...wrapped,
      ...(wrapper === process.execPath ? [] : [process.execPath]),
      ...nodeArgs,
      ENTRY,
      "serve",
      "--log-level",
      "debug",
      ...args,
    ],
    env,
    stderr: "pipe",
  });
  let stderr = "";
  transport.stderr?.on("data", (chunk) => {
    stderr = (stderr + chunk).slice(-200_000);
  });
  const client = new Client(
    { name: "glovebox-tests", version: "1.0.0" },
    { capabilities: elicit ? { elicitation: {} } : {} },
  );
  if (elicit) client.setRequestHandler(ElicitRequestSchema, ({ params }) => elicit(params));
  await client.connect(transport).catch((error: unknown) => {
    throw new Error(`the server did not start: ${stderr}`, { cause: error });
  });
  const pid = transport.pid ?? -1;
  return {
    client,
    pid,
    stderr: () => stderr,
    call: async (name, args = {}, { signal, onProgress, timeoutMs = 280_000 } = {}) => {
      const options = {
        timeout: timeoutMs,
        resetTimeoutOnProgress: true,
        onprogress: ({ message }: { message?: string | undefined }) => onProgress?.(message ?? ""),
        ...(signal ? { signal } : {}),
      };
      for (;;) {
        const raw = (await client.callTool({ name, arguments: args }, undefined, options)) as CallToolResult;
        const text = raw.content.flatMap((it) => (it.type === "text" ? [it.text] : [])).join("\n");
        if (!text.startsWith(PREPARING))
          return { isError: raw.isError === true, text, result: raw.structuredContent, raw };
        await setTimeout(500);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await processGone(pid);
    },
  };
}

/** Waits until no process of this id is left; the test's own time limit is the deadline. */
export async function processGone(pid: number): Promise<void> {
  while (pid > 0 && existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")) {
    await setTimeout(20);
  }
}

/** All audit records of a data directory, chain by chain in order. */
export function auditRecords(data: TestData): AuditRecord[] {
  const audit = join(data.directory, "audit");
  return (
    readdirSync(audit, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".jsonl"))
      .sort()
      .map((name) => readFileSync(join(audit, name), "utf8"))
      // What has no end yet is being written.
      .flatMap((text) => text.slice(0, text.lastIndexOf("\n") + 1).split("\n"))
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as AuditRecord)
  );
}

/** Ids of processes whose command line names the data directory: its machines. */
export function machinePids(data: TestData): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => commandLine(name).includes(join(data.directory, "state")))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH")) return "";
    throw error;
  }
}

/** The path of a shipped bundle. */
export function shippedPolicy(name: "default" | "locked-down" | "development"): string {
  return join(POLICIES, name);
}

/** The default policy with another profile. */
export function policyWith({ directory }: TestData, profile: string): string {
  const bundle = join(directory, "policy");
  cpSync(shippedPolicy("default"), bundle, { recursive: true });
  writeFileSync(join(bundle, "profile.yaml"), profile);
  return bundle;
}

/** With room for so many sessions of the smallest kind. */
export function roomyPolicy(data: TestData, sessions: number): string {
  return policyWith(data, `resources:\n  memoryMiB: 512\n  diskMiB: 4096\nlimits:\n  sessions: ${sessions}\n`);
}
