import { spawnSync } from "node:child_process";
import { release } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";

/** A tour for a person: a real MCP client against the real server over stdio. Any step that goes wrong ends it with an error. */
const entry = join(import.meta.dirname, "..", "bin", "glovebox.js");
const program = `import platform, sys
print("hello from", platform.system(), platform.release())
print("6 * 7 =", 6 * 7)
`;

function title(text: string): void {
  console.log(`\n── ${text}`);
}

function textOf(result: CallToolResult): string {
  return result.content.flatMap((it) => (it.type === "text" ? [it.text] : [])).join("\n");
}

const transport = new StdioClientTransport({
  command: process.execPath,
  args: [entry, "serve", "--log-level", "warn"],
  env: process.env as Record<string, string>,
});
const client = new Client({ name: "glovebox-quickstart", version: "1.0.0" });

async function tool(name: string, args: Record<string, unknown>): Promise<CallToolResult> {
  const shown = JSON.stringify(args);
  console.log(`→ ${name} ${shown.length > 160 ? `${shown.slice(0, 160)}…` : shown}`);
  let last: string | undefined;
  const options = {
    timeout: 170_000,
    resetTimeoutOnProgress: true,
    onprogress: ({ message }: { message?: string | undefined }) => {
      if (message?.trim() && message !== last) console.log(`  … ${message.trimEnd()}`);
      last = message;
    },
  };
  const giveUpMs = performance.now() + 10 * 60_000;
  for (;;) {
    const result = (await client.callTool({ name, arguments: args }, undefined, options)) as CallToolResult;
    // On a slow machine the first sandbox takes longer than one call waits: what the answer says to do then is to call again.
    if (!textOf(result).startsWith("STILL_PREPARING") || performance.now() > giveUpMs) return result;
    await setTimeout(3_000);
  }
}

function expect(condition: boolean, message: string, result: CallToolResult): void {
  if (condition) return;
  console.error(`\nquickstart failed: ${message}\n${textOf(result)}`);
  process.exit(1);
}

const startedMs = performance.now();
await client.connect(transport);
console.log(
  `connected to ${client.getServerVersion()?.name} ${client.getServerVersion()?.version} in ${Math.round(performance.now() - startedMs)} ms`,
);

title("Write a program and run it, inside the sandbox");
const written = await tool("writeFile", { path: "/workspace/hello.py", content: program });
expect(!written.isError, "writeFile was refused", written);
const ran = await tool("exec", { argv: ["python3", "hello.py"] });
expect(!ran.isError && textOf(ran).includes("6 * 7 = 42"), "the program did not run", ran);
console.log(textOf(ran));

title("A package, from this computer's npm registry, as far as policy lets it in");
const installed = await tool("installPackage", { ecosystem: "npm", packages: [{ name: "is-odd" }] });
// Without a registry there is nothing to install from; the rest needs none.
console.log(textOf(installed));

title("Something that policy does not permit");
const denied = await tool("writeFile", { path: "/etc/passwd", content: "root::0:0::/:/bin/sh\n" });
expect(denied.isError === true && textOf(denied).startsWith("DENIED"), "the call was not denied", denied);
console.log(textOf(denied));

title("How the sandbox is isolated");
const status = await tool("sessionStatus", {});
expect(!status.isError, "sessionStatus was refused", status);
console.log(textOf(status));
console.log(`host kernel (seen from here): ${release()}`);
await client.close();

title("The audit log of all this, verified");
for (const command of [
  ["audit", "verify"],
  ["audit", "tail", "-n", "8"],
]) {
  const { status: code } = spawnSync(process.execPath, [entry, ...command], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (code !== 0) process.exit(code ?? 1);
}

title("Plug it into your client");
console.log(`  npm run glovebox -- install claude-code      (or claude-desktop, cursor, vscode, windsurf, codex, gemini, zed, opencode, goose)
  npm run glovebox -- doctor                   checks this machine
  npm run glovebox -- policy check policies/default`);
