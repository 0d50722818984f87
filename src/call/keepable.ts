import { createHash } from "node:crypto";
import type { Json } from "../audit/record.ts";

const MAX_KEPT_CHARS = 4_096;

/**
 * What the audit log keeps of arguments that nobody has checked: themselves when they are small JSON, otherwise their size and digest; of
 * an environment the names, as for every other call.
 */
export function keepable(value: unknown): Json {
  const text = asJson(withoutEnvironment(value))?.toWellFormed();
  if (text === undefined) return null;
  if (text.length <= MAX_KEPT_CHARS) return JSON.parse(text.replaceAll(/\\ud[89a-f][0-9a-f]{2}/gi, "\\ufffd"));
  return { bytes: Buffer.byteLength(text), sha256: createHash("sha256").update(text).digest("hex") };
}

/** Nested thousands deep, a value can be read but not written. */
function asJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return '"(nested too deeply to be kept)"';
    throw error;
  }
}

function withoutEnvironment(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("env" in value)) return value;
  const { env } = value;
  return { ...value, env: typeof env === "object" && env !== null ? Object.keys(env) : typeof env };
}
