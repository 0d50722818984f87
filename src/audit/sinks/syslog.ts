import { hostname } from "node:os";
import { GatewayError } from "../../errors.ts";
import { messageOf } from "../../lib/error.ts";
import { certificatesIn, identityIn } from "./pem-files.ts";
import { type Batch, DeliveryFailed, type Sink, type SinkPorts } from "./sink.ts";
import { sendAll, type TlsIdentity } from "./syslog-connection.ts";
import { framed, type SyslogOrigin, syslogMessages } from "./syslog-message.ts";
import { FACILITIES, type SyslogSettings } from "./syslog-settings.ts";

const MAX_BATCH = { records: 1000, bytes: 1024 * 1024 };

/**
 * Records as syslog messages over TLS (RFC 5424, RFC 5425), a connection for each batch. Syslog has no acknowledgement; a batch counts as
 * delivered when the receiver has read it to its end: see `sendAll`.
 * @throws GatewayError CONFIG_INVALID when a certificate or key that the settings name can't be read
 */
export async function openSyslogSink(settings: SyslogSettings, ports: SinkPorts): Promise<Sink> {
  const { host, port, ca, clientCertificate, timeoutSeconds } = settings;
  const target = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  const origin: SyslogOrigin = {
    facility: FACILITIES[settings.facility],
    hostName: hostname(),
    appName: settings.appName,
    maxMessageBytes: settings.maxMessageBytes,
  };
  /** Read for each connection: certificates are renewed while gateways run. */
  const identity = async (): Promise<TlsIdentity> => ({
    ca: ca === undefined ? await ports.authorities() : [await certificatesIn(ca)],
    ...(clientCertificate && (await identityIn(clientCertificate))),
  });
  await identity();

  const closing = new AbortController();
  return {
    target,
    maxBatch: MAX_BATCH,
    deliveryMs: timeoutSeconds * 1000,
    async deliver(batch, outer) {
      const signal = AbortSignal.any([outer, closing.signal]);
      signal.throwIfAborted();
      try {
        const endpoint = { host, port, identity: await identity(), timeoutMs: timeoutSeconds * 1000 };
        await sendAll(endpoint, messagesOf(batch, origin), signal, ports.through);
      } catch (cause) {
        signal.throwIfAborted();
        throw new DeliveryFailed(`${target}: ${ports.hide(messageOf(cause))}`, { cause });
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new GatewayError("SHUTTING_DOWN"));
    },
  };
}

function* messagesOf({ entries }: Batch, origin: SyslogOrigin): Generator<string> {
  for (const entry of entries) yield syslogMessages(entry, origin).map(framed).join("");
}
