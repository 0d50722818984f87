import { Readable } from "node:stream";
import type { Desk, Registry } from "../../src/packages/registry.ts";
import { type Origin, openOrigin } from "./egress.ts";

/** A registry on loopback, for package managers of this computer. */
export async function openRegistry(registry: Registry, desk: Desk): Promise<Origin & { readonly base: string }> {
  let base = "";
  const origin = await openOrigin(async ({ method, url = "/", headers }, response) => {
    try {
      if (method !== "GET" && method !== "HEAD") throw new Error(`unexpected ${method}`);
      const path = decodeURIComponent(url.slice(1));
      const reply = await registry.answer({ method, path, accept: headers.accept ?? "*/*", base }, desk);
      response.writeHead(reply.status, reply.headers);
      if (reply.body instanceof Readable) reply.body.pipe(response);
      else response.end(reply.body);
    } catch (error) {
      response.writeHead(502).end(String(error));
    }
  });
  base = `http://127.0.0.1:${origin.port}/`;
  return { ...origin, base };
}

/** Documents of the real upstream, each fetched once. */
export function fetchUpstream(): (url: string, method: string) => Promise<Upstream | undefined> {
  const known = new Map<string, Promise<Upstream | undefined>>();
  return (url, method) => {
    const key = `${method} ${url}`;
    const found = known.get(key) ?? fetchOne(url, method);
    known.set(key, found);
    return found;
  };
}

interface Upstream {
  readonly body: Buffer;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function fetchOne(url: string, method: string): Promise<Upstream | undefined> {
  const answer = await fetch(url, { method, signal: AbortSignal.timeout(120_000) });
  if (answer.status === 404 || answer.status === 410) return undefined;
  if (!answer.ok) throw new Error(`status ${answer.status} of ${url}`);
  const body = Buffer.from(await answer.arrayBuffer());
  return { body, contentType: answer.headers.get("content-type") ?? "", headers: Object.fromEntries(answer.headers) };
}
