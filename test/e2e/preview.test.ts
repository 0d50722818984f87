import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { auditRecords, connect, machinePids, shippedPolicy, type TestData, testData } from "../support/gateway.ts";

/** The development policy, under which a session sleeps on disk as soon as it rests. */
function sleepyDevelopment({ directory }: TestData): string {
  const bundle = join(directory, "policy");
  cpSync(shippedPolicy("development"), bundle, { recursive: true });
  writeFileSync(join(bundle, "profile.yaml"), "timeouts:\n  hibernateMs: 2000\n");
  return bundle;
}

/** Waits for a listener (state 0A) at port 8000 (1F40). */
const LISTENS = "until grep -q '0100007F:1F40 .* 0A ' /proc/net/tcp; do sleep 0.1; done";
const bearer = (text: string) => ({ authorization: `Bearer ${/Bearer ([\w-]{32})/.exec(text)?.[1]}` });
const events = (data: TestData) => auditRecords(data).flatMap(({ body }) => (body.kind === "event" ? [body] : []));

test("a person looks at what an agent built, also when the sandbox sleeps, until the session is closed", {
  timeout: 400_000,
}, async () => {
  using data = testData();
  await using agent = await connect(data, ["--spares", "0", "--policy", sleepyDevelopment(data)]);
  const written = await agent.call("writeFile", { path: "/workspace/index.html", content: "<h1>built</h1>" });
  expect(written.isError, written.text).toBe(false);
  // Not a process of the session, which would keep it awake.
  const started = await agent.call("exec", {
    argv: ["sh", "-c", `(setsid python3 -m http.server 8000 --bind 127.0.0.1 > /dev/null 2>&1 &); ${LISTENS}`],
  });
  expect(started.result, started.text).toMatchObject({ exitCode: 0 });

  const exposed = await agent.call("exposePort", { port: 8000 });
  expect(exposed.isError, exposed.text).toBe(false);
  const { url, hostPort } = exposed.result;
  expect(exposed.result).toEqual({ port: 8000, state: "exposed", url, hostPort });
  const home = `http://127.0.0.1:${hostPort}/`;
  const headers = bearer(exposed.text);
  const seen = await fetch(home, { headers });
  expect([seen.status, await seen.text()]).toEqual([200, "<h1>built</h1>"]);
  expect((await fetch(home)).status).toBe(403);
  expect((await agent.call("exposePort", { port: 8000 })).result.url).toBe(url);
  const status = await agent.call("sessionStatus");
  expect(status.result.network.exposedPorts).toEqual([{ port: 8000, hostPort }]);
  expect(JSON.stringify(status.raw)).not.toContain(headers.authorization.slice(7));

  await expect.poll(() => machinePids(data).length, { timeout: 120_000, interval: 500 }).toBe(0);
  expect((await fetch(home)).status).toBe(403);
  expect(machinePids(data)).toEqual([]);
  const woken = await fetch(home, { headers });
  expect([woken.status, await woken.text()]).toEqual([200, "<h1>built</h1>"]);
  expect(machinePids(data)).toHaveLength(1);

  const { sessionId } = status.result;
  expect((await agent.call("exposePort", { port: 8000, close: true })).result).toEqual({ port: 8000, state: "closed" });
  await expect(fetch(home, { headers })).rejects.toThrow();
  const again = await agent.call("exposePort", { port: 8000 });
  expect((await agent.call("closeSession", { sessionId })).isError).toBe(false);
  await expect(fetch(`http://127.0.0.1:${again.result.hostPort}/`, { headers: bearer(again.text) })).rejects.toThrow();

  const about = events(data).filter(({ event }) => event.startsWith("port-") || event === "session-closed");
  expect(about).toMatchObject([
    { event: "port-exposed", sessionId, facts: { port: 8000, hostPort } },
    { event: "port-closed", sessionId, facts: { port: 8000, hostPort, requests: 2, refused: 2 } },
    { event: "port-exposed", sessionId },
    { event: "port-closed", sessionId, facts: { requests: 0, refused: 0 } },
    { event: "session-closed", sessionId },
  ]);
  const log = JSON.stringify(auditRecords(data)) + agent.stderr();
  for (const text of [exposed.text, again.text]) expect(log).not.toContain(bearer(text).authorization.slice(7));
});

test("the default policy does not let a port be exposed, nor show the tool", async () => {
  using data = testData();
  await using agent = await connect(data);
  const { tools } = await agent.client.listTools();
  expect(tools.map(({ name }) => name)).not.toContain("exposePort");
  expect((await agent.call("exposePort", { port: 8000 })).text).toMatch(/^DENIED by policy\. Nothing was executed\./);
  expect(machinePids(data)).toEqual([]);
  expect(events(data).map(({ event }) => event)).not.toContain("port-exposed");
});
