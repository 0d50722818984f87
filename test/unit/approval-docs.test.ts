import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as requestHttp } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { approvalsSchema } from "../../src/approval/settings.ts";
import { SLACK_PATH } from "../../src/approval/slack-door.ts";
import { createWebhook } from "../../src/approval/webhook.ts";
import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { approvalsOutbound, questionOf, testLog, WEBHOOK_SECRET } from "../support/approvals.ts";
import { listen, openOrigin } from "../support/egress.ts";

const page = await readFile(join(import.meta.dirname, "..", "..", "docs", "approvals-channels.md"), "utf8");

/** The fenced blocks of a language, without the indentation of a list that they stand in. */
function blocks(language: string): string[] {
  const found = page.matchAll(new RegExp(`^( *)\`\`\`${language}\n([^]*?)^ *\`\`\`$`, "gm"));
  return [...found].map(([, indent = "", text = ""]) => text.replaceAll(new RegExp(`^${indent}`, "gm"), ""));
}

test("the settings on the page are settings", () => {
  const settings = blocks("yaml").map((it) => parse(it));
  const approvals = settings.filter((it) => "approvals" in it).map((it) => approvalsSchema.parse(it.approvals));
  expect(approvals.map((it) => [it.webhook !== undefined, it.slack !== undefined])).toEqual([
    [true, false],
    [false, true],
  ]);
});

test("the app's manifest asks for one scope, and sends clicks where the gateway takes them", () => {
  const manifest = blocks("yaml")
    .map((it) => parse(it))
    .find((it) => "oauth_config" in it);
  expect(manifest.oauth_config.scopes).toEqual({ bot: ["chat:write"] });
  expect(new URL(manifest.settings.interactivity.request_url).pathname).toBe(SLACK_PATH);
  expect(manifest.settings.interactivity.is_enabled).toBe(true);
});

test("the receiver on the page receives: its terminal's answers are the webhook's", async () => {
  const [source = ""] = blocks("js");
  const directory = await mkdtemp(join(tmpdir(), "glovebox-receiver-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "receiver.mjs"), source);
  const reserved = createServer();
  const port = await listen(reserved);
  await new Promise((resolve) => reserved.close(resolve));
  const env = { ...process.env, PORT: String(port), APPROVALS_SECRET: WEBHOOK_SECRET, USER: "grace" };
  const receiver = spawn(process.execPath, ["receiver.mjs"], {
    cwd: directory,
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  stack.defer(async () => {
    receiver.kill();
    if (receiver.exitCode === null && receiver.signalCode === null) await once(receiver, "exit");
  });
  const printed = createInterface(receiver.stdout)[Symbol.asyncIterator]();
  expect((await printed.next()).value).toBe("listening");

  // The reverse proxy in front of it.
  const authority = await createSessionAuthority();
  const front = stack.use(
    await openOrigin((request, response) => {
      const { method, url: path, headers } = request;
      const onward = requestHttp({ host: "127.0.0.1", port, method, path, headers }, (reply) => {
        reply.pipe(response.writeHead(reply.statusCode ?? 502, reply.headers));
      });
      request.pipe(onward);
    }, authority),
  );
  const channel = stack.use(
    createWebhook(
      { url: `https://localhost:${front.port}/glovebox`, secret: { env: "UNUSED" }, pollSeconds: 0.05 },
      {
        send: approvalsOutbound({ authorities: async () => [authority.certificate] }),
        secret: async () => WEBHOOK_SECRET,
        log: testLog(),
      },
    ),
  );
  for (const [typed, verdict] of [
    ["y", "allow"],
    ["n", "deny"],
  ] as const) {
    const asked = channel.ask(questionOf(), AbortSignal.timeout(60_000));
    for (let line = ""; !line.includes("cwd"); ) line = (await printed.next()).value ?? "cwd";
    receiver.stdin.write(`${typed}\n`);
    expect(await asked).toMatchObject({ verdict, scope: "call", approver: "webhook:grace" });
  }

  const stranger = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "{}" });
  expect(stranger.status).toBe(401);
});
