import type { z } from "zod";
import { GatewayError } from "../../errors.ts";
import type { Desk, Document, DocumentOptions, Integrity, Reply } from "../registry.ts";

/** A document that there is; `undefined` when the registry has none. */
export async function findDocument(desk: Desk, url: string, options?: DocumentOptions): Promise<Document | undefined> {
  const document = await desk.document(url, options);
  return document.status === 200 ? document : undefined;
}

/** What only adds to what is known: a registry need not have it, nor answer, nor make sense. */
export async function ifAnswered<Found>(find: () => Promise<Found>): Promise<Found | undefined> {
  try {
    return await find();
  } catch (error) {
    const registry = error instanceof GatewayError && /^REGISTRY_(?:FAILED|MALFORMED)$/.test(error.code);
    if (registry) return undefined;
    throw error;
  }
}

/** A document that only adds to what is known. */
export function extraDocument(desk: Desk, url: string, options?: DocumentOptions): Promise<Document | undefined> {
  return ifAnswered(() => findDocument(desk, url, options));
}

/**
 * JSON of a shape.
 * @param what the document in words, of what has been read: `pip's page of \`six\``
 * @throws GatewayError REGISTRY_MALFORMED
 */
export function readJson<Shape>(schema: z.ZodType<Shape>, body: Buffer | string, what: string): Shape {
  try {
    return schema.parse(JSON.parse(typeof body === "string" ? body : readText(body, what)));
  } catch (error) {
    throw error instanceof GatewayError ? error : malformed(what, error);
  }
}

/** @throws GatewayError REGISTRY_MALFORMED for what is not UTF-8 */
export function readText(body: Buffer, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch (error) {
    throw malformed(what, error);
  }
}

/** More than any package has: they would be sorted and decided, one by one. */
const MAX_DESCRIBED = 20_000;

/** @param count of versions or files in one document. @throws GatewayError REGISTRY_MALFORMED */
export function requireFew(count: number, what: string): void {
  if (count <= MAX_DESCRIBED) return;
  throw new GatewayError("REGISTRY_MALFORMED", `${what} has more than ${MAX_DESCRIBED} entries`);
}

export function malformed(what: string, cause?: unknown): GatewayError {
  return new GatewayError("REGISTRY_MALFORMED", `${what} can't be read: the registry answered something else`, {
    cause,
  });
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** Milliseconds since 1970 of RFC 3339; `undefined` for what is none. */
export function readTime(text: string | null | undefined): number | undefined {
  const ms = text && TIME.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

const HEX_CHARS: ReadonlyMap<string, number> = new Map([
  ["sha512", 128],
  ["sha384", 96],
  ["sha256", 64],
  ["sha1", 40],
]);

/** A digest in hexadecimal; none when it isn't one, or by an algorithm that proves nothing. */
export function readIntegrity(algorithm: string, hex: string | undefined): Integrity[] {
  const known = (["sha512", "sha384", "sha256", "sha1"] as const).find((it) => it === algorithm);
  if (!known || hex === undefined) return [];
  const fits = hex.length === HEX_CHARS.get(known) && /^[0-9a-f]+$/i.test(hex);
  return fits ? [{ algorithm: known, hex: hex.toLowerCase() }] : [];
}

/** Metadata as policy lets it be seen just now: it is not to be kept by who asked. */
export function metadata(contentType: string, body: string): Reply {
  return { status: 200, headers: { "content-type": contentType, "cache-control": "no-store" }, body };
}

export function notFound(): Reply {
  return { status: 404, headers: { "content-type": "text/plain; charset=utf-8" }, body: "not found\n" };
}
