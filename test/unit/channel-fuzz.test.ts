import { once } from "node:events";
import { request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { openChannel } from "../../src/engine/channel.ts";
import { socketPair } from "../support/socket-pair.ts";

const forever = new AbortController().signal;

function frame(type: number, flags: number, stream: number, payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length & 0xffffff, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

const SETTINGS = Buffer.concat([frame(4, 0, 0, Buffer.alloc(0)), frame(4, 1, 0, Buffer.alloc(0))]);
/** `:status: 200` from the static table. */
const OK = Buffer.from([0x88]);

const anyFrame = fc
  .record({
    type: fc.integer({ min: 0, max: 16 }),
    flags: fc.constantFrom(0, 1, 4, 5, 8, 32, 255),
    stream: fc.constantFrom(0, 1, 2, 3, 4, 5, 0x7fffffff, 0xffffffff),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.constant(Uint8Array.from(OK)),
      fc.constant(new TextEncoder().encode('{"a":1}')),
    ),
    lie: fc.option(fc.integer({ min: 0, max: 0xffffff }), { freq: 8 }),
  })
  .map(({ type, flags, stream, payload, lie }) =>
    frame(type, flags, stream, Buffer.from(payload), lie ?? payload.length),
  );

const anyBytes = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));

/** Mostly a guest that begins well, sometimes one that never does; the rest is frames, noise, or a real answer with a byte changed. */
const conversation = fc
  .tuple(fc.boolean(), fc.array(fc.oneof({ weight: 4, arbitrary: anyFrame }, anyBytes), { maxLength: 12 }))
  .map(([begins, parts]) => Buffer.concat([begins ? SETTINGS : Buffer.alloc(0), ...parts]));

const realAnswer = Buffer.concat([
  SETTINGS,
  frame(1, 4, 1, OK),
  frame(0, 1, 1, Buffer.from('{"a":1}')),
  frame(1, 4, 3, OK),
  frame(0, 0, 3, Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npong")),
  frame(0, 1, 3, Buffer.alloc(0)),
]);
const mutated = fc
  .array(fc.tuple(fc.nat(realAnswer.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 })
  .map((changes) => {
    const bytes = Buffer.from(realAnswer);
    for (const [place, value] of changes) bytes.writeUInt8(bytes.readUInt8(place) ^ value, place);
    return bytes;
  });

async function survives(bytes: Buffer): Promise<void> {
  await using pair = await socketPair();
  pair.far.on("error", () => undefined);
  pair.far.resume();
  using channel = openChannel(pair.near);
  // How it ends is the guest's to decide: an answer, a refusal, a loss.
  const asked = channel.ask("/x", {}, z.strictObject({ a: z.int() }), forever).catch(() => undefined);
  const request = httpRequest({ agent: channel.dockerAgent, path: "/" }, (response) => {
    response.on("error", () => undefined);
    response.resume();
  });
  request.on("error", () => undefined);
  request.end();
  pair.far.end(bytes);
  if (!channel.closed.aborted) await once(channel.closed, "abort");
  expect(["CHANNEL_VIOLATION", "MACHINE_LOST"]).toContain(channel.closed.reason.code);
  await asked;
}

test("a well-behaved guest is understood", async () => {
  await using pair = await socketPair();
  using channel = openChannel(pair.near);
  pair.far.write(realAnswer);
  expect(await channel.ask("/x", {}, z.strictObject({ a: z.int() }), forever)).toEqual({ a: 1 });
});

test("whatever a guest sends ends in CHANNEL_VIOLATION or MACHINE_LOST", async () => {
  await fc.assert(fc.asyncProperty(fc.oneof(conversation, mutated, anyBytes), survives), { numRuns: 600 });
});

const floods: Record<string, Buffer> = {
  pings: frame(6, 0, 0, Buffer.alloc(8)),
  settings: frame(4, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])),
  "window updates": frame(8, 0, 0, Buffer.from([0, 0, 0, 1])),
  "unknown frames": frame(0x4f, 0, 0, Buffer.alloc(1000)),
  "empty data": frame(0, 0, 1, Buffer.alloc(0)),
  "padded data": frame(0, 8, 1, Buffer.from([10, ...Buffer.alloc(10)])),
  "interim responses": frame(1, 4, 1, Buffer.concat([Buffer.from([0x08, 3]), Buffer.from("100")])),
  continuations: frame(9, 0, 1, Buffer.from([0x00, 1, 0x61, 1, 0x62])),
  "responses without a request": frame(1, 5, 99, OK),
  promises: frame(5, 4, 1, Buffer.from([0, 0, 0, 2, 0x88])),
  priorities: frame(2, 0, 1, Buffer.alloc(5)),
};

test.each(Object.entries(floods))(
  "a flood of %s neither fills the memory nor stops the gateway",
  async (name, unit) => {
    await using pair = await socketPair();
    pair.far.on("error", () => undefined);
    pair.far.resume();
    using channel = openChannel(pair.near);
    const asked = channel.ask("/x", {}, z.strictObject({}), forever).catch(() => undefined);
    pair.far.write(SETTINGS);
    if (name === "continuations") pair.far.write(frame(1, 0, 1, OK));
    else if (name.includes("data")) pair.far.write(frame(1, 4, 1, OK));
    const before = process.memoryUsage().rss;
    await flood(pair.far, unit, 16 * 1024 * 1024);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    pair.far.destroy();
    if (!channel.closed.aborted) await once(channel.closed, "abort");
    await asked;
  },
);

async function flood(socket: Socket, unit: Buffer, total: number): Promise<void> {
  const chunk = Buffer.concat(Array.from({ length: Math.ceil(65_536 / unit.length) }, () => unit));
  for (let sent = 0; sent < total && !socket.destroyed; sent += chunk.length) {
    if (!socket.write(chunk)) await drained(socket);
  }
}

/** Until the socket takes more, or is closed. */
async function drained(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("drain", resolve).once("close", resolve);
  await promise;
  socket.off("drain", resolve).off("close", resolve);
}
