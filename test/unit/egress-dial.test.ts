import { once } from "node:events";
import { createServer as createHttp, type IncomingMessage } from "node:http";
import { createServer as createHttps } from "node:https";
import { type AddressInfo, createServer, connect as dialTcp, type Server, type Socket } from "node:net";
import { type Duplex, pipeline } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { BelowFloor, createDial, type DialPorts } from "../../src/egress/dial.ts";
import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { tunnelThrough } from "../../src/egress/upstream-proxy.ts";
import { egressSchema } from "../../src/policy/egress.ts";

const never = new AbortController().signal;

/** Says its own address to whoever connects. */
async function listening(address: string, port = 0): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end(address);
  });
  return await open(server, address, port);
}

/** Closed, with its connections, when the test is over. */
async function open(server: Server, address = "127.0.0.1", port = 0): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  onTestFinished(() => {
    for (const it of sockets) it.destroy();
    server.close();
  });
  server.listen(port, address);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** With what a profile says, and names that are looked up in a table; `asked` are the names that were. */
function dialWith(
  egress: { private?: string[]; hosts?: Record<string, string> },
  names: Record<string, readonly string[]> = {},
  more: Partial<DialPorts> = {},
) {
  const asked: string[] = [];
  const lookup = async (host: string) => {
    asked.push(host);
    const found = Object.hasOwn(names, host) ? names[host] : undefined;
    if (!found) throw Object.assign(new Error("not found"), { code: "ENOTFOUND" });
    return found;
  };
  return { dial: createDial({ egress: () => egressSchema.parse(egress), lookup, ...more }), asked };
}

async function said(stream: Duplex): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return text;
}

const failure = (message: string | RegExp) => ({
  code: "CONNECTION_FAILED",
  message: typeof message === "string" ? message : expect.stringMatching(message),
});

describe("a name with several addresses", () => {
  test("is connected at one that is not below the floor", async () => {
    const port = await listening("127.0.0.2");
    await listening("127.0.0.1", port);
    const names = { "a.test": ["127.0.0.1", "10.0.0.1", "127.0.0.2", "169.254.169.254"] };
    const { dial, asked } = dialWith({ private: ["127.0.0.2"] }, names);
    const { socket, address } = await dial("a.test", port, never);
    expect([address, await said(socket), asked]).toEqual(["127.0.0.2", "127.0.0.2", ["a.test"]]);
  });

  test("is refused when all of them are below it, with the first one's reason", async () => {
    const port = await listening("127.0.0.1");
    const { dial } = dialWith({ private: ["127.0.0.2"] }, { "a.test": ["127.0.0.1", "::1"] });
    await expect(dial("a.test", port, never)).rejects.toThrow(new BelowFloor("127.0.0.1: the gateway's own loopback"));
  });

  test("is connected at the next when one does not answer", async () => {
    const port = await listening("127.0.0.3");
    const { dial } = dialWith({ private: ["127.0.0.0/8"] }, { "a.test": ["127.0.0.2", "127.0.0.3"] });
    const { socket, address } = await dial("a.test", port, never);
    socket.destroy();
    expect(address).toBe("127.0.0.3");
  });

  test("of both families is connected at either", async () => {
    const port = await listening("::1");
    const { dial } = dialWith({ private: ["::1", "127.0.0.1"] }, { "a.test": ["127.0.0.1", "::1"] });
    const { socket, address } = await dial("a.test", port, never);
    socket.destroy();
    expect(address).toBe("::1");
  });
});

describe("what is private", () => {
  test("may be reached by its name, whatever that resolves to, and by no other name or number", async () => {
    const port = await listening("127.0.0.1");
    const names = { "a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"], "x.a.test": ["127.0.0.1"] };
    const { dial } = dialWith({ private: ["a.test"] }, names);
    const { socket } = await dial("a.test", port, never);
    expect(await said(socket)).toBe("127.0.0.1");
    for (const it of ["b.test", "x.a.test", "127.0.0.1"])
      await expect(dial(it, port, never)).rejects.toThrow(BelowFloor);
  });

  test("may be reached by its range, whatever it is called, in IPv6's clothes too", async () => {
    const port = await listening("127.0.0.1");
    const { dial } = dialWith(
      { private: ["127.0.0.0/24"] },
      { "a.test": ["127.0.0.1"], "b.test": ["::ffff:127.0.0.1"] },
    );
    for (const it of ["a.test", "b.test", "127.0.0.1"]) {
      const { socket } = await dial(it, port, never);
      expect(await said(socket)).toBe("127.0.0.1");
    }
  });

  test("of a name that the profile gives an address is judged by that address", async () => {
    const port = await listening("127.0.0.1");
    const hosts = { "a.test": "127.0.0.1" };
    const { dial, asked } = dialWith({ hosts });
    await expect(dial("a.test", port, never)).rejects.toThrow(BelowFloor);
    const { socket } = await dialWith({ hosts, private: ["127.0.0.1"] }).dial("a.test", port, never);
    expect([await said(socket), asked]).toEqual(["127.0.0.1", []]);
  });
});

test("a name that changes its address is looked up once a dial, and each answer is checked", async () => {
  const port = await listening("127.0.0.2");
  await listening("127.0.0.1", port);
  let turn = 0;
  const lookup = async () => [turn++ % 2 === 0 ? "127.0.0.2" : "127.0.0.1"];
  const dial = createDial({ egress: () => egressSchema.parse({ private: ["127.0.0.2"] }), lookup });
  for (let round = 0; round < 3; round++) {
    const { socket, address } = await dial("a.test", port, never);
    expect([address, await said(socket)]).toEqual(["127.0.0.2", "127.0.0.2"]);
    await expect(dial("a.test", port, never)).rejects.toThrow(BelowFloor);
  }
  expect(turn).toBe(6);
});

test("an address is not looked up", async () => {
  const port = await listening("127.0.0.1");
  const { dial, asked } = dialWith({ private: ["127.0.0.1"] });
  const { socket } = await dial("127.0.0.1", port, never);
  expect([await said(socket), asked]).toEqual(["127.0.0.1", []]);
});

test("names that JavaScript knows are names like others", async () => {
  const { dial, asked } = dialWith({ hosts: {} });
  for (const it of ["constructor", "__proto__", "tostring"])
    await expect(dial(it, 80, never)).rejects.toMatchObject(failure(`there is no host \`${it}\` (ENOTFOUND)`));
  expect(asked).toEqual(["constructor", "__proto__", "tostring"]);
});

test("the system's own resolver is asked when no other is given", async () => {
  const port = await listening("127.0.0.1");
  const dial = createDial({ egress: () => egressSchema.parse({ private: ["127.0.0.0/8", "::1"] }) });
  const { socket } = await dial("localhost", port, never);
  expect(await said(socket)).toBe("127.0.0.1");
  await expect(dial("nothing.invalid", port, never)).rejects.toMatchObject(
    failure(/^there is no host `nothing\.invalid` \(E/),
  );
});

test("nobody listens: says so, with the operating system's reason", async () => {
  const port = await listening("127.0.0.1");
  const { dial } = dialWith(
    { private: ["127.0.0.0/8"] },
    { "a.test": ["127.0.0.2"], "b.test": ["127.0.0.2", "127.0.0.3"], "c.test": [] },
  );
  await expect(dial("127.0.0.2", port, never)).rejects.toMatchObject(
    failure(`\`127.0.0.2:${port}\` does not answer (ECONNREFUSED)`),
  );
  await expect(dial("a.test", port, never)).rejects.toMatchObject(
    failure(`\`a.test:${port}\` does not answer (ECONNREFUSED)`),
  );
  await expect(dial("b.test", port, never)).rejects.toMatchObject(
    failure(`\`b.test:${port}\` does not answer (ECONNREFUSED)`),
  );
  await expect(dial("c.test", port, never)).rejects.toMatchObject({ code: "CONNECTION_FAILED" });
});

describe("what is aborted", () => {
  test("while the name is looked up rejects at once, with the reason", async () => {
    const asked = Promise.withResolvers<void>();
    const lookup = () => {
      asked.resolve();
      return new Promise<never>(() => undefined);
    };
    for (const upstream of [
      undefined,
      async () => {
        throw new TypeError("not asked");
      },
    ]) {
      const aborting = new AbortController();
      const dial = createDial({ egress: () => egressSchema.parse({}), lookup, ...(upstream && { upstream }) });
      const dialling = dial("a.test", 80, aborting.signal);
      await asked.promise;
      aborting.abort(new Error("the session ends"));
      await expect(dialling).rejects.toThrow("the session ends");
    }
  });

  test("before it begins connects nowhere", async () => {
    let connections = 0;
    const port = await open(
      createServer(() => {
        connections += 1;
      }),
    );
    const { dial } = dialWith({ private: ["127.0.0.1"] });
    await expect(dial("127.0.0.1", port, AbortSignal.abort(new Error("ended")))).rejects.toThrow("ended");
    // Whoever comes later would come after it.
    const later = dialTcp(port, "127.0.0.1");
    await once(later, "connect");
    later.destroy();
    expect(connections).toBeLessThanOrEqual(1);
  });

  test("after the connection was made leaves it alone: it is its holder's", async () => {
    const port = await open(createServer((socket) => socket.pipe(socket)));
    const aborting = new AbortController();
    const { socket } = await dialWith({ private: ["127.0.0.1"] }).dial("127.0.0.1", port, aborting.signal);
    aborting.abort();
    socket.write("still there");
    const [echo] = await once(socket, "data");
    expect(String(echo)).toBe("still there");
    socket.destroy();
  });
});

test("a connection that the other side resets before anybody holds it ends nothing else", async () => {
  const accepted = Promise.withResolvers<Socket>();
  const port = await open(createServer(accepted.resolve));
  const { socket } = await dialWith({ private: ["127.0.0.1"] }).dial("127.0.0.1", port, never);
  (await accepted.promise).resetAndDestroy();
  socket.resume();
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  expect(socket.errored).toMatchObject({ code: "ECONNRESET" });
});

interface Proxy {
  readonly url: string;
  readonly asked: IncomingMessage[];
}

/** A proxy that knows CONNECT and nothing else; `status` is its answer. */
async function proxy({
  status = 200,
  authority,
  address = "127.0.0.1",
  first = "",
}: {
  status?: number | undefined;
  authority?: Awaited<ReturnType<typeof createSessionAuthority>>;
  address?: string;
  first?: string;
} = {}): Promise<Proxy> {
  const asked: IncomingMessage[] = [];
  const server = authority
    ? createHttps({ SNICallback: (name, done) => void authority.contextFor(name).then((it) => done(null, it), done) })
    : createHttp();
  server.on("connect", (request, socket: Duplex, head) => {
    asked.push(request);
    socket.on("error", () => undefined);
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    socket.write(`HTTP/1.1 200 Connection established\r\n\r\n${first}`);
    const [, port = ""] = /:(\d+)$/.exec(request.url ?? "") ?? [];
    const outer = dialTcp(Number(port), "127.0.0.1");
    outer.write(head);
    pipeline(socket, outer, () => undefined);
    pipeline(outer, socket, () => undefined);
  });
  const port = await open(server, address);
  const host = authority ? "localhost" : address.includes(":") ? `[${address}]` : address;
  return { url: `${authority ? "https" : "http"}://${host}:${port}`, asked };
}

const through = (url: string, authorities: readonly string[] = []) =>
  tunnelThrough(new URL(url), async () => authorities);

describe("by way of an upstream proxy", () => {
  test("the proxy is told the name, and looks it up itself", async () => {
    const port = await listening("127.0.0.1");
    const { url, asked } = await proxy();
    const { dial } = dialWith({}, {}, { upstream: through(url) });
    const { socket, address } = await dial("inside.test", port, never);
    expect(await said(socket)).toBe("127.0.0.1");
    expect(address).toBeUndefined();
    expect(asked.map((it) => [it.method, it.url, it.headers.host, it.headers["proxy-authorization"]])).toEqual([
      ["CONNECT", `inside.test:${port}`, `inside.test:${port}`, undefined],
    ]);
  });

  test("what is below the floor is not asked for, where it is known", async () => {
    const { url, asked } = await proxy();
    const { dial } = dialWith(
      { hosts: { "c.test": "10.0.0.1" } },
      { "a.test": ["127.0.0.1"] },
      { upstream: through(url) },
    );
    for (const it of ["a.test", "c.test", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"])
      await expect(dial(it, 80, never)).rejects.toThrow(BelowFloor);
    expect(asked).toEqual([]);
  });

  test("an IPv6 address is in brackets", async () => {
    const port = await listening("127.0.0.1");
    const { url, asked } = await proxy();
    const { dial } = dialWith({}, {}, { upstream: through(url) });
    const { socket } = await dial("2001:db8::1", port, never);
    expect([await said(socket), asked[0]?.url]).toEqual(["127.0.0.1", `[2001:db8::1]:${port}`]);
  });

  test("the proxy's user and password are sent, decoded from its URL", async () => {
    const port = await listening("127.0.0.1");
    const { url, asked } = await proxy();
    const socket = await through(url.replace("://", "://ada:p%40ss%3A%20word@"))("a.test", port, never);
    expect(await said(socket)).toBe("127.0.0.1");
    const expected = `Basic ${Buffer.from("ada:p@ss: word").toString("base64")}`;
    expect(asked[0]?.headers["proxy-authorization"]).toBe(expected);
  });

  test("a password of characters that no Latin alphabet has is sent as UTF-8 (RFC 7617)", async () => {
    const port = await listening("127.0.0.1");
    const { url, asked } = await proxy();
    const socket = await through(url.replace("://", `://ada:${encodeURIComponent("пароль€")}@`))("a.test", port, never);
    expect(await said(socket)).toBe("127.0.0.1");
    const sent = Buffer.from(asked[0]?.headers["proxy-authorization"]?.slice(6) ?? "", "base64").toString();
    expect(sent).toBe("ada:пароль€");
  });

  test.each([407, 403, 502, 204, 301])("its answer %i is no connection, and is named", async (status) => {
    const { url } = await proxy({ status });
    const { dial } = dialWith({}, {}, { upstream: through(url) });
    await expect(dial("a.test", 443, never)).rejects.toMatchObject(
      failure(`the upstream proxy answered ${status} for \`a.test:443\``),
    );
  });

  test("what the server says first is not lost when it comes with the proxy's answer", async () => {
    const port = await listening("127.0.0.1");
    const { url } = await proxy({ first: "first " });
    const socket = await through(url)("a.test", port, never);
    expect(await said(socket)).toBe("first 127.0.0.1");
  });

  test("its own address may be IPv6", async () => {
    const port = await listening("127.0.0.1");
    const { url } = await proxy({ address: "::1" });
    expect(url).toContain("[::1]");
    expect(await said(await through(url)("a.test", port, never))).toBe("127.0.0.1");
  });

  test("it may speak TLS, with a certificate of an authority that is known", async () => {
    const authority = await createSessionAuthority();
    const port = await listening("127.0.0.1");
    const { url } = await proxy({ authority });
    expect(await said(await through(url, [authority.certificate])("a.test", port, never))).toBe("127.0.0.1");
    const other = await createSessionAuthority();
    await expect(through(url, [other.certificate])("a.test", port, never)).rejects.toMatchObject(
      failure("the upstream proxy does not answer"),
    );
  });

  test.each<[what: string, onConnection: (socket: Socket) => void]>([
    ["what isn't HTTP", (socket) => socket.end("SSH-2.0-x\r\n")],
    ["nothing, and closes", (socket) => socket.end()],
    ["a reset", (socket) => socket.resetAndDestroy()],
    ["headers without end", (socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(200_000)}`)],
    ["half an answer", (socket) => socket.once("data", () => socket.end("HTTP/1.1 200 Conn"))],
  ])("one that answers %s does not answer", async (_, onConnection) => {
    const port = await open(createServer(onConnection));
    const { dial } = dialWith({}, {}, { upstream: through(`http://127.0.0.1:${port}`) });
    await expect(dial("a.test", 443, never)).rejects.toMatchObject(failure("the upstream proxy does not answer"));
  });

  test("nobody listens there", async () => {
    const { dial } = dialWith({}, {}, { upstream: through("http://127.0.0.1:1") });
    await expect(dial("a.test", 443, never)).rejects.toMatchObject(failure("the upstream proxy does not answer"));
  });

  test("one that is silent is waited for until the session ends, and its connection is closed then", async () => {
    const accepted = Promise.withResolvers<Socket>();
    const port = await open(
      createServer((socket) => {
        socket.resume();
        accepted.resolve(socket);
      }),
    );
    const aborting = new AbortController();
    const { dial } = dialWith({}, {}, { upstream: through(`http://127.0.0.1:${port}`) });
    const dialling = dial("a.test", 443, aborting.signal);
    const socket = await accepted.promise;
    aborting.abort(new Error("the session ends"));
    await expect(dialling).rejects.toThrow("the session ends");
    if (!socket.closed) await once(socket, "close");
  });

  test("a way that was opened outlives the signal of its opening", async () => {
    const port = await open(createServer((socket) => socket.pipe(socket)));
    const { url } = await proxy();
    const aborting = new AbortController();
    const socket = await through(url)("a.test", port, aborting.signal);
    aborting.abort();
    socket.write("still there");
    const [echo] = await once(socket, "data");
    expect(String(echo)).toBe("still there");
    socket.destroy();
  });
});
