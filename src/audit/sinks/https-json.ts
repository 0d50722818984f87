import type { HttpsShape } from "./https-shape.ts";

/**
 * `{ "version": 1, "chain", "first", "last", "records": […] }`: the records as they stand in the log, so that their hashes can be
 * computed from these bytes.
 */
export function jsonShape(url: URL): HttpsShape {
  return {
    url,
    contentType: "application/json",
    scheme: "Bearer",
    maxReplyBytes: 64 * 1024,
    body: ({ chain, entries }) => {
      const first = entries[0].record.seq;
      const last = first + entries.length - 1;
      const records = entries.map((it) => it.text).join(",");
      return `{"version":1,"chain":${JSON.stringify(chain)},"first":${first},"last":${last},"records":[${records}]}`;
    },
    // Whoever answers 2xx has taken it.
    problem: () => undefined,
    reason: () => undefined,
  };
}
