import { expect } from "vitest";

/** Of what is printed without fractions, and of two computers' rounding. */
const SLACK_S = 2;

/** Asks another computer for its time, in seconds since 1970, and expects it to be between before and after, however long the answer takes. */
export async function expectRightTime(ask: () => Promise<number>): Promise<void> {
  const before = Date.now() / 1000;
  const told = await ask();
  expect(told).toBeGreaterThan(before - SLACK_S);
  expect(told).toBeLessThan(Date.now() / 1000 + SLACK_S);
}
