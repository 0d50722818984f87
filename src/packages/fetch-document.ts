import { pipeline, type Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { createGunzip } from "node:zlib";
import { GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { PackageCache } from "./cache/cache.ts";
import { follow, type HttpAnswer, hostOf, type SendHttp } from "./http.ts";
import type { Document, DocumentOptions } from "./registry.ts";
import type { Source } from "./source.ts";

/** So long nobody asks the upstream again. */
const FRESH_MS = 600_000;
/** So long a document serves when the upstream doesn't answer. What is decided by it is decided anew each time. */
const STALE_MS = 7 * 86_400_000;
const MAX_BYTES = 64 * 1024 * 1024;
/** What is kept until the end is put together in blocks: of a document that comes byte by byte each would take a hundred. */
const BLOCK_BYTES = 65_536;
/** For all of a document. */
const PATIENCE_MS = 120_000;
const KEPT_HEADERS = ["last-modified", "etag"] as const;

export interface DocumentPorts {
  readonly send: SendHttp;
  readonly cache: PackageCache;
  readonly log: Logger;
  readonly nowMs: () => number;
}

/** Metadata of registries, by way of the cache. @throws GatewayError REGISTRY_FAILED */
export type FetchDocument = (
  source: Source,
  url: string,
  options: DocumentOptions,
  signal: AbortSignal,
) => Promise<Document>;

export function createDocuments({ send, cache, log, nowMs }: DocumentPorts): FetchDocument {
  return async (source, url, options, signal) => {
    const { method = "GET", accept = "*/*", maxBytes = MAX_BYTES } = options;
    // What a secret opens is for those who have it.
    const key = JSON.stringify([method, url, accept, source.secret ?? null]);
    const kept = await cache.document(key);
    const ageMs = kept === undefined ? Number.POSITIVE_INFINITY : nowMs() - kept.fetchedMs;
    // A clock that went back makes it old.
    if (kept && ageMs >= 0 && ageMs < FRESH_MS) return { ...readHead(kept.head), body: kept.body };
    try {
      const document = await fetched(url, { method, accept, maxBytes });
      const { body, ...head } = document;
      await cache.putDocument(key, { fetchedMs: nowMs(), head: JSON.stringify(head), body });
      return document;
    } catch (error) {
      signal.throwIfAborted();
      if (!kept || Math.abs(ageMs) > STALE_MS || error instanceof Forbidden) throw error;
      log.warn({ err: error, url: hostOf(url) }, "a registry does not answer; what it said before is used");
      return { ...readHead(kept.head), body: kept.body };
    }

    async function fetched(
      address: string,
      { method, accept, maxBytes }: Required<DocumentOptions>,
    ): Promise<Document> {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      const headers = { accept, "accept-encoding": "gzip", "user-agent": "glovebox" };
      const answer = await follow(send, source, { method, url: new URL(address), headers, signal: patience });
      const where = `\`${hostOf(answer.url)}\``;
      try {
        if (![200, 404, 410].includes(answer.status)) {
          const problem = `${where} answered with status ${answer.status}`;
          throw [401, 403].includes(answer.status)
            ? new Forbidden(problem)
            : new GatewayError("REGISTRY_FAILED", problem);
        }
        const isRead = answer.status === 200 && method === "GET";
        const body = isRead ? await read(plain(answer, where), maxBytes, where) : NOTHING;
        const contentType = (answer.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
        const kept = KEPT_HEADERS.map((it) => [it, answer.headers[it]] as const);
        const headers = Object.fromEntries(kept.filter(([, value]) => value !== undefined));
        return { status: answer.status, contentType, headers, body, url: answer.url.href };
      } finally {
        answer.stream.destroy();
      }
    }
  };
}

const NOTHING = Buffer.alloc(0);

/** The registry does answer: what it said to somebody else, or before it took a token back, is not for who asks now. */
class Forbidden extends GatewayError {
  constructor(problem: string) {
    super("REGISTRY_FAILED", problem);
  }
}

/** Some documents are ten times as large as what they are sent as. */
function plain({ headers, stream }: HttpAnswer, where: string): Readable {
  switch (headers["content-encoding"] ?? "identity") {
    case "identity":
      return stream;
    case "gzip":
      return pipeline(stream, createGunzip(), () => undefined);
    default:
      throw new GatewayError("REGISTRY_FAILED", `${where} compressed its answer in a way that was not asked for`);
  }
}

async function read(stream: Readable, maxBytes: number, where: string): Promise<Buffer> {
  let bytes = 0;
  try {
    return await buffer(counted());
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError("REGISTRY_FAILED", `${where} broke off, or took too long`, { cause: error });
  }

  async function* counted() {
    let pieces: Buffer[] = [];
    let pieceBytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new GatewayError("REGISTRY_FAILED", `${where} says more than ${maxBytes} bytes`);
      pieces.push(chunk);
      pieceBytes += chunk.length;
      if (pieceBytes < BLOCK_BYTES) continue;
      yield Buffer.concat(pieces);
      [pieces, pieceBytes] = [[], 0];
    }
    yield Buffer.concat(pieces);
  }
}

/** Written by `fetched`, and checked by the cache. */
function readHead(text: string): Omit<Document, "body"> {
  return JSON.parse(text) as Omit<Document, "body">;
}
