import { randomBytes } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import type { TestSandbox } from "../contract/container-suite.ts";
import {
  attachEgress,
  createSessionAuthority,
  type Origin,
  openOrigin,
  openTcp,
  script,
  type TestEgress,
} from "../support/egress.ts";
import { openTestSandbox } from "../support/machine.ts";

/** Every way past the policy that somebody thought of; one machine, and a server on this computer that counts who comes. */
let sandbox: TestSandbox;
let authority: SessionAuthority;
let plain: Origin;
let secure: Origin;
let net: TestEgress;

/** In the sandbox: sends bytes somewhere, and says what came back or which error. */
const TALK = `
import socket, ssl, sys, json
def talk(host, port, data, tls=None, first=b"", wait=30):
    try:
        s = socket.create_connection((host, port), timeout=wait)
        if first:
            s.sendall(first)
            answer = b""
            while b"\\r\\n\\r\\n" not in answer:
                part = s.recv(4096)
                if not part: return answer.decode("latin1")
                answer += part
            if b" 200 " not in answer: return answer.decode("latin1") + s.recv(4096).decode("latin1")
        if tls is not None:
            c = ssl._create_unverified_context()
            s = c.wrap_socket(s, server_hostname=tls or None)
        s.sendall(data)
        got = b""
        try:
            while len(got) < 100000:
                part = s.recv(65536)
                if not part: break
                got += part
        except socket.timeout: got += b"[timeout]"
        return got.decode("latin1")
    except Exception as e: return "%s: %s" % (type(e).__name__, e)
`;

async function python(source: string, timeoutMs?: number): Promise<string> {
  const { stdout, stderr } = await script(
    sandbox,
    `cat > /tmp/t.py <<'END'\n${TALK}${source}\nEND\npython3 /tmp/t.py`,
    {},
    timeoutMs,
  );
  return stdout + stderr;
}

beforeAll(async () => {
  authority = await createSessionAuthority();
  const answer = (name: string) => (request: { url?: string | undefined }, response: { end(text: string): void }) =>
    response.end(`REACHED ${name} ${request.url}`);
  [plain, secure] = await Promise.all([openOrigin(answer("plain")), openOrigin(answer("secure"), authority)]);
  sandbox = await openTestSandbox();
});
/** Each test has a session of its own; its profile may be another one. */
beforeEach(async () => {
  const profile = `egress:
  hosts: {api.test: 127.0.0.1, other.test: 127.0.0.1, inside.test: 10.1.2.3, metadata.test: 169.254.169.254, six.test: "::1"}
  private: [api.test]
  allow: ["api.test:${plain.port}", "api.test:${secure.port}", "inside.test:80", "metadata.test:80", "six.test:${plain.port}"]
`;
  net = await attachEgress(sandbox.machine, { profile, authority });
});
afterEach(() => net?.[Symbol.asyncDispose]());
afterAll(async () => {
  await sandbox?.[Symbol.asyncDispose]();
  await plain?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
});

const request = (host: string, path = "/") =>
  `GET ${path} HTTP/1.1\\r\\nHost: ${host}\\r\\nConnection: close\\r\\n\\r\\n`;
const refusals = () => net.egress.refusalsSince(0).map((it) => it.text);

describe("addresses [G19] [G20]", () => {
  test("a raw address is refused, also the one that a granted name has", async () => {
    const said = await python(`
for a in ["93.184.216.34", "10.0.0.1", "169.254.169.254", "198.18.0.77"]: print(talk(a, ${plain.port}, b"${request("api.test")}"))
print(talk("93.184.216.34", ${plain.port}, b"${request(`api.test:${plain.port}`)}"))`);
    expect(said).not.toContain("REACHED");
    expect(refusals()).toContain(
      `\`93.184.216.34:${plain.port}\` blocked: its Host header names another host than the connection to \`93.184.216.34:${plain.port}\``,
    );
  });

  test.each([
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::]",
    "0.0.0.0",
    "localhost",
    "LOCALHOST.",
    "１２７.0.0.1",
  ])("%s is this computer in another spelling, and refused", async (spelling) => {
    const target = `${spelling}:${plain.port}`;
    const said = await python(`
first = "CONNECT ${target} HTTP/1.1\\r\\nHost: ${target}\\r\\n\\r\\n".encode()
print(talk("127.0.0.1", 3128, b"${request(`api.test:${plain.port}`)}", first=first))
print(talk("127.0.0.1", 3128, "GET http://${target}/ HTTP/1.1\\r\\nHost: ${target}\\r\\nConnection: close\\r\\n\\r\\n".encode()))`);
    expect(said).not.toContain("REACHED");
    expect(said.match(/HTTP\/1.1 4\d\d/g)).toHaveLength(2);
  });

  test("granted names that lead to private networks, metadata, or this computer by IPv6 are refused", async () => {
    const said = await python(`
for h, p in [("inside.test", 80), ("metadata.test", 80), ("six.test", ${plain.port})]: print(talk(h, p, ("GET / HTTP/1.1\\r\\nHost: %s:%d\\r\\nConnection: close\\r\\n\\r\\n" % (h, p)).encode()))`);
    expect(said).toContain("10.1.2.3: a private network");
    expect(said).toContain("169.254.169.254: link-local, where clouds have their metadata");
    expect(said).toContain("::1: this computer, or an IPv4 address in an old disguise");
  });

  test("the gateway's own ports, and the machine's engine, are on no address of the sandbox", async () => {
    const said = await python(
      `
for a in ["127.0.0.1", "10.0.2.2", "172.17.0.1", "192.168.1.1"]:
    for p in [22, 80, 2375, 2376, ${plain.port}]: print(talk(a, p, b"${request("localhost")}", wait=3))
import os
print(os.path.exists("/run/docker.sock"), os.path.exists("/var/run/docker.sock"))`,
      90_000,
    );
    expect(said).not.toContain("REACHED");
    expect(said).not.toContain("Api-Version");
    expect(said).toContain("False False");
  });
});

describe("other protocols", () => {
  test("UDP, QUIC's too, goes nowhere and says so at once", async () => {
    const said = await python(`
import time
for port in [443, 53, 123]:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("api.test", port)); t = time.time()
    try:
        s.send(b"x" * 1200); print(s.recv(100))
    except Exception as e: print(type(e).__name__, time.time() - t < 2)`);
    expect(said.trim().split("\n")).toEqual([
      "ConnectionRefusedError True",
      "ConnectionRefusedError True",
      "ConnectionRefusedError True",
    ]);
  });

  test("ICMP and raw sockets can't be opened; IPv6 has no route", async () => {
    const said = await python(`
for kind, proto in [(socket.SOCK_RAW, socket.IPPROTO_ICMP), (socket.SOCK_RAW, socket.IPPROTO_TCP), (socket.SOCK_RAW, 255)]:
    try: socket.socket(socket.AF_INET, kind, proto); print("OPEN")
    except Exception as e: print(type(e).__name__)
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print("OPEN")
except Exception as e: print(type(e).__name__)
print(talk("2606:4700:4700::1111", 443, b"x"))`);
    expect(said).not.toContain("OPEN");
    expect(said).toMatch(/OSError: .*(unreachable|not supported)/i);
  });

  test("names are looked up nowhere: a name that holds data is answered in the machine", async () => {
    const before = net.records.length;
    const said = await python(`
import time; t = time.time()
for i in range(200): socket.gethostbyname("%040d.tunnel.example" % i)
print(time.time() - t < 30)`);
    expect(said.trim()).toBe("True");
    expect(net.records.length).toBe(before);
  });

  test("what is neither TLS nor HTTP is refused, and so is who waits for the other side", async () => {
    const said = await python(
      `
print(repr(talk("api.test", ${plain.port}, b"\\x00\\x01\\x02SSH-2.0-x\\r\\n")))
print(repr(talk("api.test", ${plain.port}, b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")))
print(repr(talk("api.test", ${plain.port}, b"", wait=15)))`,
      60_000,
    );
    expect(said).not.toContain("REACHED");
    const told = refusals().join("\n");
    expect(told).toContain("it is neither TLS nor HTTP");
    expect(told).toContain("HTTP/2 is carried in TLS only");
    expect(told).toContain("waits for the other side to speak first");
  });
});

describe("two names for one connection [G19]", () => {
  test("the TLS server name must be the one that was dialled", async () => {
    const said = await python(`
print(talk("api.test", ${secure.port}, b"${request("other.test")}", tls="other.test"))
print(talk("other.test", ${secure.port}, b"${request("api.test")}", tls="api.test"))
print(talk("api.test", ${secure.port}, b"${request("api.test")}", tls=""))
first = b"CONNECT api.test:${secure.port} HTTP/1.1\\r\\nHost: api.test:${secure.port}\\r\\n\\r\\n"
print(talk("127.0.0.1", 3128, b"${request("other.test")}", tls="other.test", first=first))`);
    expect(said).not.toContain("REACHED");
    const told = refusals();
    expect(told).toContain(`\`api.test:${secure.port}\` blocked: its TLS names another server, \`other.test\``);
    expect(told).toContain(`\`api.test:${secure.port}\` blocked: its TLS names no server`);
  });

  test("Host must be the host of the connection and of the URL, once", async () => {
    const said = await python(
      `
def get(lines): return talk("api.test", ${plain.port}, ("\\r\\n".join(lines) + "\\r\\n\\r\\n").encode())
print(get(["GET / HTTP/1.1", "Host: other.test:${plain.port}"]))
print(get(["GET / HTTP/1.1", "Host: api.test:${plain.port}", "Host: other.test"]))
print(get(["GET / HTTP/1.1"]))
print(get(["GET / HTTP/1.1", "Host: api.test"]))
print(get(["GET http://other.test/ HTTP/1.1", "Host: api.test:${plain.port}"]))
print(get(["GET / HTTP/1.1", "Host: api.test:${plain.port}@other.test"]))
def proxy(lines): return talk("127.0.0.1", 3128, ("\\r\\n".join(lines) + "\\r\\n\\r\\n").encode())
print(proxy(["GET http://api.test:${plain.port}/ HTTP/1.1", "Host: other.test"]))
print(proxy(["GET http://api.test:${plain.port}@other.test/ HTTP/1.1", "Host: other.test"]))
print(proxy(["GET / HTTP/1.1", "Host: api.test:${plain.port}"]))
print(proxy(["GET https://api.test:${secure.port}/ HTTP/1.1", "Host: api.test:${secure.port}"]))
print(proxy(["GET ftp://api.test/ HTTP/1.1", "Host: api.test"]))`,
      90_000,
    );
    expect(said).not.toContain("REACHED");
    expect(said.match(/HTTP\/1.1 4\d\d/g)).toHaveLength(11);
  });

  test("an absolute URL in place of a path is refused on a connection of its own, and taken by the proxy", async () => {
    const said = await python(`
print(talk("127.0.0.1", 3128, b"GET http://api.test:${plain.port}/p HTTP/1.1\\r\\nHost: api.test:${plain.port}\\r\\nConnection: close\\r\\n\\r\\n"))
print(talk("api.test", ${plain.port}, b"GET http://api.test:${plain.port}/d HTTP/1.1\\r\\nHost: api.test:${plain.port}\\r\\nConnection: close\\r\\n\\r\\n"))`);
    expect(said).toContain("REACHED plain /p");
    expect(said).not.toContain("REACHED plain /d");
  });

  test("Encrypted Client Hello is refused: the name that it shows need not be the one that it means", async () => {
    const name = Buffer.from("api.test");
    const sni = Buffer.concat([Buffer.from([0, 0, 0, name.length + 5, 0, name.length + 3, 0, 0, name.length]), name]);
    const ech = Buffer.from([0xfe, 0x0d, 0, 4, 0, 0, 0, 0]);
    const body = Buffer.concat([
      Buffer.from([3, 3]),
      randomBytes(32),
      Buffer.from([0, 0, 2, 0x13, 1, 1, 0, 0, sni.length + ech.length]),
      sni,
      ech,
    ]);
    const hello = Buffer.concat([Buffer.from([22, 3, 1, 0, body.length + 4, 1, 0, 0, body.length]), body]);
    const said = await python(
      `print(talk("api.test", ${secure.port}, bytes.fromhex("${hello.toString("hex")}")).encode("latin1").hex())`,
    );
    expect(said.trim()).toBe("15030300020231");
    expect(refusals()).toContain(
      `\`api.test:${secure.port}\` blocked: its TLS hides the server's name (Encrypted Client Hello)`,
    );
  });
});

describe("requests in requests", () => {
  test.each([
    ["Content-Length and Transfer-Encoding", ["Content-Length: 6", "Transfer-Encoding: chunked"]],
    ["two lengths", ["Content-Length: 6", "Content-Length: 60"]],
    ["a coding that only looks like chunked", ["Transfer-Encoding: xchunked"]],
    ["chunked that isn't last", ["Transfer-Encoding: chunked, identity"]],
    ["a space before the colon", ["Content-Length : 6"]],
    ["a length that is none", ["Content-Length: +6"]],
  ])("%s: the request is refused, and nothing behind it is read as another", async (_name, headers) => {
    const count = plain.requests.length;
    const said = await python(`
print(talk("api.test", ${plain.port}, ("\\r\\n".join(["POST /a HTTP/1.1", "Host: api.test:${plain.port}"] + ${JSON.stringify(headers)}) + "\\r\\n\\r\\n0\\r\\n\\r\\nGET /smuggled HTTP/1.1\\r\\nHost: api.test:${plain.port}\\r\\n\\r\\n").encode()))`);
    expect(said).toContain("HTTP/1.1 400");
    expect(plain.requests.slice(count).map((it) => it.url)).not.toContain("/smuggled");
  });

  test("what follows on the same connection is another request, and decided again", async () => {
    const said = await python(`
print(talk("127.0.0.1", 3128, b"GET http://api.test:${plain.port}/one HTTP/1.1\\r\\nHost: api.test:${plain.port}\\r\\n\\r\\nGET http://other.test:${plain.port}/two HTTP/1.1\\r\\nHost: other.test:${plain.port}\\r\\nConnection: close\\r\\n\\r\\n"))`);
    expect(said).toContain("REACHED plain /one");
    expect(said).toContain("HTTP/1.1 403");
    expect(said).not.toContain("REACHED plain /two");
  });

  test("a redirect to a host that isn't granted is refused there", async () => {
    await using server = await openOrigin((_request, response) => {
      response.writeHead(302, { location: `http://other.test:${plain.port}/` }).end();
    });
    await net[Symbol.asyncDispose]();
    net = await attachEgress(sandbox.machine, {
      profile: `egress: {hosts: {api.test: 127.0.0.1, other.test: 127.0.0.1}, private: [api.test, other.test], allow: ["api.test:${server.port}"]}`,
    });
    const { stdout } = await script(sandbox, `curl -sS -L -m 90 http://api.test:${server.port}/`);
    expect(stdout).toContain(`\`other.test:${plain.port}\` blocked: no policy grants it`);
  });
});

describe("too much", () => {
  test("headers without end are refused", async () => {
    const said = await python(
      `print(talk("api.test", ${plain.port}, b"GET / HTTP/1.1\\r\\nHost: api.test:${plain.port}\\r\\n" + b"X-A: " + b"a" * 200000 + b"\\r\\n\\r\\n")[:60])`,
    );
    expect(said).toMatch(/HTTP\/1.1 431|BrokenPipe|ConnectionReset/);
  });

  test("a program that sends its headers a byte at a time is cut off; others go on", async () => {
    const slow = python(
      `
import time
s = [socket.create_connection(("api.test", ${plain.port})) for i in range(50)]
t = time.time()
for i in range(60):
    for it in s:
        try: it.send(b"G"[0:1] if i == 0 else b"E")
        except OSError: pass
    time.sleep(1)
    alive = 0
    for it in s:
        it.setblocking(False)
        try:
            if it.recv(10) == b"": continue
        except BlockingIOError: alive += 1
        except OSError: pass
    if alive == 0: break
print("alive", alive)`,
      120_000,
    );
    const other = await script(sandbox, `curl -sS -m 90 http://api.test:${plain.port}/meanwhile`);
    expect(other.stdout).toBe("REACHED plain /meanwhile");
    expect((await slow).trim()).toBe("alive 0");
  });

  test("thousands of connections in a row fill neither memory nor the log, and others get through", async () => {
    const records = net.records.length;
    const before = process.memoryUsage().rss;
    const storm = python(
      `
import time
end = time.time() + 15; n = 0
while time.time() < end or n < 300:
    try:
        s = socket.create_connection(("other.test", 443), timeout=30); s.close(); n += 1
    except OSError: pass
print(n)`,
    );
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const other = await script(sandbox, `curl -sS -m 90 http://api.test:${plain.port}/meanwhile`);
    expect(other.stdout).toBe("REACHED plain /meanwhile");
    expect(Number(await storm)).toBeGreaterThanOrEqual(300);
    expect(net.records.length - records).toBeLessThan(200);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });

  test("two hundred connections at once are carried, and cost little while they are idle", async () => {
    await using idle = await openTcp((socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf:"));
    });
    await net[Symbol.asyncDispose]();
    net = await attachEgress(sandbox.machine, {
      profile: `egress: {hosts: {api.test: 127.0.0.1}, private: [api.test], allow: ["api.test:${idle.port}"]}`,
    });
    const before = process.memoryUsage().rss;
    const said = await python(
      `
def ask():
    it = socket.create_connection(("api.test", ${idle.port}), timeout=40)
    it.sendall(b"GET / HTTP/1.1\\r\\nHost: api.test:${idle.port}\\r\\n\\r\\n")
    return it
s = [ask() for i in range(200)]
def half(it):
    got = b""
    while b"half:" not in got:
        part = it.recv(65536)
        if not part: return 0
        got += part
    return 1
print(sum(half(it) for it in s))`,
      120_000,
    );
    expect(said.trim()).toBe("200");
    expect(process.memoryUsage().rss - before).toBeLessThan(120 * 2 ** 20);
    expect(net.events("connection-opened").length).toBe(200);
    await expect.poll(() => net.egress.open).toBe(0);
  });
});
