import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifying } from "../../src/packages/verifying.ts";
import { openNpmRegistry, profileFor, type TestRegistry } from "../support/npm-registry.ts";
import { openTestPackages } from "../support/packages.ts";

/** What registries, and programs of a sandbox, may try to fill the gateway's memory or to keep it busy. */
let registry: TestRegistry;
beforeAll(async () => {
  registry = await openNpmRegistry();
});
afterAll(async () => registry?.[Symbol.asyncDispose]());

const MIB = 2 ** 20;
const BASE = "http://packages.glovebox.internal/npm/";
const profile = () => profileFor(registry);

test("a file that comes byte by byte takes the memory of its bytes", async () => {
  const content = Buffer.alloc(MIB, 7);
  const promised = [{ algorithm: "sha256", hex: createHash("sha256").update(content).digest("hex") }] as const;
  const check = verifying(promised, MIB, async () => undefined);
  const startedMs = performance.now();
  let highest = 0;
  const before = process.memoryUsage().arrayBuffers;
  const received: Buffer[] = [];
  check.on("end", () => undefined);
  for (let at = 0; at < MIB; at += 1) {
    check.write(content.subarray(at, at + 1));
    if (at % 65_536 !== 0) continue;
    highest = Math.max(highest, process.memoryUsage().arrayBuffers);
    await new Promise(setImmediate);
  }
  check.end();
  for await (const piece of check) received.push(piece as Buffer);
  expect(Buffer.concat(received).equals(content)).toBe(true);
  expect((highest - before) / MIB).toBeLessThan(64);
  expect(performance.now() - startedMs).toBeLessThan(60_000);
});

test("versions without number are refused, and thousands are decided in turns with what others wait for", async () => {
  const said = (name: string, count: number) => {
    const numbers = Array.from({ length: count }, (_, at) => `1.0.${at}`);
    const manifests = numbers.map((version) => [version, { version, dist: { tarball: `${registry.url}x` } }] as const);
    const tags = Object.fromEntries(numbers.map((it) => [`v${it}`, it]));
    const document = {
      name,
      versions: Object.fromEntries(manifests),
      "dist-tags": { ...tags, latest: `1.0.${count}` },
    };
    const text = JSON.stringify(document);
    registry.at(`/${name}`, (_, response) => response.end(text));
  };
  said("thousands", 4_000);
  said("numberless", 400_000);
  await using packages = await openTestPackages({ profile: profile() });
  let turns = 0;
  const others = setInterval(() => {
    turns += 1;
  }, 1);
  expect((await packages.get(`${BASE}thousands`)).status).toBe(403);
  clearInterval(others);
  expect(turns).toBeGreaterThan(15);
  const { status, body } = await packages.get(`${BASE}numberless`);
  expect(status).toBe(502);
  expect(body?.toString()).toContain("has more than 20000 entries");
});

test("what a program asks for and does not read waits, and all of it comes when it is read", async () => {
  await registry.publish("large", { version: "1.0.0", manifest: { description: "x".repeat(2 * MIB) } });
  await using packages = await openTestPackages({ profile: profile() });
  const { site } = packages.site;
  await site.ready;
  const path = "/npm/large";
  const target = { host: "packages.glovebox.internal", port: 80, scheme: "http", path } as const;
  const gone = new AbortController();
  let answered = 0;
  const ask = async (signal: AbortSignal) => {
    const answer = await site.answer(target, { method: "GET", accept: "*/*" }, signal);
    answered += 1;
    return answer;
  };
  const unread = Array.from({ length: 12 }, () => ask(gone.signal));
  const others = Array.from({ length: 30 }, () => ask(new AbortController().signal));
  const whole = others.map(async (it) => {
    const { body, headers } = await it;
    const read = await buffer(body as Readable);
    expect(headers["content-length"]).toBe(String(read.length));
    return read.length;
  });
  const impatient = new AbortController();
  const given = ask(impatient.signal);
  impatient.abort(new Error("enough"));
  await expect(given).rejects.toThrow("enough");
  await Promise.all(unread);
  await sleep(300);
  expect(answered).toBe(12);
  gone.abort();
  for (const bytes of await Promise.all(whole)) expect(bytes).toBeGreaterThan(2 * MIB);
  expect((await packages.get(`${BASE}large`)).status).toBe(200);
});

test("a document that comes byte by byte takes the memory of its bytes", async () => {
  const BYTES = 3 * MIB;
  registry.at("/drops", (_, response) => {
    response.writeHead(200, { "content-type": "application/json", "transfer-encoding": "chunked" });
    const drops = Buffer.from("1\r\n \r\n".repeat(65_536));
    let left = BYTES / 65_536;
    const more = () => {
      while (left > 0) {
        left -= 1;
        if (!response.socket?.write(drops)) return void response.socket?.once("drain", more);
      }
      response.socket?.end("0\r\n\r\n");
    };
    response.flushHeaders();
    more();
  });
  await using packages = await openTestPackages({ profile: profile() });
  const before = process.memoryUsage().heapUsed;
  let highest = 0;
  const watching = setInterval(() => {
    highest = Math.max(highest, process.memoryUsage().heapUsed);
  }, 20);
  const { status } = await packages.get(`${BASE}drops`);
  clearInterval(watching);
  expect(status).toBe(502);
  expect((highest - before) / MIB).toBeLessThan(200);
});
