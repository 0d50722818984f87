import { vi } from "vitest";

/** Vitest's own patience, a second, is too short for a busy computer. */
const PATIENCE_MS = 60_000;

/** Asks again until `check` does not throw, and answers what it answers. */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, PATIENCE_MS);
}
