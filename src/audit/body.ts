import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import { GatewayError } from "../errors.ts";
import { MAX_BODY_BYTES } from "./line.ts";
import { type Json, PROOF_EVENTS, type RecordBody } from "./record.ts";
import { type Hide, redact } from "./redact.ts";
import { bodySchema } from "./schema.ts";

/**
 * The RFC 8785 text of a body as it goes into the log: redacted, and with `arguments` or `facts` (and `request`) replaced
 * by `{bytes, sha256}` of themselves when the whole would be longer than 256 KiB.
 * @throws GatewayError INTERNAL when it still is, or is no `RecordBody`: the log takes nothing that would not verify
 */
export function bodyText(body: RecordBody, hide?: Hide): string {
  const clean = body.kind === "event" && PROOF_EVENTS.includes(body.event) ? body : redact(body, hide);
  const parsed = bodySchema.safeParse(clean);
  if (!parsed.success) throw new GatewayError("INTERNAL", "not an audit record", { cause: parsed.error });
  const text = canonicalize(clean) ?? "";
  if (Buffer.byteLength(text) <= MAX_BODY_BYTES) return text;
  const short = canonicalize(withDigest(parsed.data)) ?? "";
  if (Buffer.byteLength(short) <= MAX_BODY_BYTES) return short;
  throw new GatewayError("INTERNAL", "an audit record is too large");
}

function withDigest(body: RecordBody): RecordBody {
  if (body.kind === "intent") {
    const { request } = body;
    return { ...body, arguments: digest(body.arguments), ...(request !== undefined && { request: digest(request) }) };
  }
  return { ...body, facts: digest(body.facts) };
}

function digest(value: Json): Json {
  const text = canonicalize(value) ?? "";
  return { bytes: Buffer.byteLength(text), sha256: hash("sha256", text) };
}
