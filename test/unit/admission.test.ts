import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createAdmission } from "../../src/session/admission.ts";

const signal = new AbortController().signal;
const quiet = () => undefined;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function host(availableMiB: number, maxOpening = 8) {
  const memory = { availableMiB };
  const admission = createAdmission({ needMiB: () => 1024, availableMiB: () => memory.availableMiB, maxOpening });
  return { memory, admission };
}

test("who comes first is served first, and hears its place meanwhile", async () => {
  const { admission } = host(100_000, 1);
  const first = await admission.admit({ signal, progress: quiet });
  const order: string[] = [];
  const said: string[] = [];
  const waiting = ["a", "b", "c"].map(async (name) => {
    const place = await admission.admit({ signal, progress: (it) => name === "c" && said.push(it) });
    order.push(name);
    place[Symbol.dispose]();
  });
  expect(admission.tryAdmit()).toBeUndefined();
  first[Symbol.dispose]();
  await Promise.all(waiting);
  expect(order).toEqual(["a", "b", "c"]);
  expect(said[0]).toContain("place 3");
  using after = admission.tryAdmit();
  expect(after).toBeDefined();
});

test("a sandbox that is being made counts with all that it may need", async () => {
  const { admission } = host(1024 * 2 + 512);
  using _one = await admission.admit({ signal, progress: quiet });
  using _two = admission.tryAdmit();
  expect(_two).toBeDefined();
  expect(admission.tryAdmit()).toBeUndefined();
});

test("memory that comes free is found without anybody saying so; a place that was given up is free again", async () => {
  const { memory, admission } = host(100);
  const waiting = admission.admit({ signal, progress: quiet });
  const leaving = new AbortController();
  const left = admission.admit({ signal: leaving.signal, progress: quiet });
  leaving.abort(new Error("gone"));
  await expect(left).rejects.toThrow("gone");
  memory.availableMiB = 1024 + 512;
  await vi.advanceTimersByTimeAsync(500);
  (await waiting)[Symbol.dispose]();
  using next = admission.tryAdmit();
  expect(next).toBeDefined();
});

test("a host without room says so in the end, with its numbers", async () => {
  vi.useRealTimers();
  const { admission } = host(100);
  const timeout = vi.spyOn(AbortSignal, "timeout").mockReturnValue(AbortSignal.abort(new Error("late")));
  const refused = admission.admit({ signal, progress: quiet });
  await expect(refused).rejects.toMatchObject({ code: "HOST_BUSY", message: expect.stringContaining("100 MiB") });
  timeout.mockRestore();
});
