import type { Json } from "./record.ts";

/** A plain value as the log takes it: without what is `undefined`. */
export function asJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value));
}
