import { hostname } from "node:os";
import { z } from "zod";
import { factsIn, numberIn, textIn, textsIn } from "../facts.ts";
import type { Entry } from "../read.ts";
import type { RecordBody } from "../record.ts";
import { type HttpsShape, jsonIn, MAX_RECORDS } from "./https-shape.ts";
import { labels } from "./label.ts";

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

/** In a list: as many calls as run at the same time, where that can be. */
const MAX_LISTED = 256;
/**
 * What an index without a mapping of its own takes for a date, by which it would refuse every other text in that field (`date_detection`, whose
 * default formats are `strict_date_optional_time` and `yyyy/MM/dd` with a zone). An agent may choose it, as the id of a session for instance.
 */
const DATE = /^[+-]?\d{4,}(?:[-/]\d{1,2}){0,2}(?:$|[T ])/;

/**
 * Documents of Elasticsearch's and OpenSearch's `_bulk`. Arguments and facts stand in `event.original`, as text: as fields of their own they
 * would be as many as an agent likes, and of types that the next record contradicts, for which a document is refused. So the fields beside it
 * are few, each always of one type, and bounded.
 */
export function elasticsearchShape(base: URL, { index }: { readonly index: string }): HttpsShape {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/$/, "")}/${index}/_bulk`;
  url.searchParams.set("filter_path", FILTER);
  const host = { hostname: hostname() };
  return {
    url,
    contentType: "application/x-ndjson",
    scheme: "ApiKey",
    maxReplyBytes: MAX_FRAME_BYTES + MAX_RECORDS * MAX_ITEM_BYTES,
    body: ({ entries }) => entries.map((it) => `${actionOf(it)}\n${documentOf(it, host)}\n`).join(""),
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

/** @param host in the words of the Elastic Common Schema: `hostname` is what the command of that name answers */
function documentOf({ record, text }: Entry, host: { readonly hostname: string }): string {
  const { chain, seq, time, gateway, prev, hash, body } = record;
  return JSON.stringify({
    "@timestamp": time,
    host,
    event: { id: `${chain}/${seq}`, kind: "event", module: "glovebox", original: text },
    glovebox: { chain, seq, gateway, prev, hash, kind: body.kind, ...fieldsOf(body) },
  });
}

type Field = string | number | readonly string[] | undefined;

function fieldsOf(body: RecordBody): Readonly<Record<string, Field>> {
  return Object.fromEntries(Object.entries(summary(body)).map(([name, value]) => [name, bounded(value)]));
}

/** By what a record is found. */
function summary(body: RecordBody): Readonly<Record<string, Field>> {
  const { sessionId, callId } = body;
  switch (body.kind) {
    case "intent": {
      const { tool, decision, principal, policies } = body;
      const { name: clientName, version: clientVersion } = principal.client;
      const who = { principal: principal.id, clientName, clientVersion };
      return { sessionId, callId, tool, decision, ...who, policies: policies.map((it) => it.id) };
    }
    case "outcome": {
      const { status, code, durationMs, facts } = body;
      const exitCode = numberIn(factsIn(facts), "exitCode");
      return { sessionId, callId, status, code, duration_ms: durationMs, exitCode };
    }
    case "event": {
      const facts = factsIn(body.facts);
      return {
        ...{ sessionId, callId: callId ?? textIn(facts, "callId"), event: body.event },
        ...{ calls: textsIn(facts, "calls"), policies: textsIn(facts, "policies") },
        ...{ host: textIn(facts, "host"), connectionId: textIn(facts, "connectionId") },
        ...{ purl: textIn(facts, "purl"), approvalId: textIn(facts, "approvalId") },
        exitCode: numberIn(facts, "exitCode"),
      };
    }
  }
}

/** Without what would be taken for a date: it is in the line. */
function bounded(value: Field): Field {
  if (value === undefined || typeof value === "number") return value;
  const texts = labels(typeof value === "string" ? [value] : value, MAX_LISTED).filter((it) => !DATE.test(it));
  if (texts.length === 0) return undefined;
  return typeof value === "string" ? texts[0] : texts;
}

function word(type: string | undefined): string {
  return type !== undefined && /^[a-z_]{1,80}$/.test(type) ? type : "";
}
