import type { Readable } from "node:stream";
import { GatewayError } from "../errors.ts";
import { messageOf } from "../lib/error.ts";
import type { Source } from "./source.ts";

export interface HttpRequest {
  readonly method: "GET" | "HEAD";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Name of the secret to send with it, where it is bound to this address. */
  readonly secret?: string;
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly stream: Readable;
}

/** One request to a registry; a redirect is an answer. @throws GatewayError, or what the way out throws below the floor */
export type SendHttp = (request: HttpRequest) => Promise<HttpAnswer>;

const MAX_REDIRECTS = 5;

/**
 * The same, following redirects where the registry's own files may lie and nowhere else. The registry's secret goes to the host of its
 * root only.
 * @throws GatewayError REGISTRY_FAILED
 */
export async function follow(
  send: SendHttp,
  source: Source,
  { method, url, headers, signal }: Omit<HttpRequest, "secret">,
): Promise<HttpAnswer & { readonly url: URL }> {
  let at = url;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    requireOwn(source, at);
    const isRoot = at.origin === new URL(source.root).origin;
    const secret = isRoot && source.secret !== undefined ? { secret: source.secret } : {};
    const answer = await sent(send, { method, url: at, headers, signal, ...secret });
    const { location } = answer.headers;
    if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return { ...answer, url: at };
    answer.stream.destroy();
    const next = URL.parse(location, at.href);
    if (!next) throw new GatewayError("REGISTRY_FAILED", `${named(at)} leads to an address that can't be read`);
    at = next;
  }
  throw new GatewayError("REGISTRY_FAILED", `${named(url)} leads from one address to the next`);
}

/** @throws GatewayError REGISTRY_FAILED for an address at which the registry has nothing */
function requireOwn({ root, hosts }: Source, url: URL): void {
  const isPlain = url.protocol === "http:" && root.startsWith("https:");
  if (/^https?:$/.test(url.protocol) && !isPlain && `${url.username}${url.password}` === "" && hosts.has(hostOf(url))) {
    return;
  }
  const where = isPlain ? "an address without TLS" : `another host, \`${hostOf(url).slice(0, 260)}\``;
  throw new GatewayError(
    "REGISTRY_FAILED",
    `the registry ${named(root)} leads to ${where}: if files of it lie there, name it in its \`files\``,
  );
}

async function sent(send: SendHttp, request: HttpRequest): Promise<HttpAnswer> {
  try {
    return await send(request);
  } catch (error) {
    request.signal.throwIfAborted();
    const why = messageOf(error);
    throw new GatewayError("REGISTRY_FAILED", `${named(request.url)} did not answer: ${why}`, { cause: error });
  }
}

/** `host:port`. */
export function hostOf(url: URL | string): string {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port || (protocol === "http:" ? 80 : 443)}`;
}

function named(url: URL | string): string {
  return `\`${hostOf(url)}\``;
}
