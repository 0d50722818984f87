import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { createDial } from "../../src/egress/dial.ts";
import { createFront } from "../../src/egress/http-front.ts";
import { createSecrets } from "../../src/egress/secret-cache.ts";
import { createSessionSecrets } from "../../src/egress/session-secrets.ts";
import { createStanding } from "../../src/egress/standing.ts";
import { Traffic } from "../../src/egress/traffic.ts";
import { createUpstream } from "../../src/egress/upstream.ts";
import { createLog } from "../../src/log.ts";
import type { Verdict } from "../../src/policy/verdict.ts";
import { openTcp } from "../support/egress.ts";
import { socketPair } from "../support/socket-pair.ts";

/** The front of a session, with a program's connection to it; everything is permitted, and counted. */
async function stand({ readsRequests = false } = {}) {
  const ending = new AbortController();
  onTestFinished(() => ending.abort());
  const egress = {
    hosts: { "api.test": "127.0.0.1" },
    private: [{ text: "api.test", pattern: { kind: "exact", host: "api.test" } as const }],
  };
  const dial = createDial({ egress: () => egress });
  const upstream = createUpstream({ dial, authorities: async () => [], ending: ending.signal });
  onTestFinished(() => upstream[Symbol.dispose]());
  const events: string[] = [];
  const log = createLog("silent");
  /** Told of each record before it is written. */
  const writing: { hold?: () => void } = {};
  const audit = {
    append: async (body: { kind: string; event?: string }) => {
      if (body.event === "connection-opened") writing.hold?.();
      events.push(body.event ?? body.kind);
    },
  };
  const traffic = new Traffic({ audit, sessionId: "ses-1", log, callsRunning: () => [] });
  const standing = createStanding(traffic);
  const asked: unknown[] = [];
  const permitted = { permitted: true, reason: "", policies: [] };
  const policy: { verdict: Verdict } = { verdict: permitted };
  const gate = {
    readsRequests: () => readsRequests,
    mayPermit: () => true,
    grants: [],
    connection: () => permitted,
    request: (_target: unknown, request: unknown) => {
      asked.push(request);
      return policy.verdict;
    },
  };
  const pace = { connection: async () => undefined, request: async () => undefined };
  const secrets = createSessionSecrets([], {
    values: createSecrets([], { signal: ending.signal, onFailure: () => undefined }),
    granted: () => [],
    ending: ending.signal,
  });
  const ports = {
    gate,
    traffic,
    ask: async () => ({ approved: false as const, why: "unreachable" as const, text: "" }),
    standing,
    pace,
    upstream,
    log,
    secrets,
    onExfiltration: () => undefined,
    onConnect: () => undefined,
    site: undefined,
  };
  const front = createFront(ports);
  onTestFinished(() => front[Symbol.dispose]());
  const connect = async (port: number): Promise<Duplex> => {
    const { near: ours, far: theirs } = await socketPair();
    onTestFinished(() => void ours.destroy());
    ours.on("error", () => undefined);
    front.serve(theirs, { host: "api.test", port, scheme: "http" });
    return ours;
  };
  return { connect, asked, events, standing, policy, writing };
}

const WEBSOCKET =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
const get = (port: number, headers = "Connection: close\r\n", path = "/") =>
  `GET ${path} HTTP/1.1\r\nHost: api.test:${port}\r\n${headers}\r\n`;

/** A server that answers the first bytes of each connection with these. */
const answering = (answer: string | undefined, received: string[] = []) =>
  openTcp((socket) => {
    socket.once("data", (chunk) => {
      received.push(chunk.toString("latin1"));
      if (answer !== undefined) socket.end(answer, "latin1");
    });
  });

test("what policy denies while its permission is put on record does not leave", async () => {
  const { connect, events, standing, policy, writing } = await stand();
  const received: string[] = [];
  await using server = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", received);
  writing.hold = () => {
    policy.verdict = { permitted: false, reason: "not any more", policies: [] };
    standing.review("the policy has changed");
  };
  const program = await connect(server.port);
  program.write(get(server.port));
  expect(await text(program).catch(() => "")).not.toContain("200");
  await expect.poll(() => events).toContain("connection-closed");
  expect(events).toContain("connection-refused");
  expect(received).toEqual([]);
});

test.each([
  [
    "a reason phrase that no header may hold",
    "HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok",
    /^HTTP\/1.1 (200 OK|502)/,
  ],
  ["a status that isn't one", "HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n", /^HTTP\/1.1 502/],
  [
    "another protocol, unasked",
    "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    /^HTTP\/1.1 502/,
  ],
  ["no HTTP", "SSH-2.0-x\r\n\r\n", /^HTTP\/1.1 502/],
  ["nothing", "", /^HTTP\/1.1 502/],
  ["an answer cut short", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", /^HTTP\/1.1 200 OK/],
])("%s ends its request and nothing else", async (_name, answer, expected) => {
  const { connect } = await stand();
  await using server = await answering(answer);
  const program = await connect(server.port);
  program.write(get(server.port));
  expect(await text(program).catch(() => "HTTP/1.1 200 OK")).toMatch(expected);
});

test("a program that goes away while an upgrade is answered ends nothing else", async () => {
  const { connect, events } = await stand();
  await using server = await openTcp((socket) => {
    socket.once("data", () =>
      setTimeout(() => socket.write("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), 50),
    );
  });
  for (const wait of [0, 20, 45, 50, 55, 80]) {
    const program = await connect(server.port);
    program.write(get(server.port, WEBSOCKET));
    await sleep(wait);
    program.destroy();
  }
  await expect.poll(() => events.filter((it) => it === "connection-closed").length).toBeGreaterThan(2);
  await sleep(100);
  const opened = events.filter((it) => it === "connection-opened").length;
  expect(events.filter((it) => it === "connection-closed")).toHaveLength(opened);
});

test("what a program has given up holds no connection to the server", async () => {
  const { connect } = await stand();
  let open = 0;
  await using server = await openTcp((socket) => {
    open += 1;
    socket.resume().on("end", () => socket.end());
    socket.on("close", () => {
      open -= 1;
    });
  });
  const programs = await Promise.all(Array.from({ length: 20 }, () => connect(server.port)));
  for (const [index, it] of programs.entries()) it.write(get(server.port, index % 2 ? WEBSOCKET : ""));
  await expect.poll(() => open).toBe(20);
  for (const it of programs) it.destroy();
  await expect.poll(() => open).toBe(0);
});

test("requests that stand behind another are so many at most, and one after the other", async () => {
  const { connect, asked } = await stand();
  await using server = await answering(undefined);
  const program = await connect(server.port);
  program.write(get(server.port, "").repeat(2_000));
  await new Promise((resolve) => program.once("close", resolve));
  expect(asked.length).toBeLessThan(3);
});

test("only WebSocket is switched to; what else is asked for is an ordinary request", async () => {
  const { connect } = await stand();
  const received: string[] = [];
  await using server = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", received);
  for (const headers of [
    "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "Connection: Upgrade, close\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n",
    "Connection: Upgrade, close\r\nUpgrade: websocket\r\n",
  ]) {
    const program = await connect(server.port);
    program.write(get(server.port, headers));
    expect(await text(program)).toContain("200 OK");
  }
  expect(received.join("")).not.toMatch(/upgrade|http2-settings/i);
});

test.each(["//public/x", "/public#/../admin", "/public/%252e%252e/admin", "/public/..%20/admin", "/public/admin;x=1"])(
  "%s is refused where requests are read, and goes its way where they are not",
  async (path) => {
    await using server = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (const [readsRequests, status] of [
      [true, "400"],
      [false, "200"],
    ] as const) {
      const { connect } = await stand({ readsRequests });
      const program = await connect(server.port);
      program.write(get(server.port, undefined, path));
      expect(await text(program)).toContain(`HTTP/1.1 ${status}`);
    }
  },
);

test("headers by which a request overrides itself are refused where requests are read", async () => {
  const { connect, asked } = await stand({ readsRequests: true });
  await using server = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  for (const it of ["X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin", "X-Rewrite-Url: /admin"]) {
    const program = await connect(server.port);
    program.write(get(server.port, `Connection: close\r\n${it}\r\n`));
    expect(await text(program)).toContain("HTTP/1.1 400");
  }
  expect(asked).toEqual([]);
});
