import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { GatewayError } from "../../errors.ts";
import { readZip, type ZipLimits } from "../zip.ts";

/** Go's own bound on a module is 500 MiB unpacked (golang.org/x/mod/zip). */
const LIMITS: ZipLimits = { entries: 200_000, bytes: 500 * 1024 ** 2, code: "REGISTRY_MALFORMED" };

/**
 * The `h1` of a module's zip, in hexadecimal: SHA-256 over a line for each file, in the order of their names' bytes, as
 * golang.org/x/mod/sumdb/dirhash makes it.
 * @throws GatewayError REGISTRY_MALFORMED for what Go would not take, and for what unpacks to more than a module may
 */
export async function dirHash(file: FileHandle, signal: AbortSignal): Promise<string> {
  const files = new Map<string, string>();
  for await (const { name, content } of readZip(file, LIMITS)) {
    signal.throwIfAborted();
    // Go takes names as bytes. So does latin1: each is one character, in the same order.
    const key = name.toString("latin1");
    if (key.includes("\n")) throw malformed("a file with a newline in its name");
    if (files.has(key)) throw malformed("two files of one name");
    const hash = createHash("sha256");
    for await (const piece of content()) {
      signal.throwIfAborted();
      hash.update(piece);
    }
    files.set(key, hash.digest("hex"));
  }
  const whole = createHash("sha256");
  for (const key of [...files.keys()].sort()) whole.update(`${files.get(key)}  ${key}\n`, "latin1");
  return whole.digest("hex");
}

function malformed(what: string): GatewayError {
  return new GatewayError("REGISTRY_MALFORMED", `a module's zip holds ${what}`);
}
