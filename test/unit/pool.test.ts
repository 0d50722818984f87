import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createLog } from "../../src/log.ts";
import { createAdmission } from "../../src/session/admission.ts";
import { createPool } from "../../src/session/pool.ts";
import type { OpenSandbox, Sandbox } from "../../src/session/sandbox.ts";

const options = { signal: new AbortController().signal, progress: () => undefined };

/** What a sandbox went through. The real ones are tested in e2e/. */
interface Life {
  readonly id: string;
  readonly end: AbortController;
  readonly events: string[];
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function stand({ maxSpares = 2, availableMiB = 100_000 } = {}) {
  const lives: Life[] = [];
  const openSandbox: OpenSandbox = async () => {
    const life: Life = { id: `mach-${lives.length}`, end: new AbortController(), events: [] };
    lives.push(life);
    const say = (event: string) => async () => void life.events.push(event);
    return {
      machineId: life.id,
      pooled: false,
      container: { run: () => Promise.reject(new Error("no such program")) },
      lost: life.end.signal,
      pause: say("pause"),
      resume: say("resume"),
      [Symbol.asyncDispose]: say("dispose"),
    } as unknown as Sandbox;
  };
  const memory = { availableMiB, outdated: "" };
  const admission = createAdmission({ needMiB: () => 1024, availableMiB: () => memory.availableMiB, maxOpening: 4 });
  const isCurrent = async (sandbox: Sandbox) => sandbox.machineId !== memory.outdated;
  const pool = createPool({ openSandbox, isCurrent, admission, log: createLog("silent"), maxSpares });
  return { pool, lives, memory };
}

const settle = () => vi.advanceTimersByTimeAsync(5_000);

test("nothing is made before it is asked for; then as many wait as were opened lately, paused", async () => {
  const { pool, lives } = stand();
  await settle();
  expect(lives).toHaveLength(0);
  expect((await pool.open(options)).pooled).toBe(false);
  await settle();
  expect(lives.map((it) => it.events)).toEqual([[], ["pause"]]);
  const second = await pool.open(options);
  expect(second).toMatchObject({ machineId: "mach-1", pooled: true });
  await settle();
  expect(lives.map((it) => it.events)).toEqual([[], ["pause", "resume"], ["pause"], ["pause"]]);
  await pool[Symbol.asyncDispose]();
  expect(lives.slice(2).every((it) => it.events.at(-1) === "dispose")).toBe(true);
  expect(lives.slice(0, 2).some((it) => it.events.includes("dispose"))).toBe(false);
});

test("each is handed out once, however many ask at the same time", async () => {
  const { pool } = stand();
  await pool.open(options);
  await settle();
  const ids = (await Promise.all([1, 2, 3, 4].map(() => pool.open(options)))).map((it) => it.machineId);
  expect(new Set(ids).size).toBe(4);
  await pool[Symbol.asyncDispose]();
});

test("a gateway that nobody uses keeps none ready", async () => {
  const { pool, lives } = stand();
  await pool.open(options);
  await settle();
  await vi.advanceTimersByTimeAsync(15 * 60_000);
  expect(lives[1]?.events).toEqual(["pause", "dispose"]);
  await pool[Symbol.asyncDispose]();
});

test("one that was lost while it waited is not handed out", async () => {
  const { pool, lives } = stand();
  await pool.open(options);
  await settle();
  lives[1]?.end.abort(new Error("killed"));
  const next = await pool.open(options);
  expect(next).toMatchObject({ machineId: "mach-2", pooled: false });
  expect(lives[1]?.events).toContain("dispose");
  await pool[Symbol.asyncDispose]();
});

test("one of an image that was replaced meanwhile is not handed out", async () => {
  const { pool, lives, memory } = stand();
  await pool.open(options);
  await settle();
  memory.outdated = "mach-1";
  expect(await pool.open(options)).toMatchObject({ machineId: "mach-2", pooled: false });
  expect(lives[1]?.events).toEqual(["pause", "dispose"]);
  await pool[Symbol.asyncDispose]();
});

test("none is made when memory is short, or when none are wanted", async () => {
  const short = stand();
  await short.pool.open(options);
  short.memory.availableMiB = 1_000;
  await settle();
  expect(short.lives).toHaveLength(1);
  await short.pool[Symbol.asyncDispose]();
  const off = stand({ maxSpares: 0 });
  await off.pool.open(options);
  await settle();
  expect(off.lives).toHaveLength(1);
  await off.pool[Symbol.asyncDispose]();
});
