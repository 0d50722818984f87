import { once } from "node:events";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listenOnLoopback } from "../../src/egress/loopback.ts";
import { attachEgress, script, type TestEgress } from "../support/egress.ts";
import { openTestSandbox } from "../support/machine.ts";
import type { TestSandbox } from "./container-suite.ts";

/** One machine, with servers in it, for the whole file; each test exposes their ports anew. */
let sandbox: TestSandbox;

const PORT = 8000;
const SERVER = `
import http.server, hashlib, os
class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, body, *headers):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers: self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == "/headers": return self.say(str(self.headers).encode())
        if self.path == "/hostile":
            return self.say(b"x", ("Set-Cookie", "a=b; Domain=localhost"), ("Set-Cookie", "glovebox-token=x"), ("Clear-Site-Data", '"*"'))
        if self.path == "/bytes": return self.say(b"z" * (64 << 20))
        if self.path == "/endless":
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.connection.recv(1)
            self.close_connection = True
            return
        if self.path == "/broken":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nA B: c\\r\\n\\r\\n")
            self.close_connection = True
            return
        if self.path == "/socket":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\nready")
            while True:
                piece = self.connection.recv(65536)
                if not piece: break
                self.connection.sendall(piece.upper())
            self.close_connection = True
            return
        self.say(("page " + self.path).encode())
    def do_POST(self):
        left, seen = int(self.headers["Content-Length"]), hashlib.sha256()
        while left > 0:
            piece = self.rfile.read(min(left, 65536))
            left -= len(piece)
            seen.update(piece)
        self.say(seen.hexdigest().encode())
http.server.ThreadingHTTPServer(("127.0.0.1", ${PORT}), Server).serve_forever()
`;

beforeAll(async () => {
  sandbox = await openTestSandbox();
  const started = await script(
    sandbox,
    `cat > server.py <<'END'\n${SERVER}\nEND\n(setsid python3 server.py > /dev/null 2>&1 &)
     until python3 -c 'import socket; socket.create_connection(("127.0.0.1", ${PORT}))' 2> /dev/null; do sleep 0.1; done`,
  );
  expect(started.code, started.stderr).toBe(0);
});
afterAll(() => sandbox?.[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Asked {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  readonly address?: string;
}

/** As a program of this computer asks, to the last header. */
async function ask(port: number, { path = "/", method = "GET", headers = {}, body, address }: Asked): Promise<Answer> {
  const asking = request({ host: address ?? "127.0.0.1", port, path, method, headers, agent: false });
  asking.end(body);
  const [response] = await once(asking, "response");
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

async function exposed(net: TestEgress, port = PORT) {
  const { url, hostPort, token } = await net.egress.previews.expose(port);
  const { host, pathname, search } = new URL(url);
  return { url, host, link: `${pathname}${search}`, hostPort, token, bearer: { authorization: `Bearer ${token}` } };
}

const opened = () => attachEgress(sandbox.machine, {});

describe("an exposed port", () => {
  test("is reached through its link, by a cookie that stays in the browser", async () => {
    await using net = await opened();
    const { url, host, link, hostPort, token } = await exposed(net);
    expect(url).toMatch(/^http:\/\/preview-[0-9a-f]{16}\.localhost:\d+\/\?glovebox-token=[\w-]{32}$/);
    const welcome = await ask(hostPort, { path: link, headers: { host } });
    expect(welcome.status).toBe(303);
    expect(welcome.headers).toMatchObject({ location: `http://${host}/`, "referrer-policy": "no-referrer" });
    const [set = ""] = welcome.headers["set-cookie"] ?? [];
    expect(set).toBe(`glovebox-token=${token}; Path=/; HttpOnly; SameSite=Lax`);
    const cookie = `${set.split(";")[0]}; other=1`;
    expect(await ask(hostPort, { path: "/a?b=c", headers: { host, cookie } })).toMatchObject({
      status: 200,
      body: "page /a?b=c",
    });
    // ::1 is where browsers go first.
    expect((await ask(hostPort, { address: "::1", headers: { host, cookie } })).status).toBe(200);
    const { body } = await ask(hostPort, { path: "/headers", headers: { host, cookie } });
    expect(body).toContain(`host: ${host}`);
    expect(body).toContain("cookie: other=1");
    expect(body).not.toContain(token);
  });

  test("is reached by programs with the token in a header, and by nobody without [G23]", async () => {
    await using net = await opened();
    const { hostPort, host, token, bearer } = await exposed(net);
    await using other = await opened();
    const others = await exposed(other);
    expect((await ask(hostPort, { headers: bearer })).body).toBe("page /");
    for (const headers of [
      {},
      { host },
      { authorization: "Bearer x" },
      { authorization: `Bearer ${others.token}` },
      { host, cookie: `glovebox-token=${others.token}` },
      { cookie: `glovebox-token=${token}` },
      { ...bearer, host: `rebound.example:${hostPort}` },
      { host, cookie: `glovebox-token=${token}`, origin: "http://evil.example" },
    ] as Record<string, string>[]) {
      const refused = await ask(hostPort, { path: "/secret", headers });
      expect(refused).toMatchObject({ status: 403, body: expect.stringMatching(/^glovebox: /) });
    }
    await net.egress.previews.close(PORT);
    expect(net.events("port-closed")).toEqual([{ port: PORT, hostPort, requests: 1, refused: 8 }]);
  });

  test("has the same link as long as it is exposed, and another one afterwards", async () => {
    await using net = await opened();
    const [first, same] = await Promise.all([exposed(net), exposed(net)]);
    expect(same.url).toBe(first.url);
    expect(net.egress.previews.exposed).toEqual([{ port: PORT, hostPort: first.hostPort }]);
    await net.egress.previews.close(PORT);
    await expect(ask(first.hostPort, { headers: first.bearer })).rejects.toMatchObject({ code: "ECONNREFUSED" });
    const next = await exposed(net);
    expect(next.token).not.toBe(first.token);
    expect(next.host).not.toBe(first.host);
    expect(net.events("port-exposed")).toHaveLength(2);
    const recorded = JSON.stringify(net.records);
    for (const it of [first.token, next.token, first.host]) expect(recorded).not.toContain(it);
  });

  test("does not let an answer reach beyond its own pages", async () => {
    await using net = await opened();
    const { hostPort, bearer } = await exposed(net);
    const { headers } = await ask(hostPort, { path: "/hostile", headers: bearer });
    expect(headers["set-cookie"]).toEqual(["a=b"]);
    expect(headers).not.toHaveProperty("clear-site-data");
    expect(headers).toMatchObject({
      "cross-origin-resource-policy": "same-origin",
      "cross-origin-opener-policy": "same-origin",
      "referrer-policy": "same-origin",
    });
  });

  test("says what is wrong when nothing answers in the sandbox, or what does is no HTTP", async () => {
    await using net = await opened();
    const nobody = await exposed(net, 9999);
    const refused = await ask(nobody.hostPort, { headers: nobody.bearer });
    expect(refused).toMatchObject({ status: 502 });
    expect(refused.body).toContain("nothing answers on port 9999 in the sandbox");
    expect(refused.body).toContain("start the server there, on 127.0.0.1 or 0.0.0.0");
    const { hostPort, bearer } = await exposed(net);
    expect((await ask(hostPort, { path: "/broken", headers: bearer })).status).toBe(502);
    expect((await ask(hostPort, { headers: bearer })).status).toBe(200);
  });

  test("carries what upgrades, both ways and to both ends", async () => {
    await using net = await opened();
    const { hostPort, host, token, bearer } = await exposed(net);
    const upgrading = { connection: "Upgrade", upgrade: "echo" };
    const asking = request({
      port: hostPort,
      host: "127.0.0.1",
      path: "/socket",
      headers: { ...upgrading, ...bearer },
    });
    asking.end();
    const [answer, socket, head] = (await once(asking, "upgrade")) as [{ statusCode: number }, Socket, Buffer];
    expect(answer.statusCode).toBe(101);
    socket.unshift(head);
    socket.end("hello");
    let said = "";
    for await (const chunk of socket) said += chunk;
    expect(said).toBe("readyHELLO");
    const foreign = { ...upgrading, host, cookie: `glovebox-token=${token}`, origin: "http://evil.example" };
    expect((await ask(hostPort, { path: "/socket", headers: foreign })).status).toBe(403);
    expect((await ask(hostPort, { path: "/socket", headers: upgrading })).status).toBe(403);
    // Refused by the server itself, which does not know the protocol there.
    expect((await ask(hostPort, { path: "/else", headers: { ...upgrading, ...bearer } })).body).toBe("page /else");
  });

  test("carries large bodies, and a slow reader holds the sandbox back and not the gateway's memory", async () => {
    await using net = await opened();
    const { hostPort, bearer } = await exposed(net);
    const large = Buffer.alloc(16 << 20, "ab");
    const sent = await ask(hostPort, { method: "POST", headers: bearer, body: large });
    expect(sent.body).toBe((await import("node:crypto")).hash("sha256", large));
    const before = process.memoryUsage().arrayBuffers;
    const asking = request({ port: hostPort, host: "127.0.0.1", path: "/bytes", headers: bearer, agent: false });
    asking.end();
    const [response] = await once(asking, "response");
    response.pause();
    await sleep(3_000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
    let bytes = 0;
    for await (const chunk of response) bytes += chunk.length;
    expect(bytes).toBe(64 << 20);
  });

  test("is in use while a request is under way, and after it no more", async () => {
    let used = 0;
    const use = async () => {
      used += 1;
      return {
        [Symbol.dispose]: () => {
          used -= 1;
        },
      };
    };
    await using net = await attachEgress(sandbox.machine, { use });
    const { hostPort, bearer } = await exposed(net);
    await ask(hostPort, { headers: {} });
    expect(used).toBe(0);
    const asking = request({ port: hostPort, host: "127.0.0.1", path: "/bytes", headers: bearer, agent: false });
    asking.on("error", () => undefined).end();
    await once(asking, "response");
    expect(used).toBe(1);
    asking.destroy();
    await expect.poll(() => used).toBe(0);
    await ask(hostPort, { headers: bearer });
    await expect.poll(() => used).toBe(0);
    const nobody = await exposed(net, 9999);
    await ask(nobody.hostPort, { headers: nobody.bearer });
    expect(used).toBe(0);
  });

  test("ends with its session, with all that goes through it", async () => {
    const net = await opened();
    const { hostPort, bearer } = await exposed(net);
    const asking = request({ port: hostPort, host: "127.0.0.1", path: "/bytes", headers: bearer, agent: false });
    asking.end();
    const [response] = await once(asking, "response");
    const broken = once(response, "error");
    await net[Symbol.asyncDispose]();
    expect((await broken)[0]).toMatchObject({ code: "ECONNRESET" });
    await expect(ask(hostPort, { headers: bearer })).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(net.events("port-closed")).toMatchObject([{ port: PORT, hostPort }]);
    await expect(net.egress.previews.expose(PORT)).rejects.toMatchObject({ code: "SESSION_CLOSED" });
  });
});

test("so many ports may be exposed at once, and no more", async () => {
  await using net = await opened();
  for (let port = 1; port <= 8; port += 1) await net.egress.previews.expose(port);
  await expect(net.egress.previews.expose(9)).rejects.toMatchObject({ code: "PORT_LIMIT" });
  await net.egress.previews.close(3);
  await net.egress.previews.expose(9);
  expect(net.egress.previews.exposed.map(({ port }) => port)).toEqual([1, 2, 4, 5, 6, 7, 8, 9]);
});

test("requests that never end are so many at most, and free their places when they are given up", async () => {
  await using net = await opened();
  const { hostPort, bearer } = await exposed(net);
  const held = Array.from({ length: 64 }, () => {
    const it = request({ port: hostPort, host: "127.0.0.1", path: "/endless", headers: bearer, agent: false });
    it.on("error", () => undefined).end();
    return it;
  });
  await Promise.all(held.map((it) => once(it, "response")));
  expect((await ask(hostPort, { headers: bearer })).status).toBe(503);
  for (const it of held) it.destroy();
  await expect.poll(async () => (await ask(hostPort, { headers: bearer })).status).toBe(200);
});

test("bytes that are no HTTP are refused", async () => {
  await using net = await opened();
  const { hostPort } = await exposed(net);
  const socket = connect(hostPort, "127.0.0.1");
  socket.end("\x16\x03\x01 hello\r\n\r\n");
  let said = "";
  for await (const chunk of socket) said += chunk;
  expect(said).toMatch(/^HTTP\/1\.1 400 /);
});

test("a port of the loopback is taken on both of its addresses", async () => {
  using taken = await listenOnLoopback(1, (socket) => socket.destroy());
  const squatter = createServer();
  squatter.listen(taken.port, "::1");
  expect((await once(squatter, "error"))[0]).toMatchObject({ code: "EADDRINUSE" });
});
