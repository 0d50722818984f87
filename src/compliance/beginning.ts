import type { AuditRecord } from "../audit/record.ts";
import { eventOf } from "./facts.ts";

/** How it is counted that something began in a part of the log that is there no more. */
export const BEFORE_REMOVED = "begun before what is left of the log";

/**
 * Goes past the records of one chain; answers whether what a gateway has under way at this one may have begun in records that were removed. The
 * first record says that some were, and what was under way ended with its gateway.
 */
export function followBeginning(): (record: AuditRecord) => boolean {
  let isCut: boolean | undefined;
  return (record) => {
    isCut ??= record.seq > 0;
    if (eventOf(record, "gateway-started")) isCut = false;
    return isCut;
  };
}
