import { once } from "node:events";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { connect } from "node:tls";
import { openSink } from "../src/audit/sinks/open.ts";
import { sinkSchema } from "../src/audit/sinks/settings.ts";
import type { Batch } from "../src/audit/sinks/sink.ts";
import { framed, syslogMessages } from "../src/audit/sinks/syslog-message.ts";
import { FACILITIES, syslogSchema } from "../src/audit/sinks/syslog-settings.ts";
import { messageOf } from "../src/lib/error.ts";
import type { Certificates } from "../test/support/certificates.ts";
import { Rsyslog } from "../test/support/rsyslog.ts";
import { portsOf, startReceiver } from "./receiving.ts";
import { type Row, timed } from "./row.ts";
import { type Bare, logTo } from "./shipping.ts";

interface Receiver {
  readonly port: number;
  readonly certificates: Certificates;
}

/**
 * Records a second from the log to a syslog receiver that has read them to their end, over TLS, beside the same bytes written into one connection
 * to the same receiver: rsyslog, which writes them to a file, and where that can't be started, a process that drops them.
 */
export async function benchLoggingSyslog(say: (message: string) => void): Promise<Row[]> {
  const rsyslog = await Rsyslog.start().catch((error: unknown) => {
    say(`logging: syslog to a receiver that drops it, as there is no rsyslog with TLS here: ${messageOf(error)}`);
  });
  if (rsyslog) {
    await using _ = rsyslog;
    return [await logToSyslog("rsyslog over TLS", rsyslog)];
  }
  using receiver = await startReceiver("tls");
  return [await logToSyslog("syslog over TLS, dropped there", receiver)];
}

async function logToSyslog(to: string, { port, certificates: { ca } }: Receiver): Promise<Row> {
  const settings = syslogSchema.parse({ name: "bench", type: "syslog", host: "localhost", port, ca });
  const origin = { ...settings, facility: FACILITIES[settings.facility], hostName: hostname() };
  const bytesOf = ({ entries }: Batch) =>
    Buffer.from(entries.flatMap((it) => syslogMessages(it, origin).map(framed)).join(""));
  return await logTo({
    to,
    open: () =>
      openSink(
        sinkSchema.parse(settings),
        portsOf(async () => []),
      ),
    bare: (batches) => writeAll(port, ca, batches.map(bytesOf)),
    baseline: "one TLS connection",
  });
}

/** Until the receiver has read to the end, and closed. */
async function writeAll(port: number, ca: string, chunks: readonly Buffer[]): Promise<Bare> {
  const ms = await timed(async () => {
    const socket = connect({ host: "localhost", port, ca: readFileSync(ca) });
    await once(socket, "secureConnect");
    for (const chunk of chunks) {
      if (!socket.write(chunk)) await once(socket, "drain");
    }
    socket.resume().end();
    await once(socket, "close");
  });
  return { ms, bytes: chunks.reduce((sum, it) => sum + it.length, 0) };
}
