import type { Usage, UsageFact } from "../policy/usage.ts";

/** What is counted, each in whole units of its name. */
export const COUNTERS = ["calls", "runMilliseconds", "egressBytes", "packages"] as const;
export type Counter = (typeof COUNTERS)[number];

const WINDOW_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;
export type Window = keyof typeof WINDOW_MS;
export const WINDOWS: readonly Window[] = ["minute", "hour", "day"];

/** A window is made of so many slots, and reaches into one more: it covers a sixtieth more time than its name says, never less. */
const SLOTS = 60;

interface Measure {
  readonly counter: Counter;
  readonly window: Window;
  /** How many of the counter make one of the fact; what is begun counts whole. */
  readonly unit: number;
}

/** How each fact is counted. */
export const MEASURES: Readonly<Record<UsageFact, Measure>> = {
  callsLastMinute: { counter: "calls", window: "minute", unit: 1 },
  callsLastHour: { counter: "calls", window: "hour", unit: 1 },
  callsLastDay: { counter: "calls", window: "day", unit: 1 },
  runSecondsLastHour: { counter: "runMilliseconds", window: "hour", unit: 1_000 },
  runSecondsLastDay: { counter: "runMilliseconds", window: "day", unit: 1_000 },
  egressBytesLastHour: { counter: "egressBytes", window: "hour", unit: 1 },
  egressBytesLastDay: { counter: "egressBytes", window: "day", unit: 1 },
  packagesLastHour: { counter: "packages", window: "hour", unit: 1 },
  packagesLastDay: { counter: "packages", window: "day", unit: 1 },
};

/** The windows in which a counter is summed. */
export function windowsOf(counter: Counter): readonly Window[] {
  return WINDOWS.filter((window) =>
    Object.values(MEASURES).some((it) => it.counter === counter && it.window === window),
  );
}

/** Where the slot begins that a moment lies in. Milliseconds since 1970. */
export function slotAt(window: Window, atMs: number): number {
  const width = WINDOW_MS[window] / SLOTS;
  return Math.floor(atMs / width) * width;
}

/** Where the oldest slot begins that the window which ends now reaches into. */
export function oldestSlot(window: Window, nowMs: number): number {
  return slotAt(window, nowMs - WINDOW_MS[window]);
}

/** The first moment at which a slot is outside of the window that ends then. */
export function leavesAt(window: Window, slotMs: number): number {
  return slotMs + WINDOW_MS[window] / SLOTS + WINDOW_MS[window];
}

/** The fact that so much of its counter comes to. */
export function factOf(fact: UsageFact, amount: number): number {
  return Math.ceil(amount / MEASURES[fact].unit);
}

/** All facts, by what `amountOf` has of each one's counter and window. */
export function usageOf(amountOf: (measure: Measure) => number): Usage {
  const facts = Object.entries(MEASURES) as [UsageFact, Measure][];
  return Object.fromEntries(facts.map(([fact, measure]) => [fact, factOf(fact, amountOf(measure))])) as Usage;
}
