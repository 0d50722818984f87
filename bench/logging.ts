import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { openAuditLog } from "../src/audit/log.ts";
import { Shipper } from "../src/audit/ship/shipper.ts";
import { openSink } from "../src/audit/sinks/open.ts";
import { sinkSchema } from "../src/audit/sinks/settings.ts";
import { createSessionAuthority } from "../src/egress/session-authority.ts";
import { GatewayError } from "../src/errors.ts";
import { createOutbound } from "../src/lib/outbound.ts";
import { bareAppends, record } from "./audit.ts";
import { type Row, row, timed } from "./row.ts";

const RECORDS = 20_000;

/**
 * Records a second from the log to a receiver's confirmation over HTTPS on loopback, the receiver in the same process, beside bare POSTs of
 * the same bytes, and beside bare appends, which is how fast they can come.
 */
export async function benchLogging(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-logging-"));
  const authority = await createSessionAuthority();
  const bodies: Buffer[] = [];
  const server = createServer(
    { SNICallback: (name, done) => void authority.contextFor(name).then((it) => done(null, it), done) },
    (request, response) =>
      void buffer(request).then((body) => {
        bodies.push(body);
        response.end("{}");
      }),
  );
  try {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
    const hide = (text: string) => text;
    const authorities = async () => [authority.certificate];
    const bare = await bareAppends(join(directory, "bare"));
    await fill(join(directory, "audit"));
    const shipMs = await timed(async () => {
      const settings = sinkSchema.parse({ name: "bench", type: "https", url });
      const shipper = new Shipper({
        auditDirectory: join(directory, "audit"),
        directory: join(directory, "sink"),
        open: () => openSink(settings, { authorities, secret: () => async () => "", hide, version: "0.0.0" }),
        hide,
        tell: () => undefined,
        once: true,
      });
      await shipper.ended;
    });
    const failed = (message: string) => new GatewayError("SINK_FAILED", message);
    const send = createOutbound({ authorities, failed });
    const signal = new AbortController().signal;
    const sent = bodies.splice(0);
    const postMs = await timed(async () => {
      for (const body of sent) {
        await send({ method: "POST", url: new URL(url), headers: {}, body, timeoutMs: 60_000, signal });
      }
    });
    const perSecond = (ms: number) => [(RECORDS * 1000) / ms];
    const megabytes = sent.reduce((sum, it) => sum + it.length, 0) / 1e6;
    const posts = `bare POSTs of the same ${megabytes.toFixed(1)} MB`;
    return [
      row("log to HTTPS, end to end", perSecond(shipMs), "records/s", posts, perSecond(postMs)),
      row("log to HTTPS, end to end", perSecond(shipMs), "records/s", "append + fdatasync, one by one", [bare]),
    ];
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function fill(directory: string): Promise<void> {
  await using log = await openAuditLog({ directory, gateway: "gw-bench" });
  for (let done = 0; done < RECORDS; done += 1_000) {
    await Promise.all(
      Array.from({ length: 1_000 }, (_, at) =>
        log.append({ ...record(), callId: `call-${done + at}`, decision: "deny" }),
      ),
    );
  }
}
