import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { ProtobufLogsSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { Resource } from "@opentelemetry/resources";
import { messageOf } from "../../lib/error.ts";
import { requireTaken, type Signal } from "./otlp-answer.ts";
import { resourceOf } from "./otlp-attributes.ts";
import { Calls } from "./otlp-calls.ts";
import { logRecordOf } from "./otlp-log.ts";
import { createPost } from "./otlp-post.ts";
import type { OtlpSettings } from "./otlp-settings.ts";
import { spanOf } from "./otlp-span.ts";
import { type Batch, DeliveryFailed, type Sink, type SinkPorts } from "./sink.ts";

/** With attributes and spans about twice as much is sent: less than receivers take by default. */
const MAX_BATCH = { records: 512, bytes: 1024 * 1024 } as const;

const compress = promisify(gzip);

/**
 * Sends records as OpenTelemetry's logs, and each call as a span, by OTLP over HTTP (opentelemetry.io/docs/specs/otlp, 1.x, binary
 * Protobuf). The SDK's own exporters are passed by: they call a partial success a success, try again by themselves, and don't tell
 * what a receiver asked for.
 */
export function openOtlpSink(settings: OtlpSettings, ports: SinkPorts): Promise<Sink> {
  const { headers, traces, attributes } = settings;
  const url = new URL(settings.url);
  const post = createPost(settings.ca, ports);
  const calls = new Calls();
  const scope = { name: "glovebox.audit", version: ports.version };
  const secrets = Object.entries(headers).map(([name, source]) => ({
    name,
    read: ports.secret(`${settings.name} ${name}`, source),
  }));
  const base = url.pathname.replace(/\/$/, "");
  const places = { logs: new URL(`${base}/v1/logs`, url), traces: new URL(`${base}/v1/traces`, url) };
  /** By chain, where the receiver has logs and lacks their spans: up to which record it has them. */
  const logged = new Map<string, number>();

  async function send(kind: Signal, body: Uint8Array | undefined, signal: AbortSignal): Promise<void> {
    if (!body) throw new DeliveryFailed("the records could not be put into OpenTelemetry's form");
    const given: Record<string, string> = {};
    for (const { name, read } of secrets) given[name.toLowerCase()] = await secretOf(name, read, signal);
    const own = {
      "content-type": "application/x-protobuf",
      "user-agent": `glovebox/${ports.version}`,
      ...(settings.gzip && { "content-encoding": "gzip" }),
    };
    const content = settings.gzip ? await compress(body) : body;
    requireTaken(kind, url.host, await post(places[kind], { ...given, ...own }, content, signal), ports.hide);
  }

  async function deliver({ chain, entries }: Batch, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const told = calls.read(entries);
    const resources = new Map<string, Resource>();
    const resource = (gateway: string): Resource => {
      const known = resources.get(gateway) ?? resourceOf(gateway, attributes);
      resources.set(gateway, known);
      return known;
    };
    const after = logged.get(chain) ?? -1;
    const logs = entries.flatMap((entry, at) =>
      entry.record.seq > after ? [logRecordOf(entry, told.contexts[at], resource(entry.record.gateway), scope)] : [],
    );
    if (logs.length > 0) await send("logs", ProtobufLogsSerializer.serializeRequest(logs), signal);
    const seq = entries.at(-1)?.record.seq ?? after;
    logged.set(chain, Math.max(seq, after));
    const spans = traces ? told.ended.map((it) => spanOf(it, resource(it.end.gateway), scope)) : [];
    if (spans.length > 0) await send("traces", ProtobufTraceSerializer.serializeRequest(spans), signal);
    logged.delete(chain);
    told.keep();
  }

  return Promise.resolve({
    target: url.port === "" ? `${url.host}:${url.protocol === "https:" ? 443 : 80}` : url.host,
    maxBatch: MAX_BATCH,
    deliver,
    [Symbol.asyncDispose]: async () => undefined,
  });
}

async function secretOf(name: string, read: (signal: AbortSignal) => Promise<string>, signal: AbortSignal) {
  try {
    return await read(signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new DeliveryFailed(`the value of the header \`${name}\` can't be had: ${messageOf(error)}`, { cause: error });
  }
}
