import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { GatewayError } from "../../errors.ts";
import { deadline } from "../../lib/deadline.ts";
import { codeOf, messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { MAX_ARCHIVE_BYTES } from "./archive.ts";

const MAX_REDIRECTS = 5;
/** For all of a download. */
const PATIENCE_MS = 60_000;
const MAX_ETAG_CHARS = 1_000;

export interface NetworkPorts {
  /** In PEM: whose certificates are accepted. */
  readonly authorities: () => Promise<readonly string[]>;
  /** The network's own proxy, where that is the only way out. It may hold a password. */
  readonly upstreamProxy?: string;
}

export interface Download {
  readonly body: Buffer;
  readonly etag?: string;
}

/**
 * What lies at an https URL, or nothing when it is what it was at `etag`. Redirects are followed to https only.
 * @throws GatewayError POLICY_FETCH_FAILED; the signal's reason when aborted
 */
export async function download(
  url: string,
  etag: string | undefined,
  ports: NetworkPorts,
  signal: AbortSignal,
): Promise<Download | undefined> {
  const limit = deadline(PATIENCE_MS, signal);
  const { upstreamProxy } = ports;
  const agent = new Agent({
    ca: [...(await ports.authorities())],
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
    ...(upstreamProxy !== undefined && { proxyEnv: { HTTPS_PROXY: upstreamProxy } }),
  });
  try {
    return await follow(new URL(url), etag, agent, limit);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof GatewayError) throw error;
    const why = limit.aborted ? `it took more than ${PATIENCE_MS} ms` : (codeOf(error) ?? messageOf(error));
    throw failed(new URL(url), why, error);
  } finally {
    agent.destroy();
  }
}

async function follow(
  first: URL,
  etag: string | undefined,
  agent: Agent,
  signal: AbortSignal,
): Promise<Download | undefined> {
  let url = first;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    const answer = await ask(url, etag, agent, signal);
    try {
      const { statusCode = 0, headers } = answer;
      if ([301, 302, 303, 307, 308].includes(statusCode)) {
        const next = URL.parse(headers.location ?? "", url.href);
        if (next?.protocol !== "https:" || `${next.username}${next.password}` !== "") {
          throw failed(url, "it leads to an address that is not one of https");
        }
        url = next;
        continue;
      }
      if (statusCode === 304 && etag !== undefined) return undefined;
      if (statusCode !== 200) throw failed(url, `it answered with status ${statusCode}`);
      if ((headers["content-encoding"] ?? "identity") !== "identity") {
        throw failed(url, "it compressed its answer, which was not asked for");
      }
      const body = await read(answer, url);
      const given = headers.etag;
      return { body, ...(given && given.length <= MAX_ETAG_CHARS && { etag: given }) };
    } finally {
      answer.destroy();
    }
  }
  throw failed(first, "it leads from one address to the next");
}

async function ask(url: URL, etag: string | undefined, agent: Agent, signal: AbortSignal): Promise<IncomingMessage> {
  const headers = {
    accept: "*/*",
    "accept-encoding": "identity",
    "user-agent": "glovebox",
    ...(etag !== undefined && { "if-none-match": etag }),
  };
  const asking = request(url, { agent, headers, signal });
  // What breaks after the answer began is told by the answer.
  asking.on("error", () => undefined);
  asking.end();
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  return answer;
}

async function read(answer: IncomingMessage, url: URL): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ARCHIVE_BYTES) throw failed(url, `it is larger than ${MAX_ARCHIVE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Without what follows the path: it may be a secret. */
function failed({ origin, pathname }: URL, why: string, cause?: unknown): GatewayError {
  const message = printable(`\`${origin}${pathname}\` can't be fetched: ${why}`);
  return new GatewayError("POLICY_FETCH_FAILED", message, { cause });
}
