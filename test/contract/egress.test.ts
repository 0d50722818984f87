import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Approvals, Asked } from "../../src/approval/approval.ts";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import {
  type Answer,
  attachEgress,
  createSessionAuthority,
  DIRECT,
  listen,
  type Origin,
  openOrigin,
  openTcp,
  openTrustingSandbox,
  script,
  type TestEgress,
  WAYS,
} from "../support/egress.ts";
import { NOBODY } from "../support/policy.ts";
import type { TestSandbox } from "./container-suite.ts";

/** One machine for the whole file; each test attaches a network with a policy of its own. */
let sandbox: TestSandbox;
/** Of the servers. */
let authority: SessionAuthority;
let plain: Origin;
let secure: Origin;

beforeAll(async () => {
  authority = await createSessionAuthority();
  const answer =
    (scheme: string): Answer =>
    (request, response) => {
      request.resume().on("end", () => response.end(`${scheme} ${request.url}`));
    };
  [plain, secure] = await Promise.all([openOrigin(answer("plain")), openOrigin(answer("secure"), authority)]);
  sandbox = await openTrustingSandbox(authority);
});
afterAll(async () => {
  await sandbox?.[Symbol.asyncDispose]();
  await plain?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
});

/** `api.test` and `other.test` are this computer; only the first may be one that is. */
function profileOf(...allow: string[]): string {
  const names = "hosts: {api.test: 127.0.0.1, other.test: 127.0.0.1, sub.api.test: 127.0.0.1}";
  return `egress:\n  ${names}\n  private: [api.test, sub.api.test]\n  allow: ${JSON.stringify(allow)}\n`;
}

function granted(): Promise<TestEgress> {
  return attachEgress(sandbox.machine, {
    profile: profileOf(`api.test:${plain.port}`, `api.test:${secure.port}`),
    authority,
  });
}

/** Each a script that prints a line a URL: what it was answered, or `failed`. One process for all: an emulated machine takes seconds to start it. */
const CLIENTS: Readonly<Record<string, (...urls: string[]) => string>> = {
  curl: (...urls) => urls.map((url) => `curl -sS --fail -m 90 -w '\\n' '${url}' || echo failed`).join("\n"),
  "Python's urllib": (...urls) => `python3 -c 'import urllib.request
for url in ${JSON.stringify(urls)}:
    try: print(urllib.request.urlopen(url, timeout=20).read().decode())
    except OSError: print("failed")'`,
  "Node's fetch": (...urls) => `node -e '(async () => {
  for (const url of ${JSON.stringify(urls)}) {
    const answer = await fetch(url).catch(() => undefined);
    console.log(answer?.ok ? await answer.text() : "failed");
  }
})()'`,
};

describe.each(Object.entries(CLIENTS))("%s", (_name, command) => {
  test.each(WAYS)("reaches what is granted, and nothing else, %s [G19]", async (_way, env) => {
    await using net = await granted();
    const urls = [
      `http://api.test:${plain.port}/a?b=c`,
      `http://example.org:${plain.port}/`,
      `https://api.test:${secure.port}/a?b=c`,
      `https://example.org:${secure.port}/`,
    ];
    const { stdout } = await script(sandbox, command(...urls), env);
    // What curl has printed of a refused request by then is an empty line.
    expect(stdout.split("\n").filter(Boolean)).toEqual(["plain /a?b=c", "failed", "secure /a?b=c", "failed"]);
    expect(net.egress.refusalsSince(0).map((it) => it.text)).toEqual([
      `\`example.org:${plain.port}\` blocked: no policy grants it`,
      `\`example.org:${secure.port}\` blocked: no policy grants it`,
    ]);
    const opened = net.events("connection-opened");
    expect(opened).toHaveLength(2);
    expect(opened[0]).toMatchObject({
      host: "api.test",
      port: plain.port,
      scheme: "http",
      policies: ["profile.yaml#egress.allow.1"],
    });
    expect(opened[1]).toMatchObject({
      host: "api.test",
      port: secure.port,
      scheme: "https",
      policies: ["profile.yaml#egress.allow.2"],
    });
  });
});

test("a refusal is told in the answer itself where the program speaks HTTP", async () => {
  await using _net = await granted();
  const url = "http://example.org/";
  const told = "glovebox: `example.org:80` blocked: no policy grants it\n";
  expect((await script(sandbox, `curl -sS ${url}`)).stdout).toBe(told);
  expect((await script(sandbox, `curl -sS ${url}`, DIRECT)).stdout).toBe(told);
  const tunnel = await script(sandbox, "curl -sS -v https://example.org/ 2>&1");
  expect(tunnel.stdout).toContain("CONNECT tunnel failed, response 403");
  const tls = await script(sandbox, "curl -sS https://example.org/", DIRECT);
  expect(tls.stderr).toContain("access denied");
});

describe("a host pattern", () => {
  test("of everything below a domain is not that domain, nor another that ends in the same letters", async () => {
    await using net = await attachEgress(sandbox.machine, { profile: profileOf(`*.api.test:${plain.port}`) });
    const get = (host: string) => script(sandbox, `curl -sS --fail -m 90 http://${host}:${plain.port}/`);
    expect((await get("sub.api.test")).code).toBe(0);
    for (const host of ["api.test", "xapi.test", "api.test.example.org"]) expect((await get(host)).code).not.toBe(0);
    expect(net.egress.refusalsSince(0)).toHaveLength(3);
  });

  test("says the port: another one is refused", async () => {
    await using net = await granted();
    await script(sandbox, `curl -sS -m 90 http://api.test:${plain.port + 1}/`, DIRECT);
    expect(net.egress.refusalsSince(0)[0]?.text).toBe(`\`api.test:${plain.port + 1}\` blocked: no policy grants it`);
  });
});

describe("the floor", () => {
  test("a granted name that leads to this computer is refused, unless the policy says that it may [G20]", async () => {
    const profile = profileOf(`other.test:${plain.port}`);
    await using net = await attachEgress(sandbox.machine, { profile });
    const { stdout } = await script(sandbox, `curl -sS -m 90 http://other.test:${plain.port}/`);
    expect(stdout).toContain("127.0.0.1: the gateway's own loopback");
    expect(net.egress.refusalsSince(0)).toHaveLength(1);
    expect(plain.requests.filter((it) => it.headers.host?.startsWith("other"))).toEqual([]);
  });
});

describe("requests that are read", () => {
  test("a rule about method and path ends TLS at the proxy; each request is decided, also on one connection", async () => {
    const rule = `{host: api.test, ports: [${secure.port}], methods: [GET], paths: [/public]}`;
    const profile = profileOf().replace("allow: []", `allow: [${rule}]`);
    await using net = await attachEgress(sandbox.machine, { profile, authority });
    const url = `https://api.test:${secure.port}`;
    for (const [, env] of WAYS) {
      const { stdout } = await script(
        sandbox,
        `curl -sS ${url}/public/a ${url}/private ${url}/public/../private ${url}/public%2f..%2fprivate --path-as-is; curl -sS -X POST ${url}/public`,
        env,
      );
      expect(stdout.split("glovebox: ").map((it) => it.trim())).toEqual([
        "secure /public/a",
        `\`api.test:${secure.port}\` blocked: no policy grants it (GET /private)`,
        `\`api.test:${secure.port}\` blocked: the request's path can be read in more than one way`,
        `\`api.test:${secure.port}\` blocked: the request's path can be read in more than one way`,
        `\`api.test:${secure.port}\` blocked: no policy grants it (POST /public)`,
      ]);
    }
    for (const name of ["Python's urllib", "Node's fetch"]) {
      const { stdout } = await script(sandbox, String(CLIENTS[name]?.(`${url}/public`)), DIRECT);
      expect(stdout).toBe("secure /public\n");
    }
    expect(net.events("connection-opened").length).toBeGreaterThanOrEqual(4);
  });

  test("a forbid with a method reads the requests of its hosts, and says its reason", async () => {
    const cedar = `@id("no-delete") @reason("nothing is deleted there")\nforbid (principal, action == Glovebox::Action::"connect", resource == Glovebox::Host::"api.test") when { context has method && context.method == "DELETE" };\n`;
    await using _net = await attachEgress(sandbox.machine, {
      profile: profileOf(`api.test:${secure.port}`),
      cedar,
      authority,
    });
    const url = `https://api.test:${secure.port}/x`;
    expect((await script(sandbox, `curl -sS ${url}`)).stdout).toBe("secure /x");
    expect((await script(sandbox, `curl -sS -X DELETE ${url}`)).stdout).toContain(
      "nothing is deleted there (DELETE /x)",
    );
  });

  test("the server's certificate is verified", async () => {
    const rule = `{host: api.test, ports: [${secure.port}], methods: [GET]}`;
    const profile = profileOf().replace("allow: []", `allow: [${rule}]`);
    await using _net = await attachEgress(sandbox.machine, { profile });
    const { stdout } = await script(sandbox, `curl -sS https://api.test:${secure.port}/`);
    expect(stdout).toMatch(
      /^glovebox: .*the TLS handshake failed \((SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE)\)/,
    );
  });
});

describe("bytes", () => {
  test("each side's end is passed on, and so is a break", async () => {
    await using echo = await openTcp((socket) => {
      let all = Buffer.alloc(0);
      socket.on("data", (chunk) => {
        all = Buffer.concat([all, chunk]);
      });
      socket.on("end", () => socket.end(`HTTP/1.0 200 OK\r\n\r\n${all.length}`));
    });
    void echo;
    await using net = await attachEgress(sandbox.machine, { profile: profileOf(`api.test:${secure.port}`), authority });
    const half = `import socket, ssl
c = ssl.create_default_context()
s = c.wrap_socket(socket.create_connection(("api.test", ${secure.port})), server_hostname="api.test")
s.sendall(b"GET /half HTTP/1.1\\r\\nHost: api.test:${secure.port}\\r\\nConnection: close\\r\\n\\r\\n")
print(s.makefile().read())`;
    const { stdout } = await script(sandbox, `python3 -c '${half}'`, DIRECT);
    expect(stdout).toContain("secure /half");
    await expect.poll(() => net.egress.open).toBe(0);
  });

  test("what TLS holds is carried unread: HTTP/2, as gRPC has it", async () => {
    const server = createSecureServer({
      SNICallback: (name, done) => void authority.contextFor(name).then((it) => done(null, it), done),
    });
    server.on("stream", (stream, headers) => {
      stream.respond({ ":status": 200 });
      stream.end(`h2 ${headers[":path"]}`);
    });
    const port = await listen(server);
    try {
      await using _net = await attachEgress(sandbox.machine, { profile: profileOf(`api.test:${port}`), authority });
      for (const [, env] of WAYS) {
        const { stdout } = await script(
          sandbox,
          `curl -sS --http2 -w ' %{http_version}' https://api.test:${port}/a`,
          env,
        );
        expect(stdout).toBe("h2 /a 2");
      }
    } finally {
      server.close();
    }
  });

  test("a WebSocket is upgraded", async () => {
    await using server = await openTcp((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst ");
        socket.on("data", (chunk) => socket.end(`echo ${chunk}`));
      });
    });
    await using _net = await attachEgress(sandbox.machine, { profile: profileOf(`api.test:${server.port}`) });
    const talk = `import socket
s = socket.create_connection(("api.test", ${server.port}))
s.sendall(b"GET / HTTP/1.1\\r\\nHost: api.test:${server.port}\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n")
head = b""
while b"first " not in head: head += s.recv(4096) or exit("it was closed")
s.sendall(b"hello")
rest = b""
while True:
    part = s.recv(4096)
    if not part: break
    rest += part
print(head.split(b"\\r\\n")[0].decode(), rest.decode())`;
    expect((await script(sandbox, `python3 -c '${talk}'`, DIRECT)).stdout).toBe(
      "HTTP/1.1 101 Switching Protocols echo hello\n",
    );
  });
});

test("a connection is on record before its first byte leaves, and with what it moved when it ends [G19]", async () => {
  await using net = await granted();
  await script(sandbox, `head -c 100000 /dev/zero | curl -sS -T - http://api.test:${plain.port}/up`);
  await expect.poll(() => net.events("connection-closed")).toHaveLength(1);
  const [opened] = net.events("connection-opened");
  const [closed] = net.events("connection-closed");
  expect(closed).toMatchObject({
    connectionId: opened?.["connectionId"],
    host: "api.test",
    sentBytes: expect.toSatisfy((it) => it > 100_000 && it < 101_000),
    receivedBytes: expect.toSatisfy((it) => it > 9 && it < 1_000),
    requests: 1,
  });
});

test("the calls whose programs run are named", async () => {
  const settings = { profile: profileOf(), callsRunning: () => ["call-1"] };
  await using net = await attachEgress(sandbox.machine, settings);
  await script(sandbox, "curl -sS http://example.org/");
  expect(net.events("connection-refused")).toEqual([
    { host: "example.org", port: 80, reason: "no policy grants it", policies: [], calls: ["call-1"] },
  ]);
});

test("nothing on this computer listens for it", async () => {
  await using _net = await granted();
  const socket = connect(3128, "127.0.0.1");
  await expect(once(socket, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

describe("when the policy changes", () => {
  test("connections whose grant is gone are closed, others stay, and both are on record", async () => {
    const gone = Promise.withResolvers<void>();
    await using held = await openOrigin((_request, response) => {
      response.write("begun ");
      response.once("close", gone.resolve);
    });
    await using net = await attachEgress(sandbox.machine, {
      profile: profileOf(`api.test:${held.port}`, `sub.api.test:${plain.port}`),
      authority,
    });
    const running = script(sandbox, `curl -sS -N -m 50 http://api.test:${held.port}/`);
    await expect.poll(() => net.events("connection-opened").length).toBe(1);
    const { mark } = net.egress;
    await net.replacePolicy(profileOf(`sub.api.test:${plain.port}`), "");
    await gone.promise;
    expect((await running).code).not.toBe(0);
    expect(net.egress.refusalsSince(mark).map((it) => it.text)).toEqual([
      `\`api.test:${held.port}\` blocked: the policy has changed: no policy grants it`,
    ]);
    expect(net.egress.grants).toEqual(["sub.api.test"]);
    expect((await script(sandbox, `curl -sS http://sub.api.test:${plain.port}/x`)).stdout).toBe("plain /x");
    expect((await script(sandbox, `curl -sS http://api.test:${held.port}/`)).stdout).toContain("no policy grants it");
  });

  test("a tunnel that nobody reads is closed as well", async () => {
    await using net = await attachEgress(sandbox.machine, { profile: profileOf(`api.test:${secure.port}`), authority });
    const hold = `import ssl,socket,sys
s = ssl.create_default_context().wrap_socket(socket.create_connection(("api.test", ${secure.port})), server_hostname="api.test")
print("open", flush=True)
try:
    sys.exit(3 if s.recv(1) == b"" else 4)
except OSError:
    sys.exit(3)`;
    const running = script(sandbox, `python3 -c '${hold}'`, DIRECT);
    await expect.poll(() => net.events("connection-opened").length).toBe(1);
    await net.replacePolicy(profileOf(), "");
    expect(await running).toMatchObject({ code: 3 });
    await expect.poll(() => net.events("connection-closed").length).toBe(1);
  });

  test("a policy that reads requests is obeyed by sessions that were open before it", async () => {
    await using net = await attachEgress(sandbox.machine, { profile: profileOf(`api.test:${secure.port}`), authority });
    const get = `curl -sS -m 90 https://api.test:${secure.port}/`;
    expect((await script(sandbox, `${get}a`)).stdout).toBe("secure /a");
    const onlyB = `@id("b") @reason("only /b") forbid (principal, action == Glovebox::Action::"connect", resource)
      when { context has path && !(context.path in Glovebox::Path::"/b") };`;
    await net.replacePolicy(profileOf(`api.test:${secure.port}`), onlyB);
    await expect.poll(async () => (await script(sandbox, `${get}b`)).stdout).toBe("secure /b");
    expect((await script(sandbox, `${get}a`)).stdout).toContain("only /b");
  });
});

describe("what policy leaves to a person", () => {
  const ASK = `@id("ask") @outcome("ask") @reason("somebody looks at it first")
    forbid (principal, action == Glovebox::Action::"connect", resource == Glovebox::Host::"api.test");`;

  test.each(["http", "https"] as const)("waits, and goes on when the person allows it: by %s", async (scheme) => {
    const port = scheme === "http" ? plain.port : secure.port;
    const questions: Asked[] = [];
    const approvals: Approvals = {
      ...NOBODY,
      approve: async (asked) => {
        questions.push(asked);
        return { approved: true, approvalId: "apr_1", approver: "local:ada", channel: "terminal" };
      },
    };
    const profile = profileOf(`api.test:${port}`, `sub.api.test:${port}`);
    await using net = await attachEgress(sandbox.machine, { profile, cedar: ASK, authority, approvals });
    const get = (host: string) => script(sandbox, `curl -sS -m 90 ${scheme}://${host}:${port}/x`);
    expect((await get("sub.api.test")).stdout).toBe(`${scheme === "http" ? "plain" : "secure"} /x`);
    expect(questions).toEqual([]);
    expect((await get("api.test")).stdout).toBe(`${scheme === "http" ? "plain" : "secure"} /x`);
    expect(questions).toHaveLength(1);
    expect(questions[0]).toMatchObject({ sessionId: "ses-test", decision: { outcome: "ask" } });
    expect(JSON.stringify(questions[0]?.details)).toContain(`${scheme}://api.test:${port}`);
    expect(net.events("connection-opened").map((it) => it["approvalId"])).toEqual([undefined, "apr_1"]);
  });

  test("does not leave when the person says no", async () => {
    const approvals: Approvals = {
      ...NOBODY,
      approve: async () => ({ approved: false, why: "denied", text: "Ada said no." }),
    };
    const profile = profileOf(`api.test:${plain.port}`);
    await using net = await attachEgress(sandbox.machine, { profile, cedar: ASK, authority, approvals });
    const before = plain.requests.length;
    const { stdout } = await script(sandbox, `curl -sS -m 90 http://api.test:${plain.port}/x`);
    expect(stdout).toContain("Ada said no.");
    expect(plain.requests).toHaveLength(before);
    expect(net.events("connection-refused")).toHaveLength(1);
  });
});
