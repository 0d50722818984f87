import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { auditRecords, connect, testData } from "../support/gateway.ts";
import { openHttpsReceiver } from "../support/https-receiver.ts";

test("a gateway that ends has shipped its whole log, the farewell and the last checkpoint too", async () => {
  using data = testData();
  const authority = await createSessionAuthority();
  await using receiver = await openHttpsReceiver(authority);
  const ca = join(data.directory, "ca.pem");
  writeFileSync(ca, authority.certificate);
  const config = join(data.directory, "glovebox.yaml");
  const url = `https://localhost:${receiver.port}/`;
  writeFileSync(config, `logging: { sinks: [{ name: central, type: https, url: ${url}, ca: ${ca} }] }\n`);
  {
    await using client = await connect(data, ["--config", config, "--spares", "0"]);
    expect((await client.call("listSessions")).isError).toBe(false);
  }
  const records = auditRecords(data);
  expect(records.slice(-2).map(({ body }) => body)).toMatchObject([
    { event: "gateway-stopped" },
    { event: "checkpoint" },
  ]);
  const received = new Map((await receiver.received()).map(({ id, hash }) => [id, hash]));
  expect(received).toEqual(new Map(records.map(({ chain, seq, hash }) => [`${chain}/${seq}`, hash])));
});
