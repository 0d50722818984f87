import { createHash } from "node:crypto";
import { z } from "zod";
import type { CachedDocument } from "./cache.ts";

const headSchema = z.strictObject({ key: z.string(), fetchedMs: z.number(), head: z.string() });

const NEWLINE = 0x0a;
const HEX_SHA256 = 64;

/** As it lies on the disk: the SHA-256 of all that follows, a line of JSON, the body. */
export function encodeDocument(key: string, { fetchedMs, head, body }: CachedDocument): readonly Buffer[] {
  const line = Buffer.from(`${JSON.stringify({ key, fetchedMs, head } satisfies z.infer<typeof headSchema>)}\n`);
  const digest = createHash("sha256").update(line).update(body).digest("hex");
  return [Buffer.from(`${digest}\n`), line, body];
}

/** `undefined` for what is damaged, or is another key's. */
export function decodeDocument(key: string, bytes: Buffer): CachedDocument | undefined {
  const content = bytes.subarray(HEX_SHA256 + 1);
  const digest = createHash("sha256").update(content).digest("hex");
  if (bytes.toString("latin1", 0, HEX_SHA256 + 1) !== `${digest}\n`) return undefined;
  const end = content.indexOf(NEWLINE);
  if (end === -1) return undefined;
  try {
    const { fetchedMs, head, key: own } = headSchema.parse(JSON.parse(content.toString("utf8", 0, end)));
    return own === key ? { fetchedMs, head, body: content.subarray(end + 1) } : undefined;
  } catch {
    return undefined;
  }
}
