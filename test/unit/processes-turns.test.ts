import { expect, test } from "vitest";
import { GatewayError } from "../../src/errors.ts";
import { Turns } from "../../src/session/turns.ts";

const never = new AbortController().signal;

test("work on one key is done in order, one at a time; other keys don't wait", async () => {
  const turns = new Turns();
  const events: string[] = [];
  const first = Promise.withResolvers<void>();
  const work = (name: string, until?: Promise<void>) => async () => {
    events.push(`${name} begins`);
    await until;
    events.push(`${name} ends`);
  };
  const all = [
    turns.take("/a", never, work("1", first.promise)),
    turns.take("/a", never, work("2")),
    turns.take("/b", never, work("3")),
  ];
  await all[2];
  expect(events).toEqual(["1 begins", "3 begins", "3 ends"]);
  first.resolve();
  await Promise.all(all);
  expect(events.slice(3)).toEqual(["1 ends", "2 begins", "2 ends"]);
});

test("work that fails lets the next one in", async () => {
  const turns = new Turns();
  const failed = turns.take("/a", never, () => Promise.reject(new GatewayError("DISK_FULL")));
  const next = turns.take("/a", never, async () => "done");
  await expect(failed).rejects.toMatchObject({ code: "DISK_FULL" });
  expect(await next).toBe("done");
});

test("who gives up waiting does nothing, and lets nobody past the one before", async () => {
  const turns = new Turns();
  const events: string[] = [];
  const first = Promise.withResolvers<void>();
  const caller = new AbortController();
  const holding = turns.take("/a", never, () => first.promise);
  const waiting = turns.take("/a", caller.signal, async () => void events.push("gave up"));
  const last = turns.take("/a", never, async () => void events.push("last"));
  caller.abort(new GatewayError("CANCELLED"));
  await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
  expect(events).toEqual([]);
  first.resolve();
  await Promise.all([holding, last]);
  expect(events).toEqual(["last"]);
});
