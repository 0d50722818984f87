import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openSink } from "../../src/audit/sinks/open.ts";
import { openStore } from "../../src/audit/sinks/postgres-read.ts";
import { postgresSchema } from "../../src/audit/sinks/postgres-settings.ts";
import { sinkSchema } from "../../src/audit/sinks/settings.ts";
import { DeliveryFailed, type SinkPorts } from "../../src/audit/sinks/sink.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { createOutbound } from "../../src/lib/outbound.ts";
import { scratch } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { batchOf, loggedEntries, sinkPorts } from "../support/sinks.ts";

const SECRET = "swordfish-and-a-few-more-words";
/** Texts of this kind are cut behind 300 characters, here in the middle of the secret. */
const SAID = `${"x".repeat(290)}${SECRET}`;
const { signal } = new AbortController();

/** As where the way to a receiver says what it must not. */
function leaky(): SinkPorts {
  const known = createKnownSecrets();
  known.add("logging.sinks.central", SECRET);
  return { ...sinkPorts, hide: known.hide, through: () => Promise.reject(new Error(SAID)) };
}

function expectHidden(error: unknown): void {
  expect(error).toBeInstanceOf(Error);
  const text = error instanceof Error ? error.message : "";
  expect(text).toContain("xxx[");
  expect(text).not.toContain(SECRET.slice(0, 4));
}

const postgres = { type: "postgres", host: "127.0.0.1", tls: "local", database: "logs", user: "gateway" };

test.each([
  ["https", { type: "https", url: "https://logs.example.com/" }],
  ["otlp", { type: "otlp", url: "https://logs.example.com/" }],
  ["syslog", { type: "syslog", host: "logs.example.com" }],
  ["postgres", postgres],
])("no part of a secret is in what is said of a delivery that failed: %s", async (_type, stated) => {
  await using sink = await openSink(sinkSchema.parse({ name: "central", ...stated }), leaky());
  const failure = await sink
    .deliver(batchOf(await loggedEntries([event({})])), signal)
    .catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(DeliveryFailed);
  expectHidden(failure);
});

test("nor of a transport of pino's that failed", async () => {
  const target = join(scratch(), "transport.mjs");
  writeFileSync(target, `export default () => { throw new Error(${JSON.stringify(SAID)}); };`, { mode: 0o644 });
  const sink = await openSink(sinkSchema.parse({ name: "central", type: "pino", target }), leaky());
  onTestFinished(() => sink[Symbol.asyncDispose]());
  expectHidden(await sink.deliver(batchOf(await loggedEntries([event({})])), signal).catch((error: unknown) => error));
});

test("nor of a store that can't be read", async () => {
  expectHidden(
    await openStore(postgresSchema.parse({ name: "central", ...postgres }), leaky()).catch((it: unknown) => it),
  );
});

test("nor of a request of the gateway's own", async () => {
  const { hide, through, authorities } = leaky();
  const failed = (message: string, cause?: unknown) => new Error(message, { cause });
  const send = createOutbound({ authorities, hide, failed, upstreamProxy: through });
  const url = new URL("https://logs.example.com/");
  const asking = { method: "POST", url, headers: {}, body: "", timeoutMs: 60_000, signal } as const;
  expectHidden(await send(asking).catch((error: unknown) => error));
});
