import { hostname } from "node:os";
import { z } from "zod";
import type { Reply } from "../../lib/outbound.ts";
import { type HttpsShape, jsonIn } from "./https-shape.ts";

const PATH = "/services/collector/event";
/** `{"text":"Success","code":0}` */
const answerSchema = z.object({ code: z.int() });
/** What Splunk's codes mean, as far as a person can do something about it ("HTTP Event Collector error codes" in its manual). */
const REASONS: Readonly<Record<number, string>> = {
  1: "the token is disabled",
  2: "it wants a token",
  3: "it does not understand the token",
  4: "it does not know the token",
  6: "it does not understand the events",
  7: "the token may not write to this index",
  9: "it is busy",
  10: "the token wants indexer acknowledgement, which is not spoken here: switch it off for this token",
};

interface SplunkSettings {
  readonly index?: string | undefined;
  readonly source: string;
  readonly sourcetype: string;
}

/** Events of Splunk's HTTP Event Collector, one behind the other. */
export function splunkShape(url: URL, { index, source, sourcetype }: SplunkSettings): HttpsShape {
  const metadata = { host: hostname(), source, sourcetype, ...(index !== undefined && { index }) };
  const fields = JSON.stringify(metadata).slice(1);
  return {
    url: url.pathname === "/" ? new URL(PATH, url) : url,
    contentType: "application/json",
    scheme: "Splunk",
    maxReplyBytes: 64 * 1024,
    body: ({ entries }) =>
      entries
        .map(({ record, text }) => `{"event":${text},"time":${(Date.parse(record.time) / 1000).toFixed(3)},${fields}`)
        .join("\n"),
    problem: (reply) => (codeIn(reply) === 0 ? undefined : "answered 2xx without the code 0 of an event collector"),
    reason: (reply) => {
      const code = codeIn(reply);
      return code === undefined ? undefined : (REASONS[code] ?? `its code is ${code}`);
    },
  };
}

function codeIn(reply: Reply): number | undefined {
  return answerSchema.safeParse(jsonIn(reply)).data?.code;
}
