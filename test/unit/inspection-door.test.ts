import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import type { InspectedSession } from "../../src/session/inspection.ts";
import { askGateways } from "../../src/session/inspection-ask.ts";
import { type DoorPorts, openInspectionDoor } from "../../src/session/inspection-door.ts";
import { inspectionDirectory, socketIn } from "../../src/session/inspection-place.ts";

const soon = () => AbortSignal.timeout(30_000);
const log = createLog("silent");
const SEEN: InspectedSession = { sessionId: "ses-1", state: "inspected", weaker: [] };
const ASLEEP: InspectedSession = { sessionId: "ses-2", state: "hibernated", weaker: [] };

/** A state directory with one gateway's own in it. */
function gatewayHome(below = ""): { readonly state: string; readonly home: string } {
  const outer = mkdtempSync(join(tmpdir(), "glovebox-door-"));
  onTestFinished(() => rmSync(outer, { recursive: true, force: true }));
  const state = join(outer, below);
  const home = join(state, "gateways", "gw-1");
  mkdirSync(home, { recursive: true, mode: 0o711 });
  return { state, home };
}

const door = (home: string, inspect: DoorPorts["inspect"]) => openInspectionDoor({ home, inspect, log });

test.each([
  ["", "an ordinary path"],
  ["x".repeat(200), "a path that no socket's address holds"],
])("who connects has the sessions inspected, and is told what was seen: %#, %s", async (below) => {
  const { state, home } = gatewayHome(below);
  let asked = 0;
  await using _door = await door(home, async () => {
    asked += 1;
    return [SEEN, ASLEEP];
  });
  expect(await askGateways(state, soon())).toEqual([{ gateway: "gw-1", sessions: [SEEN, ASLEEP] }]);
  expect(asked).toBe(1);
});

test("only this user and root reach the socket, and it is gone with the gateway", async () => {
  const { state, home } = gatewayHome();
  const directory = inspectionDirectory(home);
  const opened = await door(home, async () => []);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, "socket")).mode & 0o777).toBe(0o600);
  await opened[Symbol.asyncDispose]();
  expect(existsSync(join(directory, "socket"))).toBe(false);
  expect(await askGateways(state, soon())).toMatchObject([
    { sessions: [], problem: expect.stringContaining("takes no questions") },
  ]);
});

test("one inspection at a time: who asks meanwhile is told what that one finds", async () => {
  const { state, home } = gatewayHome();
  const looked = Promise.withResolvers<readonly InspectedSession[]>();
  let asked = 0;
  await using _door = await door(home, () => {
    asked += 1;
    return looked.promise;
  });
  const answers = [1, 2, 3].map(() => askGateways(state, soon()));
  await expect.poll(() => asked).toBe(1);
  const path = join(inspectionDirectory(home), "socket");
  const late = connect({ path });
  await once(late, "connect");
  looked.resolve([SEEN]);
  expect(await Promise.all(answers)).toEqual([1, 2, 3].map(() => [{ gateway: "gw-1", sessions: [SEEN] }]));
  await text(late);
  expect(asked).toBeLessThanOrEqual(2);
});

test("nothing that a client sends is read, and who hangs up harms nobody", async () => {
  const { state, home } = gatewayHome();
  const looked = Promise.withResolvers<readonly InspectedSession[]>();
  await using _door = await door(home, () => looked.promise);
  const path = join(inspectionDirectory(home), "socket");
  const rude = connect({ path });
  const gone = connect({ path });
  for (const it of [rude, gone]) {
    it.on("error", () => undefined);
    await once(it, "connect");
  }
  rude.write("GET / HTTP/1.1\r\n\r\n");
  const closed = once(rude, "close");
  rude.resume();
  await closed;
  gone.destroy();
  const answer = askGateways(state, soon());
  looked.resolve([SEEN]);
  expect(await answer).toEqual([{ gateway: "gw-1", sessions: [SEEN] }]);
});

test("an inspection that fails is told of, and the next one may succeed", async () => {
  const { state, home } = gatewayHome();
  let fails = true;
  await using _door = await door(home, async () => {
    if (fails) throw new GatewayError("AUDIT_UNWRITABLE", "the disk is full");
    return [SEEN];
  });
  expect(await askGateways(state, soon())).toEqual([
    { gateway: "gw-1", sessions: [], problem: "AUDIT_UNWRITABLE: the disk is full" },
  ]);
  fails = false;
  expect(await askGateways(state, soon())).toEqual([{ gateway: "gw-1", sessions: [SEEN] }]);
});

test("a gateway that ends while it inspects hangs up, and waits for nobody", async () => {
  const { state, home } = gatewayHome();
  const begun = Promise.withResolvers<void>();
  const opened = await door(home, (signal) => {
    begun.resolve();
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  const answer = askGateways(state, soon());
  await begun.promise;
  await opened[Symbol.asyncDispose]();
  expect(await answer).toMatchObject([{ sessions: [], problem: expect.stringMatching(/hung up|ECONNRESET/) }]);
});

test("a gateway that was killed is left out; one that does not answer, or not as one does, is named", async () => {
  const { state } = gatewayHome();
  const signal = new AbortController();
  const places = ["gw-dead", "gw-silent", "gw-strange", ".gw-unborn"].map((name) => {
    const directory = inspectionDirectory(join(state, "gateways", name));
    mkdirSync(directory, { recursive: true });
    return directory;
  });
  const [dead = "", silent = "", strange = ""] = places;
  const lines = `${JSON.stringify(SEEN)}\n{"sessions":1,"more":"\u001b[2J"}\n`;
  let waiting = false;
  for (const [directory, answer] of [
    [silent, undefined],
    [strange, lines],
  ] as const) {
    const server = createServer((socket) => {
      if (answer !== undefined) return void socket.end(answer);
      waiting = true;
      socket.resume();
      socket.on("error", () => undefined);
    });
    server.listen(join(directory, "socket"));
    await once(server, "listening");
    onTestFinished(() => void server.close());
  }
  leaveSocket(join(dead, "socket"));
  const asking = askGateways(state, signal.signal);
  await expect.poll(() => waiting).toBe(true);
  signal.abort(new Error("enough"));
  const asked = await asking;
  expect(Object.fromEntries(asked.map((it) => [it.gateway, it.problem]))).toEqual({
    "gw-1": "it takes no questions: it starts, or ends, or is older",
    "gw-silent": "it did not answer in time",
    "gw-strange": expect.stringMatching(/can't be read|in time/),
  });
});

/** As a process leaves one that was killed. */
function leaveSocket(path: string): void {
  const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script]);
  expect(statSync(path).isSocket()).toBe(true);
}

test("without a state directory nobody is asked, and a path that is too long has a short one where there are any", async () => {
  const { home } = gatewayHome("y".repeat(200));
  expect(await askGateways(join(home, "nothing"), soon())).toEqual([]);
  await using short = await socketIn(home);
  expect(short.path).toMatch(/^\/proc\/self\/fd\/\d+\/socket$/);
});

test("a gateway that can have no socket says so, and goes on", async () => {
  const { state, home } = gatewayHome();
  mkdirSync(inspectionDirectory(home));
  await using _door = await door(home, async () => [SEEN]);
  expect(await askGateways(state, soon())).toMatchObject([{ sessions: [], problem: expect.any(String) }]);
});
