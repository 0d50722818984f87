import { isUtf8 } from "node:buffer";
import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import { parseJson } from "../lib/json.ts";
import type { AuditRecord } from "./record.ts";
import { recordSchema } from "./schema.ts";

/** `prev` of a chain's first record. */
export const GENESIS_HASH = "0".repeat(64);
/** The longest body of a record, in bytes of its RFC 8785 form. */
export const MAX_BODY_BYTES = 256 * 1024;
/** The longest line without its newline: a body and its envelope. */
export const MAX_LINE_BYTES = MAX_BODY_BYTES + 1024;

/** Where a chain stands: its last record. `seq` is -1 and `hash` GENESIS_HASH before the first. */
export interface Position {
  readonly seq: number;
  readonly hash: string;
}

export type Envelope = Pick<AuditRecord, "chain" | "gateway" | "time">;

/**
 * One line of the log, with its newline, and where the chain stands after it. `body` is RFC 8785 text. The line is put
 * together in RFC 8785 order (body, chain, gateway, hash, prev, seq, time, version), so that nothing is serialised twice.
 */
export function sealLine(envelope: Envelope, after: Position, body: string): { line: string; position: Position } {
  const seq = after.seq + 1;
  const head = `{"body":${body},"chain":${JSON.stringify(envelope.chain)},"gateway":${JSON.stringify(envelope.gateway)}`;
  const tail = `,"prev":"${after.hash}","seq":${seq},"time":"${envelope.time}","version":1}`;
  const digest = hash("sha256", head + tail);
  return { line: `${head},"hash":"${digest}"${tail}\n`, position: { seq, hash: digest } };
}

/**
 * What a line (without its newline) holds. `syntax`: not JSON. `form`: JSON, but not the one form in which a record is
 * written. `hash`: its hash is not that of its content. `hashes` are those by which the next record may know a damaged one.
 */
export type ReadLine =
  | { readonly sound: true; readonly record: AuditRecord }
  | {
      readonly sound: false;
      readonly kind: "syntax" | "form" | "hash";
      readonly message: string;
      readonly seq?: number;
      readonly hashes: readonly string[];
    };

export function readLine(bytes: Buffer): ReadLine {
  if (bytes.length > MAX_LINE_BYTES) return damaged("syntax", `longer than ${MAX_LINE_BYTES} bytes`);
  // Bytes that are not UTF-8 would decode to U+FFFD, and hash like a record that has U+FFFD there.
  if (!isUtf8(bytes)) return damaged("syntax", "not UTF-8");
  const text = bytes.toString("utf8");
  const value = parseJson(text);
  if (value === undefined) return damaged("syntax", "not JSON");
  const parsed = recordSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return damaged("form", `not a record: ${issue?.path.join(".") || "it"}: ${issue?.message ?? ""}`);
  }
  const record = parsed.data;
  if (canonical(value) !== text) return damaged("form", "not in canonical form (RFC 8785)", record.seq);
  // In canonical form, which has no `"` unescaped inside a string, nothing behind `prev` looks like it.
  const cut = text.lastIndexOf(',"prev":"');
  const digest = hash("sha256", text.slice(0, cut - `,"hash":"${record.hash}"`.length) + text.slice(cut));
  if (digest === record.hash) return { sound: true, record };
  return { ...damaged("hash", "its hash is not that of its content", record.seq), hashes: [record.hash, digest] };
}

function damaged(kind: "syntax" | "form" | "hash", message: string, seq?: number) {
  return { sound: false, kind, message, hashes: [], ...(seq === undefined ? {} : { seq }) } as const;
}

function canonical(value: unknown): string | undefined {
  try {
    return canonicalize(value);
  } catch {
    // A lone surrogate, written as an escape: no canonical form has it.
    return undefined;
  }
}
