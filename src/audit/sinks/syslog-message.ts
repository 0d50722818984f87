import { factsIn, textsIn } from "../facts.ts";
import type { Entry } from "../read.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { wantsAttention } from "./attention.ts";

/**
 * Name of the structured data: RFC 5424 §7 wants a private enterprise number behind the `@`, and 32473 is the one that IANA keeps for examples
 * (RFC 5612), so that it is nobody else's.
 */
const STRUCTURED_DATA = "glovebox@32473";
const INFORMATIONAL = 6;
const WARNING = 4;
/** The longest value that a record can put into the structured data, before escapes; whatever is longer is whole in the message. */
const MAX_VALUE_CHARS = 80;

/** All ids of calls together, of those that are whole; of more than a dozen that ran at the same time, the rest are in the message. */
const MAX_CALLS_CHARS = 400;

export interface SyslogOrigin {
  /** Number of the facility. */
  readonly facility: number;
  readonly hostName: string;
  readonly appName: string;
  readonly maxMessageBytes: number;
}

/**
 * A record as RFC 5424 messages: one, or numbered parts of its JSON where one would be longer than `maxMessageBytes`. Header and structured data
 * are those of the whole record in each, and the JSON is the record's, joined from the parts in their order.
 *
 * A message is ASCII without control characters whatever the record holds: other characters of the JSON are escaped (RFC 8259 §7), which leaves
 * its value, and so the record's hash, as it is. So it needs no byte order mark (RFC 5424 §6.4), no receiver has a reason to rewrite a byte of
 * it, and a part may end anywhere.
 */
export function syslogMessages({ record, text }: Entry, origin: SyslogOrigin): string[] {
  const json = asciiJson(text);
  const header = headerOf(record, origin);
  const whole = `${header}${structuredData(record)} ${json}`;
  if (whole.length <= origin.maxMessageBytes) return [whole];
  // Numbers of parts have at most four digits: a line is at most 257 KiB, six times that escaped, and a part holds more than 300 bytes.
  const room = origin.maxMessageBytes - `${header}${structuredData(record, { part: 9999, parts: 9999 })} `.length;
  const parts = Math.ceil(json.length / room);
  return Array.from({ length: parts }, (_, at) => {
    const data = structuredData(record, { part: at + 1, parts });
    return `${header}${data} ${json.slice(at * room, (at + 1) * room)}`;
  });
}

/** With its length before it (RFC 5425 §4.3): what a message holds never ends it. */
export function framed(message: string): string {
  return `${message.length} ${message}`;
}

/** PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID, and a space. */
function headerOf(record: AuditRecord, { facility, hostName, appName }: SyslogOrigin): string {
  const { body } = record;
  const priority = facility * 8 + (wantsAttention(body) ? WARNING : INFORMATIONAL);
  const messageId = body.kind === "event" ? body.event : body.kind;
  const fields = [field(hostName, 255), appName, field(record.gateway, 64), messageId];
  return `<${priority}>1 ${record.time} ${fields.join(" ")} `;
}

function structuredData(record: AuditRecord, part?: { readonly part: number; readonly parts: number }): string {
  const { body, chain, seq, hash } = record;
  const parameters = {
    id: `${value(chain)}/${seq}`,
    chain,
    seq,
    hash,
    callId: body.callId,
    sessionId: body.sessionId,
    tool: body.kind === "intent" ? body.tool : undefined,
    decision: body.kind === "intent" ? body.decision : undefined,
    status: body.kind === "outcome" ? body.status : undefined,
    ...part,
  };
  const stated = Object.entries(parameters).filter(([, it]) => it !== undefined);
  const texts = stated.map(([name, it]) => ` ${name}="${escaped(value(String(it)))}"`);
  return `[${STRUCTURED_DATA}${texts.join("")}${body.kind === "event" ? callsOf(body) : ""}]`;
}

/** The calls on whose behalf it happened, one after the other; empty where there are none. Ids need no escapes, and what does is no id. */
function callsOf({ facts }: EventBody): string {
  let calls = "";
  for (const id of textsIn(factsIn(facts), "calls").filter((it) => /^[\w-]{1,80}$/.test(it))) {
    const longer = calls === "" ? id : `${calls} ${id}`;
    if (longer.length > MAX_CALLS_CHARS) break;
    calls = longer;
  }
  return calls === "" ? "" : ` calls="${calls}"`;
}

/** RFC 5424 §6.3.3: these three and no others. */
function escaped(text: string): string {
  return text.replace(/["\\\]]/g, "\\$&");
}

/** For searching: what is not printable ASCII is `?` here, and as it was in the message. */
function value(text: string): string {
  return text.slice(0, MAX_VALUE_CHARS).replace(/[^\x20-\x7e]/g, "?");
}

/** PRINTUSASCII of at most so many characters; `-` for nothing. */
function field(text: string, maxChars: number): string {
  return text.slice(0, maxChars).replace(/[^\x21-\x7e]/g, "_") || "-";
}

/** The same JSON value with every character that is not printable ASCII as an escape. RFC 8785 text has such characters in strings only. */
function asciiJson(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
