import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import type { AuditRecord } from "../../src/audit/record.ts";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import type { ReceivedRecord } from "../contract/sink-suite.ts";

export interface Delivery {
  readonly request: IncomingMessage;
  /** As it was before it was compressed. */
  readonly body: string;
}

type Answer = (delivery: Delivery, response: ServerResponse) => boolean | Promise<boolean>;

export interface HttpsReceiver extends AsyncDisposable {
  readonly port: number;
  readonly deliveries: readonly Delivery[];
  /** How many records it keeps. */
  readonly size: () => number;
  readonly received: () => Promise<readonly ReceivedRecord[]>;
  stop(): Promise<void>;
  start(): Promise<void>;
  slow(delayMs: number): void;
  dropNext(): void;
  /** Answers in place of the receiver; true: it has. */
  instead: Answer;
}

export interface Speech {
  readonly records: (body: string) => AuditRecord[];
  readonly answer: (records: readonly AuditRecord[], isNew: (record: AuditRecord) => boolean) => object;
}

/** What Glovebox's own form, Splunk and Elasticsearch are sent and answer. */
export const SPEECH = {
  json: {
    records: (body) => JSON.parse(body).records,
    answer: () => ({}),
  },
  splunk: {
    records: (body) => body.split("\n").map((it) => JSON.parse(it).event),
    answer: () => ({ text: "Success", code: 0 }),
  },
  elasticsearch: {
    records: (body) =>
      body
        .trimEnd()
        .split("\n")
        .filter((_, at) => at % 2 === 1)
        .map((it) => JSON.parse(JSON.parse(it).event.original)),
    answer: (records, isNew) => ({
      errors: false,
      items: records.map((it) => ({ create: { status: isNew(it) ? 201 : 409 } })),
    }),
  },
} as const satisfies Record<string, Speech>;

/** A receiver of batches over HTTPS on loopback that keeps each record once. */
export async function openHttpsReceiver(
  authority: SessionAuthority,
  { records, answer }: Speech = SPEECH.json,
  options: ServerOptions = {},
): Promise<HttpsReceiver> {
  const kept = new Map<string, string>();
  const deliveries: Delivery[] = [];
  const problems: Error[] = [];
  let delayMs = 0;
  let drops = 0;

  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const bytes = await buffer(request);
    const body = (request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString("utf8");
    const delivery = { request, body };
    deliveries.push(delivery);
    if (await receiver.instead(delivery, response)) return;
    await sleep(delayMs);
    if (!server.listening) return;
    const own = records(body);
    const known = new Set(kept.keys());
    for (const { chain, seq, hash } of own) {
      const id = `${chain}/${seq}`;
      if ((kept.get(id) ?? hash) !== hash) problems.push(new Error(`${id} came with two hashes`));
      kept.set(id, hash);
    }
    if (drops > 0) {
      drops -= 1;
      response.destroy();
      return;
    }
    response.end(JSON.stringify(answer(own, ({ chain, seq }) => !known.has(`${chain}/${seq}`))));
  };
  const server = createServer(
    {
      SNICallback: (name, done) => void authority.contextFor(name).then((it) => done(null, it), done),
      ALPNProtocols: ["http/1.1"],
      ...options,
    },
    (request, response) =>
      void take(request, response).catch((error: unknown) => {
        // A request that was cut off has no body.
        if (!request.complete) return;
        problems.push(error as Error);
        response.writeHead(500).end();
      }),
  );
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  const stop = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const receiver: HttpsReceiver = {
    port,
    deliveries,
    size: () => kept.size,
    received: async () => {
      const [problem] = problems;
      if (problem) throw problem;
      return [...kept].map(([id, hash]) => ({ id, hash }));
    },
    stop,
    start: () => listen(port),
    slow: (ms) => {
      delayMs = ms;
    },
    dropNext: () => {
      drops += 1;
    },
    instead: () => false,
    [Symbol.asyncDispose]: async () => {
      if (server.listening) await stop();
    },
  };
  return receiver;
}
