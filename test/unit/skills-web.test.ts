import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { listen } from "../support/egress.ts";
import { callCapability, scratch } from "../support/skill-script.ts";

/** What web-fetch does with servers that mean it ill, and with a proxy that refuses. */
async function serving(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  const port = await listen(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${port}`;
}

const place = () => ({ workspace: scratch() });

test("JSON comes back, whole or a part of it; what is none, or no longer is, is refused", async () => {
  const origin = await serving(({ url }, response) => {
    const type = url === "/page" ? "text/html" : "application/json";
    response.setHeader("content-type", type).end(url === "/broken" ? '{"a": NaN}' : '{"data": [{"name": "Ada"}]}');
  });
  const get = (path: string, more = {}) =>
    callCapability("web-fetch", "fetchJson", { url: `${origin}${path}`, ...more }, place());
  expect(await get("/")).toMatchObject({ code: 0, stdout: '{"data": [{"name": "Ada"}]}\n' });
  expect(await get("/", { pointer: "/data/0/name" })).toMatchObject({ code: 0, stdout: '"Ada"\n' });
  for (const [path, more, says] of [
    ["/", { pointer: "/data/1" }, "the answer has no /data/1"],
    ["/broken", {}, "is no JSON"],
    ["/page", {}, "is text/html, not JSON"],
  ] as const) {
    expect(await get(path, more)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
  }
});

test("redirects are few, and lead to the web only", async () => {
  let asked = 0;
  const origin = await serving(({ url }, response) => {
    asked += 1;
    const elsewhere = { "/file": "file:///etc/passwd", "/ftp": "ftp://127.0.0.1/x", "/once": "/json" };
    const location = elsewhere[url as keyof typeof elsewhere] ?? `/loop${asked}`;
    if (url === "/json") response.setHeader("content-type", "application/json").end("1");
    else response.writeHead(302, { location }).end();
  });
  const get = (path: string) => callCapability("web-fetch", "fetchJson", { url: `${origin}${path}` }, place());
  expect(await get("/once")).toMatchObject({ code: 0, stdout: "1\n" });
  expect(await get("/ftp")).toMatchObject({ code: 2, stderr: expect.stringContaining("which is not followed") });
  expect(await get("/file")).toMatchObject({ code: 2, stdout: "", stderr: expect.not.stringContaining("root:") });
  asked = 0;
  expect(await get("/loop")).toMatchObject({ code: 2, stderr: expect.stringContaining("more than 5 redirects") });
  expect(asked).toBeLessThanOrEqual(7);
});

test("a download is whole or nothing: too large, broken off, packed to be large, in the way of another file", async () => {
  const origin = await serving(({ url }, response) => {
    if (url === "/claims") response.writeHead(200, { "content-length": String(10 * 2 ** 30) }).end("x");
    else if (url === "/short") {
      response.writeHead(200, { "content-length": "100" }).write("x");
      response.socket?.end();
    } else if (url === "/bomb") {
      response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(8 * 2 ** 20)));
    } else if (url === "/endless") {
      const more = () => response.write(Buffer.alloc(65_536), (error) => error || more());
      more();
    } else response.end("content");
  });
  const { workspace } = place();
  const get = (path: string, more = {}) =>
    callCapability(
      "web-fetch",
      "downloadFile",
      { url: `${origin}${path}`, out: "got", maxMiB: 2, ...more },
      { workspace },
    );
  for (const [path, says] of [
    ["/claims", "is larger than 2 MiB"],
    ["/bomb", "is larger than 2 MiB"],
    ["/endless", "is larger than 2 MiB"],
    ["/short", "127.0.0.1"],
  ] as const) {
    expect(await get(path), path).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(says) });
    expect(existsSync(join(workspace, "got"))).toBe(false);
  }
  const { code, stdout } = await get("/");
  expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 0, bytes: 7 });
  expect(readFileSync(join(workspace, "got"), "utf8")).toBe("content");
  expect(await get("/")).toMatchObject({ code: 2, stderr: expect.stringContaining("exists") });
  // What a link leads to stays as it is.
  writeFileSync(join(workspace, "kept"), "kept");
  symlinkSync(join(workspace, "kept"), join(workspace, "link"));
  expect(await get("/", { out: "link", overwrite: true })).toMatchObject({ code: 0 });
  expect(readFileSync(join(workspace, "kept"), "utf8")).toBe("kept");
});

test("what a proxy says when it refuses is said to the caller", async () => {
  const proxy = createServer((_, response) => response.writeHead(403).end("no policy grants it"));
  proxy.on("connect", (_, socket) => {
    const words = "no policy grants example.org:443";
    socket.end(`HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: ${words.length}\r\n\r\n${words}`);
  });
  const port = await listen(proxy);
  onTestFinished(() => void proxy.close());
  const env = {
    HTTP_PROXY: `http://127.0.0.1:${port}`,
    HTTPS_PROXY: `http://127.0.0.1:${port}`,
    http_proxy: `http://127.0.0.1:${port}`,
  };
  const get = (url: string) => callCapability("web-fetch", "fetchJson", { url }, { ...place(), env });
  expect(await get("https://example.org/")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("no policy grants example.org:443"),
  });
  expect(await get("http://example.org/")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("no policy grants it"),
  });
});
