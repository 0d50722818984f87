import { z } from "zod";
import type { Entry } from "../read.ts";
import type { RecordBody } from "../record.ts";
import { type HttpsShape, jsonIn, MAX_RECORDS } from "./https-shape.ts";

/** Only what is looked at; a batch's answer has an item for each record. */
const FILTER = "errors,items.*.status,items.*.error.type,error.type";
/** Of an answer: the frame, and for each record. */
const MAX_FRAME_BYTES = 64 * 1024;
const MAX_ITEM_BYTES = 512;
const answerSchema = z.object({ items: z.custom<readonly unknown[]>(Array.isArray) });
const itemSchema = z.object({
  create: z.object({ status: z.int(), error: z.object({ type: z.string().optional() }).optional() }),
});
const UNSAID = "answered 2xx without saying what became of each record";
const refusalSchema = z.object({ error: z.object({ type: z.string() }) });

/**
 * Documents of Elasticsearch's and OpenSearch's `_bulk`. What an agent chose stands in `event.original` alone, as text: as fields of its own
 * it would make as many fields as it likes, and fields whose type the next record contradicts, for which a document is refused.
 */
export function elasticsearchShape(base: URL, { index }: { readonly index: string }): HttpsShape {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/$/, "")}/${index}/_bulk`;
  url.searchParams.set("filter_path", FILTER);
  return {
    url,
    contentType: "application/x-ndjson",
    scheme: "ApiKey",
    maxReplyBytes: MAX_FRAME_BYTES + MAX_RECORDS * MAX_ITEM_BYTES,
    body: ({ entries }) => entries.map((it) => `${actionOf(it)}\n${documentOf(it)}\n`).join(""),
    problem: (reply, entries) => {
      const { items } = answerSchema.safeParse(jsonIn(reply)).data ?? {};
      if (items?.length !== entries.length) return UNSAID;
      // One after the other: an answer of nothing but mistakes is not to make an issue of each.
      for (const [at, item] of items.entries()) {
        const { create } = itemSchema.safeParse(item).data ?? {};
        if (!create) return UNSAID;
        const { status, error } = create;
        // A conflict is what it has already: no other record has this id.
        if (status === 200 || status === 201 || status === 409) continue;
        return `refused record ${entries[at]?.record.seq}: ${status} ${word(error?.type)}`;
      }
      return undefined;
    },
    reason: (reply) => word(refusalSchema.safeParse(jsonIn(reply)).data?.error.type) || undefined,
  };
}

/** With the hash in its id, another record in the same place becomes another document, and neither is taken for the other. */
function actionOf({ record }: Entry): string {
  return JSON.stringify({ create: { _id: `${record.chain}.${record.seq}.${record.hash}` } });
}

function documentOf({ record, text }: Entry): string {
  const { chain, seq, time, gateway, prev, hash, body } = record;
  return JSON.stringify({
    "@timestamp": time,
    event: { id: `${chain}/${seq}`, kind: "event", module: "glovebox", original: text },
    glovebox: { chain, seq, gateway, prev, hash, kind: body.kind, ...summary(body) },
  });
}

/** Words of the gateway's own, each of one type. */
function summary(body: RecordBody): Record<string, string | number | undefined> {
  const { sessionId, callId } = body;
  switch (body.kind) {
    case "intent":
      return { sessionId, callId, tool: body.tool, decision: body.decision, principal: body.principal.id };
    case "outcome":
      return { sessionId, callId, status: body.status, code: body.code, duration_ms: body.durationMs };
    case "event":
      return { sessionId, callId, event: body.event };
  }
}

function word(type: string | undefined): string {
  return type !== undefined && /^[a-z_]{1,80}$/.test(type) ? type : "";
}
