import { randomBytes } from "node:crypto";

/**
 * A new identifier: `prefix-` + 9 characters of base-36 milliseconds + 16 hex digits of randomness.
 * Sorts by time of creation, is safe in a file name, and can't be guessed (64 random bits).
 */
export function newId(prefix: "gw" | "ses" | "call" | "proc" | "mach" | "snap" | "tpl" | "chain" | "conn"): string {
  const time = Date.now().toString(36).padStart(9, "0");
  return `${prefix}-${time}${randomBytes(8).toString("hex")}`;
}
