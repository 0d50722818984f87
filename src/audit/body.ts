import canonicalize from "canonicalize";
import { GatewayError } from "../errors.ts";
import type { DigestKey } from "./digest-key.ts";
import { MAX_BODY_BYTES } from "./line.ts";
import type { Json, RecordBody } from "./record.ts";
import { digestOf } from "./redact.ts";
import { createRedactor, type Redactor } from "./redact-body.ts";
import { bodySchema } from "./schema.ts";

/**
 * The RFC 8785 text of a body as it goes into the log: redacted, and with `arguments` or `facts` (and `request`) replaced
 * by the size and digest of themselves when the whole would be longer than 256 KiB.
 * @throws GatewayError INTERNAL when it still is, or is no `RecordBody`: the log takes nothing that would not verify
 */
export function bodyText(body: RecordBody, redactor = PLAIN): string {
  const clean = redactor.redacted(body);
  const parsed = bodySchema.safeParse(clean);
  if (!parsed.success) throw new GatewayError("INTERNAL", "not an audit record", { cause: parsed.error });
  const text = canonicalize(clean) ?? "";
  if (Buffer.byteLength(text) <= MAX_BODY_BYTES) return text;
  const short = canonicalize(withDigest(parsed.data, redactor.key)) ?? "";
  if (Buffer.byteLength(short) <= MAX_BODY_BYTES) return short;
  throw new GatewayError("INTERNAL", "an audit record is too large");
}

/** Of a log without a policy, whose secrets nobody knows. */
const PLAIN: Redactor = createRedactor({});

function withDigest(body: RecordBody, key: DigestKey | undefined): RecordBody {
  const digest = (value: Json) => digestOf(canonicalize(value) ?? "", key);

  if (body.kind === "intent") {
    const { request } = body;
    return { ...body, arguments: digest(body.arguments), ...(request !== undefined && { request: digest(request) }) };
  }
  return { ...body, facts: digest(body.facts) };
}
