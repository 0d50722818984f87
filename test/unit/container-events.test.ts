import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { followEvents, oomKilledSince } from "../../src/container/events.ts";

function follow() {
  const stream = new PassThrough();
  const ended = Promise.withResolvers<unknown>();
  const events = followEvents(stream, ended.resolve);
  const say = (Action: string, Attributes: Record<string, string> = {}) =>
    stream.write(`${JSON.stringify({ Type: "container", Action, Actor: { ID: "c", Attributes }, scope: "local" })}\n`);
  return { stream, events, say, ended: ended.promise };
}

test("an exec's end is told to whoever asked before", async () => {
  const { events, say } = follow();
  const first = events.execEnded("e1");
  const second = events.execEnded("e2");
  say("exec_die", { execID: "e2", exitCode: "3" });
  say("exec_die", { execID: "unknown", exitCode: "9" });
  say("exec_die", { execID: "e1", exitCode: "0" });
  expect(await Promise.all([first, second])).toEqual([0, 3]);
});

test("events are read however they are cut", async () => {
  const { stream, events } = follow();
  const ended = events.execEnded("é");
  const line = Buffer.from('{"Action":"exec_die","Actor":{"Attributes":{"execID":"é","exitCode":"7"}}}\n');
  for (const byte of line) stream.write(Buffer.from([byte]));
  expect(await ended).toBe(7);
});

test("an out-of-memory kill counts for whoever started before it, also when it is reported late", async () => {
  const { events, say } = follow();
  expect(await oomKilledSince(events, events.oomKills(), 1)).toBe(false);
  const late = oomKilledSince(events, 0, 10_000);
  say("oom");
  expect(await late).toBe(true);
  expect(await oomKilledSince(events, 0, 1)).toBe(true);
  expect(await oomKilledSince(events, 1, 1)).toBe(false);
});

test("the container's end ends it all, with the reason", async () => {
  const { say, ended } = follow();
  say("die", { exitCode: "137" });
  expect(await ended).toMatchObject({ code: "CONTAINER_FAILED", message: expect.stringContaining("first process") });
});

test("a stream that ends or breaks is the end too", async () => {
  const cleanly = follow();
  cleanly.stream.end();
  expect(await cleanly.ended).toBeUndefined();
  const broken = follow();
  const reset = new Error("reset");
  broken.stream.destroy(reset);
  expect(await broken.ended).toBe(reset);
});

test.each([
  ["no JSON", "hello\n"],
  ["another shape", "[1]\n"],
  ["an exit code that is none", '{"Action":"exec_die","Actor":{"Attributes":{"execID":"e","exitCode":"1e9"}}}\n'],
  ["an endless line", "x".repeat(100_000)],
])("%s is a violation", async (_name, bytes) => {
  const { stream, ended } = follow();
  stream.write(bytes);
  expect(await ended).toMatchObject({ code: "CHANNEL_VIOLATION" });
});
