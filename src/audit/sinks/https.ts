import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { createOutbound, type Reply, type SendOutbound } from "../../lib/outbound.ts";
import { readWebhookKey, signWebhook, WEBHOOK_KEY_WANTED } from "../../lib/webhook-signature.ts";
import { elasticsearchShape } from "./elasticsearch.ts";
import { jsonShape } from "./https-json.ts";
import type { HttpsSettings } from "./https-settings.ts";
import { type HttpsShape, MAX_RECORDS } from "./https-shape.ts";
import { certificatesIn, identityIn } from "./pem-files.ts";
import { type Batch, DeliveryFailed, type Sink, type SinkPorts } from "./sink.ts";
import { splunkShape } from "./splunk.ts";

const MAX_BYTES = 1024 * 1024;
/** Whoever delivers sets a shorter time. */
const REQUEST_MS = 120_000;

const compress = promisify(gzip);

/**
 * Batches by HTTPS. The same records have the same `Idempotency-Key`. Nothing is kept between batches but how large a request
 * may be, and what is confirmed of a batch that failed.
 */
export async function openHttpsSink(settings: HttpsSettings, ports: SinkPorts): Promise<Sink> {
  const shape = shapeOf(settings);
  const { host } = shape.url;
  const { name, token, signingSecret } = settings;
  const readToken = token && ports.secret(`${name}.token`, token);
  const readKey = signingSecret && ports.secret(`${name}.signingSecret`, signingSecret);
  const fail = (problem: string, retryAfterMs?: number) =>
    new DeliveryFailed(`\`${host}\` ${problem}`, retryAfterMs === undefined ? {} : { retryAfterMs });
  /** Made anew after a failure: certificates are replaced, on this side and on the other. */
  let sending: Promise<SendOutbound> | undefined;
  /** Records in a request; fewer while the receiver finds them too many. */
  let most = MAX_RECORDS;
  /** By chain, of a batch that failed: the hash of the last record that was confirmed, which stands for all before it. */
  const confirmed = new Map<string, string>();

  async function deliver({ chain, entries }: Batch, signal: AbortSignal): Promise<void> {
    const last = confirmed.get(chain);
    // 0 where it is another batch.
    for (let at = entries.findIndex(({ record }) => record.hash === last) + 1; at < entries.length; ) {
      const [first, ...others] = entries.slice(at, at + most);
      if (!first) return;
      const part: Batch = { chain, entries: [first, ...others] };
      const reply = await request(part, signal);
      const { length } = part.entries;
      if (reply.status === 413 && length > 1) {
        most = Math.ceil(length / 2);
        continue;
      }
      confirm(reply, part);
      at += length;
      most = Math.min(most * 2, MAX_RECORDS);
      confirmed.set(chain, part.entries.at(-1)?.record.hash ?? first.record.hash);
    }
    confirmed.delete(chain);
  }

  async function request(batch: Batch, signal: AbortSignal): Promise<Reply> {
    const body = shape.body(batch);
    const key = keyOf(batch);
    const headers = {
      ...settings.headers,
      "user-agent": `glovebox/${ports.version}`,
      "content-type": shape.contentType,
      "idempotency-key": key,
      ...(await authorization(signal)),
      ...(await signature(key, body, signal)),
      ...(settings.gzip && { "content-encoding": "gzip" }),
    };
    const content = settings.gzip ? await compress(body) : body;
    try {
      sending ??= openOutbound(settings, ports, shape.maxReplyBytes);
      const send = await sending;
      return await send({ method: "POST", url: shape.url, headers, body: content, timeoutMs: REQUEST_MS, signal });
    } catch (error) {
      sending = undefined;
      throw error;
    }
  }

  function confirm(reply: Reply, { chain, entries }: Batch): void {
    const { status } = reply;
    if (status >= 200 && status < 300) {
      const problem = shape.problem(reply, entries);
      if (problem !== undefined) throw fail(problem);
      return;
    }
    const reason = shape.reason(reply);
    const why = reason === undefined ? "" : `: ${reason}`;
    if (status === 429 || status === 503) throw fail(`answered ${status}${why}`, retryAfterMs(reply));
    if (status === 401 || status === 403) throw fail(`does not accept who asks (${status})${why}`);
    if (status === 413) throw fail(`finds record ${chain}/${entries[0].record.seq} alone too large (413)${why}`);
    if (status >= 300 && status < 400) {
      throw fail(`answered ${status}: redirects are not followed, so \`url\` must be the last address`);
    }
    throw fail(`answered ${status}${why}`);
  }

  async function authorization(signal: AbortSignal): Promise<Record<string, string>> {
    if (!readToken) return {};
    const value = await readToken(signal);
    const { user } = settings;
    if (user === undefined) return { authorization: `${shape.scheme} ${value}` };
    return { authorization: `Basic ${Buffer.from(`${user}:${value}`).toString("base64")}` };
  }

  /** Of the content before it is compressed: that is what a receiver's framework hands on. */
  async function signature(id: string, body: string, signal: AbortSignal): Promise<Record<string, string>> {
    if (!readKey) return {};
    const key = readWebhookKey(await readKey(signal));
    if (!key) throw new DeliveryFailed(`the secret ${name}.signingSecret ${WEBHOOK_KEY_WANTED}`);
    return signWebhook(key, `msg_${id}`, body);
  }

  return {
    target: shape.url.host,
    maxBatch: { records: MAX_RECORDS, bytes: MAX_BYTES },
    deliver,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function shapeOf({ url, splunk, elasticsearch }: HttpsSettings): HttpsShape {
  if (splunk) return splunkShape(new URL(url), splunk);
  if (elasticsearch) return elasticsearchShape(new URL(url), elasticsearch);
  return jsonShape(new URL(url));
}

/** Of the first and the last record's id, and of what they and all between them hold: the same for the same records, and for no others. */
function keyOf({ chain, entries }: Batch): string {
  const first = entries[0].record.seq;
  const content = createHash("sha256");
  for (const { record } of entries) content.update(record.hash);
  const ids = `${chain}/${first}\n${chain}/${first + entries.length - 1}\n`;
  return createHash("sha256").update(ids).update(content.digest("hex")).digest("hex");
}

async function openOutbound(settings: HttpsSettings, ports: SinkPorts, maxBytes: number): Promise<SendOutbound> {
  const { ca, clientCertificate } = settings;
  const own = ca === undefined ? undefined : [await certificatesIn(ca)];
  const identity = clientCertificate && (await identityIn(clientCertificate));
  return createOutbound({
    authorities: own ? async () => own : ports.authorities,
    upstreamProxy: ports.through,
    hide: ports.hide,
    failed: (message, cause) => new DeliveryFailed(message, { cause }),
    identity,
    maxBytes,
  });
}

/** `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). */
function retryAfterMs({ headers }: Reply): number | undefined {
  const value = headers["retry-after"]?.trim() ?? "";
  if (/^[0-9]{1,9}$/.test(value)) return Number(value) * 1000;
  if (!/^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$/.test(value)) return undefined;
  const atMs = Date.parse(value);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - Date.now());
}
