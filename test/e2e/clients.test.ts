import { spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { auditRecords, ENTRY, machinePids, type TestData, testData } from "../support/gateway.ts";
import { scriptedModel } from "../support/scripted-model.ts";

/** MCP clients written by others, each driving the real server to a real sandbox. */
const BIN = join(import.meta.dirname, "..", "clients", "node_modules", ".bin");
const SERVER = [process.execPath, ENTRY, "serve", "--log-level", "warn"] as const;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function runClient(command: string, args: readonly string[], data: TestData, env = {}): Promise<Ended> {
  const home = join(data.directory, "home");
  mkdirSync(home, { recursive: true });
  const own = { GLOVEBOX_DATA_DIR: data.directory, HOME: home, XDG_CONFIG_HOME: join(home, ".config") };
  const child = spawn(join(BIN, command), args, {
    cwd: home,
    env: { ...process.env, ...own, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => (stdout += chunk));
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}

function requireClient(command: string): void {
  if (!existsSync(join(BIN, command))) throw new Error(`${command} is not installed: run \`npm ci\` in test/clients`);
}

test("the inspector's command line lists the tools and runs a program", async () => {
  requireClient("mcp-inspector");
  using data = testData();
  const config = join(data.directory, "inspector.json");
  const [command, ...args] = SERVER;
  writeFileSync(
    config,
    JSON.stringify({ mcpServers: { glovebox: { command, args, env: { GLOVEBOX_DATA_DIR: data.directory } } } }),
  );
  const server = ["--cli", "--config", config, "--server", "glovebox"];
  const listed = await runClient("mcp-inspector", [...server, "--method", "tools/list"], data);
  expect(listed.stdout, listed.stderr).toContain("explainPolicy");
  const call = ["--method", "tools/call", "--tool-name", "exec", "--tool-arg", 'argv=["echo","from the inspector"]'];
  const called = await runClient("mcp-inspector", [...server, ...call], data);
  expect(called.stdout, called.stderr).toContain("from the inspector");
  expect(machinePids(data)).toEqual([]);
});

test("mcporter runs a program", async () => {
  requireClient("mcporter");
  using data = testData();
  const call = ["call", "--stdio", SERVER.join(" "), "exec", "--args", '{"argv":["echo","from mcporter"]}'];
  const called = await runClient("mcporter", call, data, { MCPORTER_CALL_TIMEOUT: "150000" });
  expect(called.stdout, called.stderr).toContain("from mcporter");
  expect(machinePids(data)).toEqual([]);
});

test("Claude Code, with a scripted model, writes a program, runs it, and is told why a call is denied", async () => {
  requireClient("claude");
  using data = testData();
  await using model = await scriptedModel([
    { tool: "mcp__glovebox__writeFile", input: { path: "/workspace/a.py", content: "print(2 ** 20)" } },
    { tool: "mcp__glovebox__exec", input: { argv: ["python3", "a.py"] } },
    { tool: "mcp__glovebox__writeFile", input: { path: "/etc/passwd", content: "" } },
    { say: "all done" },
  ]);
  const config = join(data.directory, "mcp.json");
  const [command, ...args] = SERVER;
  const env = { GLOVEBOX_DATA_DIR: data.directory };
  writeFileSync(config, JSON.stringify({ mcpServers: { glovebox: { command, args, env } } }));
  const ended = await runClient(
    "claude",
    [
      "-p",
      "go",
      "--mcp-config",
      config,
      "--strict-mcp-config",
      "--allowedTools",
      "mcp__glovebox__exec,mcp__glovebox__writeFile",
    ],
    data,
    {
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: "scripted",
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      MCP_TOOL_TIMEOUT: "150000",
      DISABLE_AUTOUPDATER: "1",
      MCP_TIMEOUT: "30000",
      MCP_CONNECTION_NONBLOCKING: "0",
      ENABLE_TOOL_SEARCH: "false",
    },
  );
  expect(ended.stdout, ended.stderr).toContain("all done");
  expect([...model.offered]).toContain("mcp__glovebox__exec");
  expect(model.results[1]).toContain("1048576");
  expect(model.results[2]).toContain("DENIED");
  const principals = auditRecords(data)
    .map((it) => it.body)
    .filter((it) => it.kind === "intent");
  expect(principals.map((it) => it.principal.client.name)).toEqual(["claude-code", "claude-code", "claude-code"]);
  expect(machinePids(data)).toEqual([]);
});
