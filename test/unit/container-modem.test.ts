import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, type RequestListener } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { startContainer } from "../../src/container/docker.ts";
import { type Call, guestModem } from "../../src/container/modem.ts";
import type { Machine } from "../../src/engine/engine.ts";
import { profileSchema } from "../../src/policy/profile.ts";

interface TestEngine extends AsyncDisposable {
  readonly agent: Agent;
  readonly url: string;
  readonly requests: IncomingMessage[];
  dial(call: Partial<Call>): Promise<unknown>;
}

/** An engine that answers as a test wants, as an agent who owns its machine can make it answer. */
async function engine(answer: RequestListener): Promise<TestEngine> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  server.on("checkContinue", (request, response) => {
    requests.push(request);
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const agent = new Agent();
  agent.createConnection = () => connect(port, "127.0.0.1");
  const modem = guestModem(agent);
  return {
    agent,
    url: `http://127.0.0.1:${port}/secret`,
    requests,
    dial: (call) =>
      new Promise((resolve, reject) => {
        modem.dial({ path: "/x", method: "GET", ...call }, (error, result) =>
          error ? reject(error) : resolve(result),
        );
      }),
    [Symbol.asyncDispose]: async () => {
      agent.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

test("options become the query or the body, and the signal neither", async () => {
  await using it = await engine((request, response) => request.pipe(response));
  const abortSignal = new AbortController().signal;
  const options = { path: "/a b&c\n", flag: true, filters: { event: ["oom"] }, absent: undefined, abortSignal };
  expect(await text((await it.dial({ path: "/x?", options, isStream: true })) as Readable)).toBe("");
  const url = new URL(it.requests[0]?.url ?? "", "http://engine");
  expect(Object.fromEntries(url.searchParams)).toEqual({
    path: "/a b&c\n",
    flag: "true",
    filters: '{"event":["oom"]}',
  });
  expect(await it.dial({ path: "/x?", method: "POST", options: { Cmd: ["a"], abortSignal } })).toEqual({ Cmd: ["a"] });
  expect(it.requests[1]?.url).toBe("/x");
});

test("a redirect is refused, and nobody asks where it leads [G1]", async () => {
  await using victim = await engine((_request, response) => response.end("{}"));
  await using it = await engine((_request, response) => response.writeHead(302, { Location: victim.url }).end());
  await expect(it.dial({})).rejects.toMatchObject({ name: "EngineRefusal", status: 302 });
  expect(victim.requests).toEqual([]);
});

test("an endless answer is cut off, whether it is a success or a refusal [G13]", async () => {
  await using it = await engine((request, response) => {
    response.writeHead(request.url === "/fails" ? 500 : 200);
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, "x")));
    };
    response.on("drain", more);
    more();
  });
  await expect(it.dial({})).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
  await expect(it.dial({ path: "/fails", isStream: true })).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
});

test("a refusal has its status and words that can be printed", async () => {
  await using it = await engine((_request, response) => {
    response.writeHead(409).end(JSON.stringify({ message: "no \u001b[31mway" }));
  });
  await expect(it.dial({})).rejects.toMatchObject({ name: "EngineRefusal", status: 409, message: "no \ufffd[31mway" });
});

test("what is not JSON is a violation", async () => {
  await using it = await engine((_request, response) => response.end("<html>"));
  await expect(it.dial({})).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
});

test("an engine that never answers is left when the signal says so, while waiting and while reading", async () => {
  await using it = await engine((request, response) => {
    if (request.url === "/begins") response.writeHead(200).write("{");
  });
  for (const path of ["/silent", "/begins"]) {
    await expect(it.dial({ path, abortSignal: AbortSignal.timeout(100) })).rejects.toThrow();
  }
});

test("a body is sent only when it is asked for", async () => {
  await using it = await engine((request, response) => {
    if (request.url === "/no") {
      response.writeHead(403).end(JSON.stringify({ message: "read-only" }));
      return;
    }
    response.writeContinue();
    request.pipe(response);
  });
  let read = 0;
  const body = () =>
    Readable.from(
      (function* () {
        for (read = 0; read < 100; read += 1) yield Buffer.from(" ".repeat(10_000));
        yield Buffer.from("{}");
      })(),
    );
  await expect(it.dial({ path: "/no", method: "PUT", file: body() })).rejects.toMatchObject({ status: 403 });
  expect(read).toBeLessThan(100);
  expect(await it.dial({ path: "/yes", method: "PUT", file: body() })).toEqual({});
  expect(read).toBe(100);
});

test.each(["null", "", "[]", '{"Id":"../../version"}', '{"Id":7}'])(
  "an engine that answers %j to everything fails the opening and nothing else",
  async (answer) => {
    await using it = await engine((_request, response) => response.writeHead(201).end(answer));
    const machine: Machine = {
      id: "mach-test",
      facts: { engine: "test", engineVersion: "0", level: "microvm", acceleration: "none", start: "cold", pid: 1 },
      guest: { bootId: "", kernelRelease: "" },
      connect: () => {
        throw new Error("not of this test");
      },
      dockerAgent: it.agent,
      lost: new AbortController().signal,
      condemn: () => undefined,
      observe: async () => ({ isAlive: true, weaker: [] }),
      trust: async () => undefined,
      signal: async () => undefined,
      pause: async () => undefined,
      resume: async () => undefined,
      save: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
    const spec = { hostname: "sandbox-1", image: `sha256:${"0".repeat(64)}`, profile: profileSchema.parse({}) };
    const opening = startContainer(spec, machine, new AbortController().signal);
    await expect(opening).rejects.toMatchObject({
      name: "GatewayError",
      code: expect.stringMatching(/CHANNEL_VIOLATION|CONTAINER_FAILED/),
    });
  },
);
