import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Target } from "../../src/egress/gate.ts";
import { forwarded, pairs } from "../../src/egress/headers.ts";
import { readAuthority, readHttpTarget } from "../../src/egress/http-target.ts";
import { requestPath } from "../../src/policy/request-path.ts";

/** A request as Node's parser gives it, or `undefined` when that refuses it. */
async function parsed(...lines: string[]): Promise<IncomingMessage | undefined> {
  const server = createServer();
  const read = Promise.withResolvers<IncomingMessage | undefined>();
  for (const event of ["request", "connect", "upgrade"]) server.on(event, (it: IncomingMessage) => read.resolve(it));
  server.on("clientError", () => read.resolve(undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => undefined);
  try {
    socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
    return await read.promise;
  } finally {
    socket.destroy();
    server.closeAllConnections();
    server.close();
  }
}

async function targetOf(destination: Target | undefined, ...lines: string[]) {
  const request = await parsed(...lines);
  return request ? readHttpTarget(request, destination) : "the parser refuses it";
}

const secure: Target = { host: "example.org", port: 443, scheme: "https" };
const plain: Target = { host: "example.org", port: 8080, scheme: "http" };
const six: Target = { host: "2001:db8::1", port: 443, scheme: "https" };

describe("a request on a connection of its own", () => {
  test.each<[destination: Target, target: string, host: string]>([
    [secure, "/a?b=c", "example.org"],
    [secure, "/a", "example.org:443"],
    [secure, "/a", "EXAMPLE.org."],
    [plain, "/a", "example.org:8080"],
    [{ ...plain, port: 80 }, "/a", "example.org"],
    [six, "/a", "[2001:DB8::0:1]"],
    [{ ...secure, host: "192.0.2.7" }, "/a", "192.0.2.7"],
    [secure, "//other.org/a", "example.org"],
    [secure, "/http://other.org/a", "example.org"],
    [secure, "/a?x=http://other.org/#f", "example.org"],
  ])("%j: %s for %s", async (destination, target, host) => {
    expect(await targetOf(destination, `GET ${target} HTTP/1.1`, `Host: ${host}`)).toEqual({
      ...destination,
      path: target,
    });
  });

  test.each<[what: string, destination: Target, lines: string[], problem: string]>([
    ["another host", secure, ["GET / HTTP/1.1", "Host: other.org"], "names another host"],
    ["another port", secure, ["GET / HTTP/1.1", "Host: example.org:8443"], "names another host"],
    ["no port where it isn't the scheme's", plain, ["GET / HTTP/1.1", "Host: example.org"], "names another host"],
    ["a user", secure, ["GET / HTTP/1.1", "Host: example.org@other.org"], "names another host"],
    ["a path", secure, ["GET / HTTP/1.1", "Host: example.org/other.org"], "names another host"],
    ["two names", secure, ["GET / HTTP/1.1", "Host: example.org, other.org"], "names another host"],
    ["nothing", secure, ["GET / HTTP/1.1", "Host: "], "names another host"],
    ["port 0", secure, ["GET / HTTP/1.1", "Host: example.org:0"], "names another host"],
    ["a port with a sign", secure, ["GET / HTTP/1.1", "Host: example.org:+443"], "names another host"],
    ["a port of too many digits", secure, ["GET / HTTP/1.1", "Host: example.org:000443"], "names another host"],
    ["an address without brackets", six, ["GET / HTTP/1.1", "Host: 2001:db8::1"], "names another host"],
    ["brackets around a name", secure, ["GET / HTTP/1.1", "Host: [example.org]"], "names another host"],
    ["two equal headers", secure, ["GET / HTTP/1.1", "Host: example.org", "host: example.org"], "not exactly one Host"],
    [
      "two different headers",
      secure,
      ["GET / HTTP/1.1", "Host: example.org", "HOST: other.org"],
      "not exactly one Host",
    ],
    ["no header", secure, ["GET / HTTP/1.0"], "not exactly one Host"],
    ["a URL", secure, ["GET https://example.org/ HTTP/1.1", "Host: example.org"], "not a path"],
    ["an asterisk", secure, ["OPTIONS * HTTP/1.1", "Host: example.org"], "not a path"],
  ])("%s is refused", async (_, destination, lines, problem) => {
    expect(await targetOf(destination, ...lines)).toEqual({ problem: expect.stringContaining(problem) });
  });
});

describe("a request to the proxy", () => {
  test.each([
    ["http://example.org/a?b=c", "example.org", { host: "example.org", port: 80, path: "/a?b=c" }],
    ["http://example.org", "example.org", { host: "example.org", port: 80, path: "/" }],
    ["http://example.org?b=c", "example.org", { host: "example.org", port: 80, path: "/?b=c" }],
    ["HTTP://EXAMPLE.org:8080/", "example.org:8080", { host: "example.org", port: 8080, path: "/" }],
    ["http://[2001:db8::1]:8080/a", "[2001:db8::1]:8080", { host: "2001:db8::1", port: 8080, path: "/a" }],
    ["http://0x7f.1/", "127.0.0.1", { host: "127.0.0.1", port: 80, path: "/" }],
    ["http://example.org//a//b", "example.org:80", { host: "example.org", port: 80, path: "//a//b" }],
  ])("%s for %s", async (url, host, target) => {
    expect(await targetOf(undefined, `GET ${url} HTTP/1.1`, `Host: ${host}`)).toEqual({ scheme: "http", ...target });
  });

  test.each([
    ["/", "example.org", "this is a proxy"],
    ["https://example.org/", "example.org", "this is a proxy"],
    ["ftp://example.org/", "example.org", "this is a proxy"],
    ["http:/example.org/", "example.org", "this is a proxy"],
    ["http:///a", "example.org", "the request's host can't be read"],
    ["http://user@example.org/", "example.org", "the request's host can't be read"],
    ["http://example.org:80@other.org/", "example.org", "the request's host can't be read"],
    ["http://example.org:99999/", "example.org", "the request's host can't be read"],
    ["http://example.org:/", "example.org", "the request's host can't be read"],
    ["http://example.org\\@other.org/", "example.org", "the request's host can't be read"],
    ["http://ex%61mple.org/", "example.org", "the request's host can't be read"],
    ["http://other.org/", "example.org", "names another host than the connection to `other.org:80`"],
    ["http://example.org:8080/", "example.org", "names another host than the connection to `example.org:8080`"],
  ])("%s for %s is refused", async (url, host, problem) => {
    const read = await targetOf(undefined, `GET ${url} HTTP/1.1`, `Host: ${host}`);
    expect(read).toBeOneOf([{ problem: expect.stringContaining(problem) }, "the parser refuses it"]);
  });
});

test("an authority is read as a URL's parser reads it, or not at all", () => {
  const texts = fc.oneof(
    fc.webAuthority({ withPort: true, withUserInfo: true, withIPv4: true, withIPv4Extended: true, withIPv6: true }),
    fc.string({ unit: fc.constantFrom(..."ab1.:@/[]\\ %0x?#-"), maxLength: 12 }),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const read = readAuthority(text, 80);
      if (!read) return;
      const { hostname, port, username, password, pathname } = new URL(`http://${text}/`);
      expect(readAuthority(hostname, 80)?.host).toBe(read.host);
      expect([Number(port || 80), username, password, pathname]).toEqual([read.port, "", "", "/"]);
    }),
    { numRuns: 3_000 },
  );
});

describe("headers that are sent on", () => {
  test("keep their order, their spelling and their doubles", () => {
    const raw = ["Host", "a.org", "X-B", "1", "x-a", "2", "X-b", "3", "Cookie", "a=b", "Content-Length", "5"];
    expect(forwarded(raw)).toEqual(raw);
  });

  test("are not those of one connection, however they are spelt", () => {
    const own =
      "connection expect keep-alive proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection te trailer upgrade";
    for (const name of own.split(" "))
      for (const it of [name, name.toUpperCase()])
        expect(forwarded(["A", "1", it, "x", "B", "2"])).toEqual(["A", "1", "B", "2"]);
  });

  test("are not those that Connection names, in any of its lines", () => {
    const raw = [
      "X-One",
      "1",
      "Connection",
      "close, x-one ,X-TWO",
      "x-two",
      "2",
      "X-Three",
      "3",
      "connection",
      "x-three",
      "X-Four",
      "4",
    ];
    expect(forwarded(raw)).toEqual(["X-Four", "4"]);
  });

  test("are Host, framing and credentials, even when Connection names them", () => {
    const kept = [
      "Host",
      "a.org",
      "Content-Length",
      "5",
      "Transfer-Encoding",
      "chunked",
      "Authorization",
      "x",
      "Cookie",
      "y",
    ];
    const names = kept.filter((_, at) => at % 2 === 0).join(",");
    expect(forwarded([...kept, "Connection", names])).toEqual(kept);
  });

  test("of an upgrade name the protocol again, and nothing else of the connection", () => {
    const raw = [
      "Host",
      "a.org",
      "Connection",
      "keep-alive, Upgrade, X-Own",
      "Upgrade",
      "websocket",
      "X-Own",
      "1",
      "Sec-WebSocket-Key",
      "k",
    ];
    const rest = ["Host", "a.org", "Sec-WebSocket-Key", "k"];
    expect(forwarded(raw, true)).toEqual([...rest, "Connection", "Upgrade", "Upgrade", "websocket"]);
    expect(forwarded(raw)).toEqual(rest);
  });

  test("whatever they are, nothing is added, changed or moved", () => {
    const name = fc.oneof(
      fc.constantFrom("Connection", "Host", "TE", "X-A", "x-a", "Upgrade", "Keep-Alive"),
      fc.stringMatching(/^[A-Za-z-]{1,8}$/),
    );
    const header = fc.tuple(
      name,
      fc.oneof(fc.constantFrom("x-a", "close, X-A", "host", ""), fc.string({ maxLength: 8 })),
    );
    fc.assert(
      fc.property(fc.array(header, { maxLength: 10 }), (headers) => {
        const left = pairs(forwarded(headers.flat()));
        let from = 0;
        for (const it of left) {
          const at = headers.findIndex(([one, value], index) => index >= from && one === it[0] && value === it[1]);
          expect(at).toBeGreaterThanOrEqual(from);
          from = at + 1;
          expect(it[0].toLowerCase()).not.toBeOneOf(["connection", "te", "upgrade", "keep-alive"]);
        }
        const hosts = (list: readonly (readonly [string, string])[]) =>
          list.filter(([it]) => it.toLowerCase() === "host").length;
        expect(hosts(left)).toBe(hosts(headers));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("the path of a request", () => {
  test.each([
    ["/", "/"],
    ["/a/b", "/a/b"],
    ["/a/b/", "/a/b"],
    ["/a?b/../c", "/a"],
    ["/%61%2Fb", "/a/b"],
    ["/@scope%2fname", "/@scope/name"],
    ["/caf%C3%A9", "/café"],
    ["/a%20b+c", "/a b+c"],
    ["/100%25", "/100%"],
    ["/.well-known/..a/a..", "/.well-known/..a/a.."],
  ])("%s is %s", (target, path) => {
    expect(requestPath(target)).toBe(path);
  });

  test.each([
    "",
    "*",
    "a",
    "http://example.org/",
    "?a",
    "/..",
    "/.",
    "//a//b//",
    "/a#b/../c",
    "/café",
    "/a;b=c",
    "/...",
    "/a/..%20/b",
    "/%252e%252e/a",
    "/a/../b",
    "/a/./b",
    "/a/..",
    "/%2e%2e/a",
    "/.%2E/a",
    "/a/%2e",
    "/a%2f..%2fb",
    "/a%2f%2e%2e",
    "/a/..;/b",
    "/a/..;x=y/b",
    "/a/.;/b",
    "/a\\b",
    "/a%5cb",
    "/a%5C..%5Cb",
    "/a%00",
    "/a%0d%0ab",
    "/a%09",
    "/a%7f",
    "/a%",
    "/a%2",
    "/a%zz",
    "/a%u002e",
    "/%c0%ae%c0%ae/a",
    "/%ff",
    "/%ed%a0%80",
    `/${"a".repeat(300)}`,
    `/${"a/".repeat(300)}`,
  ])("%s can be read in more than one way, or is none", (target) => {
    expect(requestPath(target)).toBeUndefined();
  });

  test("is where a URL's parser sees it, when that is decoded; and it is read again as itself when it is encoded", () => {
    const targets = fc.string({ unit: fc.constantFrom(..."ab/.%2eEfF5cC;?#\\é"), maxLength: 20 }).map((it) => `/${it}`);
    fc.assert(
      fc.property(targets, (target) => {
        const path = requestPath(target);
        if (path === undefined) return;
        const { pathname } = new URL(`http://example.org${target.replace(/^\/+/, "/")}`);
        expect(
          decodeURIComponent(pathname)
            .replaceAll(/\/+/g, "/")
            .replace(/(.)\/$/, "$1"),
        ).toBe(path);
        expect(requestPath(path.split("/").map(encodeURIComponent).join("/"))).toBe(path);
        expect(path).toMatch(/^\/$|^(\/[^/]+)+$/);
        expect(path.split("/")).not.toContain("..");
      }),
      { numRuns: 5_000 },
    );
  });
});
