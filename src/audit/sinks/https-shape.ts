import { parseJson } from "../../lib/json.ts";
import type { Reply } from "../../lib/outbound.ts";
import type { Entry } from "../read.ts";
import type { Batch } from "./sink.ts";

/** In a batch. */
export const MAX_RECORDS = 1_000;

/** How one kind of receiver wants records, and how it says that it has them. */
export interface HttpsShape {
  readonly url: URL;
  readonly contentType: string;
  /** The word before a token. */
  readonly scheme: string;
  /** The most that an answer may hold. */
  readonly maxReplyBytes: number;
  body(batch: Batch): string;
  /** What is wrong with an answer of 2xx, in words without a secret; undefined: it keeps all of them. */
  problem(reply: Reply, entries: readonly Entry[]): string | undefined;
  /** What the answer says of a refusal, in words without a secret; undefined: nothing. */
  reason(reply: Reply): string | undefined;
}

/** `undefined` for what is not JSON. */
export function jsonIn({ body }: Reply): unknown {
  return parseJson(body.toString("utf8"));
}
