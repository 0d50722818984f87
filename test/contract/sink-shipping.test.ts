import { afterAll, beforeAll, describe } from "vitest";
import { openOtlpReceiver } from "../support/otlp-receiver.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { postgresReceiver } from "../support/postgres-receiver.ts";
import { makeStore } from "../support/postgres-store.ts";
import { Rsyslog } from "../support/rsyslog.ts";
import { sinkSuite } from "./sink-suite.ts";

sinkSuite("logs and traces by OTLP", async () => {
  const receiver = await openOtlpReceiver();
  return { ...receiver, settings: { ...receiver.settings, name: "central" } };
});

sinkSuite("messages to rsyslog", () => Rsyslog.start());

describe("on a server of PostgreSQL's own", () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres();
    await makeStore(postgres);
  });
  afterAll(async () => {
    await postgres?.[Symbol.asyncDispose]();
  });

  sinkSuite("rows in PostgreSQL", async () => {
    const receiver = await postgresReceiver(postgres);
    return { ...receiver, settings: { ...receiver.settings, name: "central" } };
  });
});
