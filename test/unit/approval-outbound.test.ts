import { createServer } from "node:http";
import { connect } from "node:net";
import { beforeAll, expect, test } from "vitest";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { tunnelThrough } from "../../src/egress/upstream-proxy.ts";
import type { OutboundPorts } from "../../src/lib/outbound.ts";
import { approvalsOutbound } from "../support/approvals.ts";
import { type Answer, listen, openOrigin } from "../support/egress.ts";

let authority: SessionAuthority;
beforeAll(async () => {
  authority = await createSessionAuthority();
});

const never = new AbortController().signal;

async function open(answer: Answer, ports: Partial<OutboundPorts> = {}) {
  const origin = await openOrigin(answer, authority);
  const send = approvalsOutbound({ authorities: async () => [authority.certificate], ...ports });
  return {
    origin,
    send: (address = `https://localhost:${origin.port}/x?y=1`, signal = never, timeoutMs = 5_000) =>
      send({ method: "POST", url: new URL(address), headers: { a: "b" }, body: "hé", timeoutMs, signal }),
    [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose](),
  };
}

test("a request arrives as it was meant", async () => {
  await using it = await open((request, response) => request.pipe(response.writeHead(201, { c: "d" })));
  const reply = await it.send();
  expect([reply.status, reply.headers["c"], reply.body.toString()]).toEqual([201, "d", "hé"]);
  const [request] = it.origin.requests;
  expect(request?.url).toBe("/x?y=1");
  expect(request?.headers).toMatchObject({ host: `localhost:${it.origin.port}`, a: "b", "content-length": "3" });
});

test("a redirect is an answer", async () => {
  await using it = await open((_, response) => response.writeHead(302, { location: "/elsewhere" }).end());
  expect((await it.send()).status).toBe(302);
  expect(it.origin.requests).toHaveLength(1);
});

test("a server whose certificate nobody here trusts gets nothing", async () => {
  const other = await createSessionAuthority();
  await using it = await open((_, response) => response.end(), { authorities: async () => [other.certificate] });
  await expect(it.send()).rejects.toMatchObject({
    code: "APPROVAL_CHANNEL_FAILED",
    message: expect.stringMatching(/certificate|signature/),
  });
  expect(it.origin.requests).toEqual([]);
});

test("nothing goes without TLS", async () => {
  await using it = await open((_, response) => response.end());
  await expect(it.send(`http://localhost:${it.origin.port}/`)).rejects.toThrow("is not asked without TLS");
});

test("an answer has an end in time and in size", async () => {
  await using slow = await open(() => undefined);
  await expect(slow.send(undefined, never, 100)).rejects.toThrow("did not answer within 0.1 s");
  await using large = await open((_, response) => response.end(Buffer.alloc(70_000)));
  await expect(large.send()).rejects.toThrow("more than 65536 bytes");
  await using broken = await open((request) => request.socket.destroy());
  await expect(broken.send()).rejects.toMatchObject({ code: "APPROVAL_CHANNEL_FAILED" });
});

test("what is given up ends with the reason for it", async () => {
  const ending = new AbortController();
  await using it = await open(() => ending.abort(new Error("enough")));
  await expect(it.send(undefined, ending.signal)).rejects.toThrow("enough");
  await expect(it.send(undefined, ending.signal)).rejects.toThrow("enough");
});

test("where there is a proxy of the network's, there is no other way", async () => {
  const targets: string[] = [];
  const proxy = createServer();
  let port = 0;
  proxy.on("connect", ({ url = "" }, socket) => {
    targets.push(url);
    const onward = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
  });
  const address = new URL(`http://127.0.0.1:${await listen(proxy)}`);
  try {
    const upstreamProxy = tunnelThrough(address, async () => []);
    await using it = await open((_, response) => response.end("through"), { upstreamProxy });
    port = it.origin.port;
    // A name that only the proxy can resolve: the certificate is for it.
    expect((await it.send("https://approvals.example.org:8443/")).body.toString()).toBe("through");
    expect(targets).toEqual(["approvals.example.org:8443"]);
    expect(it.origin.requests[0]?.headers.host).toBe("approvals.example.org:8443");
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});
