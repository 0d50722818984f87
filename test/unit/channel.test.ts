import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from "node:http";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { connect as dial } from "node:net";
import type { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { z } from "zod";
import { type Channel, openChannel } from "../../src/engine/channel.ts";
import { socketPair } from "../support/socket-pair.ts";

const forever = new AbortController().signal;

interface Guest extends AsyncDisposable {
  readonly channel: Channel;
  readonly drop: () => void;
}

/** A guest in this process: HTTP/2 on the far end of a socket pair; `onStream` answers what is no tunnel. */
async function guest(
  onStream: (stream: ServerHttp2Stream, headers: { [name: string]: unknown }) => void,
): Promise<Guest> {
  const pair = await socketPair();
  const server: Http2Server = createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    onStream(stream, headers);
  });
  server.emit("connection", pair.far);
  const channel = openChannel(pair.near);
  return {
    channel,
    drop: () => pair.far.destroy(),
    async [Symbol.asyncDispose]() {
      channel[Symbol.dispose]();
      await pair[Symbol.asyncDispose]();
    },
  };
}

/** An HTTP server on loopback behind the tunnel, in the place of the container engine. */
async function engineGuest(answer: (request: IncomingMessage, socket: Duplex) => void): Promise<Guest> {
  const engine = createHttpServer((request, response) => {
    if (request.url === "/echo") request.pipe(response);
    else if (request.url === "/big") response.end(Buffer.alloc(8 * 1024 * 1024, 7));
    else response.end("pong");
  });
  engine.on("upgrade", (request, socket) => answer(request, socket));
  await new Promise<void>((resolve) => engine.listen(0, "127.0.0.1", resolve));
  const address = engine.address();
  if (address === null || typeof address === "string") throw new TypeError("no port");
  const inner = await guest((stream, headers) => {
    if (headers[":method"] !== "CONNECT" || headers[":authority"] !== "docker") return stream.close();
    const socket = dial({ port: address.port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => stream.close());
    stream.respond({ ":status": 200 });
    stream.pipe(socket).pipe(stream);
    stream.on("close", () => socket.destroy());
  });
  return {
    ...inner,
    async [Symbol.asyncDispose]() {
      await inner[Symbol.asyncDispose]();
      engine.closeAllConnections();
      engine.close();
    },
  };
}

async function fetchThrough(channel: Channel, path: string, body?: Buffer): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const request = httpRequest(
    { agent: channel.dockerAgent, host: "docker", path, method: body ? "POST" : "GET" },
    (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
      response.on("error", reject);
    },
  );
  request.on("error", reject);
  request.end(body);
  return await promise;
}

test("requests with and without a body go through a tunnel", async () => {
  await using it = await engineGuest(() => undefined);
  await it.channel.ready;
  expect(String(await fetchThrough(it.channel, "/ping"))).toBe("pong");
  const body = Buffer.alloc(3 * 1024 * 1024, "x");
  expect((await fetchThrough(it.channel, "/echo", body)).equals(body)).toBe(true);
  const sizes = await Promise.all(Array.from({ length: 20 }, () => fetchThrough(it.channel, "/big")));
  expect(sizes.map((bytes) => bytes.length)).toEqual(Array.from({ length: 20 }, () => 8 * 1024 * 1024));
});

test("an upgraded connection is two-way and passes on each side's end", async () => {
  await using it = await engineGuest((_request, socket) => {
    socket.write("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    let length = 0;
    socket.on("data", (chunk: Buffer) => {
      length += chunk.length;
    });
    socket.on("end", () => socket.end(`got ${length}`));
  });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const request = httpRequest({
    agent: it.channel.dockerAgent,
    path: "/exec",
    method: "POST",
    headers: { connection: "Upgrade", upgrade: "tcp" },
  });
  request.on("upgrade", (_response, socket, head) => {
    let text = String(head);
    socket.on("data", (chunk: Buffer) => {
      text += String(chunk);
    });
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.end(Buffer.alloc(300_000));
  });
  request.on("error", reject);
  request.end();
  expect(await promise).toBe("got 300000");
});

test("a reader who pauses holds back the guest and keeps the gateway's memory flat", async () => {
  let sent = 0;
  await using it = await guest((stream) => {
    stream.respond({ ":status": 200 });
    stream.write("HTTP/1.1 200 OK\r\n\r\n");
    const chunk = Buffer.alloc(64 * 1024);
    const more = () => {
      while (sent < 512 * 1024 * 1024) {
        sent += chunk.length;
        if (!stream.write(chunk)) return void stream.once("drain", more);
      }
    };
    more();
  });
  const { promise, resolve } = Promise.withResolvers<IncomingMessage>();
  const request = httpRequest({ agent: it.channel.dockerAgent, path: "/" }, resolve);
  request.on("error", () => undefined);
  request.end();
  const response = await promise;
  response.on("error", () => undefined);
  let last = -1;
  while (last !== sent) {
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect(sent).toBeLessThan(4 * 1024 * 1024);
  response.destroy();
});

test("a tunnel that the guest breaks off is an error, never a complete response", async () => {
  for (const breakOff of [
    (stream: ServerHttp2Stream) => stream.destroy(new TypeError("reset")),
    (stream: ServerHttp2Stream) => stream.session?.destroy(),
  ]) {
    await using it = await guest((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("HTTP/1.1 200 OK\r\n\r\nhalf of", () => breakOff(stream));
    });
    await expect(fetchThrough(it.channel, "/")).rejects.toThrow();
  }
});

test("a refused tunnel is an error", async () => {
  await using it = await guest((stream) => {
    stream.respond({ ":status": 502 });
    stream.end();
  });
  await expect(fetchThrough(it.channel, "/")).rejects.toMatchObject({ code: "CONTAINER_FAILED" });
});

test("the guest's answers are read strictly", async () => {
  const answer = z.strictObject({ a: z.int() });
  const cases: [string, string][] = [
    ['{"a":1}', "fine"],
    ['{"a":1,"b":2}', "CHANNEL_VIOLATION"],
    ['{"a":"1"}', "CHANNEL_VIOLATION"],
    ["nonsense", "CHANNEL_VIOLATION"],
    [`{"a":1}${" ".repeat(65 * 1024)}`, "CHANNEL_VIOLATION"],
  ];
  for (const [body, expected] of cases) {
    await using it = await guest((stream) => {
      stream.respond({ ":status": 200 });
      stream.end(body);
    });
    const asked = it.channel.ask("/x", { q: 1 }, answer, forever).then(
      () => "fine",
      (error: { code: string }) => error.code,
    );
    expect(await asked, body.slice(0, 40)).toBe(expected);
    expect(it.channel.closed.aborted).toBe(expected !== "fine");
  }
});

test("a refusal of the agent is made printable and keeps the channel", async () => {
  await using it = await guest((stream) => {
    stream.respond({ ":status": 400 });
    stream.end("no\u001b[2J");
  });
  const asked = it.channel.ask("/x", {}, z.strictObject({}), forever);
  await expect(asked).rejects.toMatchObject({
    code: "CONTAINER_FAILED",
    message: "The guest agent refused: no\ufffd[2J",
  });
  expect(it.channel.closed.aborted).toBe(false);
});

test("a question that is aborted ends with the caller's reason", async () => {
  await using it = await guest(() => undefined);
  const controller = new AbortController();
  const asked = it.channel.ask("/x", {}, z.strictObject({}), controller.signal);
  controller.abort("enough");
  await expect(asked).rejects.toBe("enough");
  expect(it.channel.closed.aborted).toBe(false);
});

test("a guest that is gone ends everything with MACHINE_LOST", async () => {
  await using it = await guest(() => undefined);
  await it.channel.ready;
  const asked = it.channel.ask("/x", {}, z.strictObject({}), forever);
  const fetched = fetchThrough(it.channel, "/");
  it.drop();
  await expect(asked).rejects.toMatchObject({ code: "MACHINE_LOST" });
  await expect(fetched).rejects.toThrow();
  expect(it.channel.closed.reason).toMatchObject({ code: "MACHINE_LOST" });
  await expect(fetchThrough(it.channel, "/")).rejects.toMatchObject({ code: "MACHINE_LOST" });
});
