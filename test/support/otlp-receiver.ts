import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import protobuf from "protobufjs";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";

/**
 * The messages of OTLP that are received here, by their numbers in opentelemetry-proto 1.x (common, resource, logs, trace and collector),
 * for a decoder that has nothing in common with the encoder under test.
 */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message AnyValue { oneof value {
    string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; ArrayValue array_value = 5;
    KeyValueList kvlist_value = 6; bytes bytes_value = 7; } }
  message ArrayValue { repeated AnyValue values = 1; }
  message KeyValueList { repeated KeyValue values = 1; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message Scope { string name = 1; string version = 2; repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4; }
  message Resource { repeated KeyValue attributes = 1; uint32 dropped_attributes_count = 2; }
  message LogRecord {
    fixed64 time_unix_nano = 1; int32 severity_number = 2; string severity_text = 3; AnyValue body = 5; repeated KeyValue attributes = 6;
    uint32 dropped_attributes_count = 7; fixed32 flags = 8; bytes trace_id = 9; bytes span_id = 10; fixed64 observed_time_unix_nano = 11;
    string event_name = 12; }
  message ScopeLogs { Scope scope = 1; repeated LogRecord log_records = 2; string schema_url = 3; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; string schema_url = 3; }
  message LogsRequest { repeated ResourceLogs resource_logs = 1; }
  message Status { string message = 2; int32 code = 3; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
    fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
    uint32 dropped_attributes_count = 10; uint32 dropped_events_count = 12; uint32 dropped_links_count = 14; Status status = 15;
    fixed32 flags = 16; }
  message ScopeSpans { Scope scope = 1; repeated Span spans = 2; string schema_url = 3; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; string schema_url = 3; }
  message TracesRequest { repeated ResourceSpans resource_spans = 1; }
  message PartialSuccess { int64 rejected = 1; string error_message = 2; }
  message Response { PartialSuccess partial_success = 1; }
`);

type Attributes = Readonly<Record<string, unknown>>;

export interface ReceivedLog {
  readonly time: string;
  readonly severity: string;
  readonly body: string;
  readonly eventName: string;
  readonly attributes: Attributes;
  readonly resource: Attributes;
  readonly traceId: string;
  readonly spanId: string;
}

export interface ReceivedSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly startNano: bigint;
  readonly endNano: bigint;
  readonly attributes: Attributes;
  readonly resource: Attributes;
  readonly status: { readonly code: number; readonly message: string };
}

/** One answer instead of a confirmation. */
export interface Odd {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Whether what came is kept all the same. */
  readonly keep?: boolean;
}

export interface Asked {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** A receiver of OTLP over HTTPS on loopback. It keeps what it confirms, and more than once if it comes more than once. */
export async function openOtlpReceiver(authority?: SessionAuthority) {
  const { certificate, contextFor } = authority ?? (await createSessionAuthority());
  const logs: ReceivedLog[] = [];
  const spans: ReceivedSpan[] = [];
  const asked: Asked[] = [];
  const errors: unknown[] = [];
  const sockets = new Set<Socket>();
  /** What it says next, by path, first come first. */
  const odd: { readonly path: string; readonly answer: Odd | "drop" }[] = [];
  let delayMs = 0;
  let server: Server | undefined;
  let port = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const path = request.url ?? "";
    asked.push({ path, headers: request.headers });
    if (delayMs > 0) await sleep(delayMs, undefined, { ref: false });
    const kind = /\/v1\/(logs|traces)$/.exec(path)?.[1];
    if (request.method !== "POST" || request.headers["content-type"] !== "application/x-protobuf" || !kind) {
      response.writeHead(404).end();
      return;
    }
    const at = odd.findIndex((it) => path.endsWith(it.path));
    const next = at === -1 ? undefined : odd.splice(at, 1)[0]?.answer;
    if (next === undefined || next === "drop" || next.keep) {
      const content = Buffer.concat(chunks);
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(content) : content;
      if (kind === "logs") logs.push(...readLogs(body));
      else spans.push(...readSpans(body));
    }
    if (next === "drop") request.socket.destroy();
    else if (next) response.writeHead(next.status, next.headers).end(next.body);
    else response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  }

  async function start(): Promise<void> {
    const listening = createServer(
      {
        SNICallback: (name, done) => void contextFor(name).then((it) => done(null, it), done),
        ALPNProtocols: ["http/1.1"],
      },
      (request, response) => {
        answer(request, response).catch((error: unknown) => {
          // The client may be the one that has gone.
          if (!request.socket.destroyed) errors.push(error);
          request.socket.destroy();
        });
      },
    );
    listening.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      socket.on("error", () => undefined);
    });
    listening.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve, reject) => {
      listening.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    ({ port } = listening.address() as AddressInfo);
    server = listening;
  }

  async function stop(): Promise<void> {
    const ending = server;
    server = undefined;
    if (!ending) return;
    const closed = new Promise<void>((resolve) => void ending.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  }

  await start();
  return {
    settings: { name: "telemetry", type: "otlp", url: `https://localhost:${port}` },
    authorities: [certificate],
    logs,
    spans,
    asked,
    errors,
    odd,
    /** Each record once; a repetition has to be the same. */
    received: async () => {
      const kept = new Map<string, string>();
      for (const { attributes } of logs) {
        const id = String(attributes["glovebox.record.id"]);
        const hash = String(attributes["glovebox.record.hash"]);
        if ((kept.get(id) ?? hash) !== hash) throw new Error(`${id} came with another hash`);
        kept.set(id, hash);
      }
      return [...kept].map(([id, hash]) => ({ id, hash }));
    },
    stop,
    start,
    slow: (ms: number) => {
      delayMs = ms;
    },
    dropNext: () => void odd.push({ path: "/v1/logs", answer: "drop" }),
    [Symbol.asyncDispose]: stop,
  };
}

/** The bytes of an answer that says that some were refused. */
export function partialSuccess(rejected: number, errorMessage: string): Uint8Array {
  const Response = root.lookupType("Response");
  return Response.encode(Response.create({ partialSuccess: { rejected, errorMessage } })).finish();
}

/** As protobufjs gives them, with the defaults of what was not sent. */
interface RawValue {
  /** Which of the others is there. */
  readonly value?: string;
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values: readonly RawValue[] };
}

interface RawAttributes {
  readonly attributes: readonly { readonly key: string; readonly value: RawValue }[];
}

interface RawIds extends RawAttributes {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
}

interface RawLog extends RawIds {
  readonly timeUnixNano: string;
  readonly severityText: string;
  readonly body: RawValue;
  readonly eventName: string;
}

interface RawSpan extends RawIds, Pick<ReceivedSpan, "name" | "kind" | "traceState" | "status"> {
  readonly parentSpanId: Buffer;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
}

interface RawLogs {
  readonly resourceLogs: readonly {
    readonly resource: RawAttributes;
    readonly scopeLogs: readonly { readonly logRecords: readonly RawLog[] }[];
  }[];
}

interface RawSpans {
  readonly resourceSpans: readonly {
    readonly resource: RawAttributes;
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
}

function decoded(type: string, body: Buffer): unknown {
  const Type = root.lookupType(type);
  return Type.toObject(Type.decode(body), { longs: String, bytes: Buffer, defaults: true, oneofs: true });
}

function readLogs(body: Buffer): ReceivedLog[] {
  return (decoded("LogsRequest", body) as RawLogs).resourceLogs.flatMap(({ resource, scopeLogs }) =>
    scopeLogs.flatMap(({ logRecords }) =>
      logRecords.map((log) => ({
        time: log.timeUnixNano,
        severity: log.severityText,
        body: String(plainOf(log.body)),
        eventName: log.eventName,
        attributes: attributesOf(log),
        resource: attributesOf(resource),
        traceId: log.traceId.toString("hex"),
        spanId: log.spanId.toString("hex"),
      })),
    ),
  );
}

function readSpans(body: Buffer): ReceivedSpan[] {
  return (decoded("TracesRequest", body) as RawSpans).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ name, kind, traceState, status, ...span }) => ({
        ...{ name, kind, traceState, status },
        traceId: span.traceId.toString("hex"),
        spanId: span.spanId.toString("hex"),
        parentSpanId: span.parentSpanId.toString("hex"),
        startNano: BigInt(span.startTimeUnixNano),
        endNano: BigInt(span.endTimeUnixNano),
        attributes: attributesOf(span),
        resource: attributesOf(resource),
      })),
    ),
  );
}

function attributesOf({ attributes }: RawAttributes): Attributes {
  const keys = attributes.map((it) => it.key);
  if (new Set(keys).size !== keys.length) throw new Error("an attribute is there twice");
  return Object.fromEntries(attributes.map((it) => [it.key, plainOf(it.value)]));
}

function plainOf(value: RawValue): unknown {
  if (value.arrayValue) return value.arrayValue.values.map(plainOf);
  return value.intValue === undefined
    ? (value.stringValue ?? value.boolValue ?? value.doubleValue)
    : Number(value.intValue);
}
