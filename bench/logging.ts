import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSink } from "../src/audit/sinks/open.ts";
import { sinkSchema } from "../src/audit/sinks/settings.ts";
import { bareAppends } from "./audit.ts";
import { postAgain, startReceiver } from "./receiving.ts";
import { type Row, row } from "./row.ts";
import { logTo } from "./shipping.ts";

/**
 * Records a second from the log to a receiver's confirmation over HTTPS, as JSON and by OTLP (logs, and a span for each call), beside bare POSTs of
 * the same bodies; and those over HTTPS beside bare appends, which is how fast they can come.
 */
export async function benchLogging(): Promise<Row[]> {
  using receiver = await startReceiver("https");
  const url = `https://localhost:${receiver.port}/`;
  const to = (name: string, type: "https" | "otlp") =>
    logTo({
      to: name,
      open: () => openSink(sinkSchema.parse({ name: "bench", type, url }), receiver.ports),
      bare: () => postAgain(receiver),
      baseline: "bare POSTs",
    });
  const https = await to("HTTPS", "https");
  const bare = await appendsPerSecond();
  return [
    https,
    row(https.name, [https.value.p50], "records/s", "append + fdatasync, one by one", [bare]),
    await to("OTLP, logs and spans", "otlp"),
  ];
}

async function appendsPerSecond(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-logging-"));
  try {
    return await bareAppends(join(directory, "bare"));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
