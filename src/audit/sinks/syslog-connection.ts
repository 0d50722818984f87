import { once } from "node:events";
import { connect, isIP, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { abortable } from "../../lib/deadline.ts";
import { codeOf, messageOf } from "../../lib/error.ts";
import type { SinkPorts } from "./sink.ts";

/** How long a reset may be on its way after the receiver's end of the connection; ms. */
const MIN_SETTLE_MS = 50;
const MAX_SETTLE_MS = 2_000;

export interface TlsIdentity {
  /** In PEM: who may vouch for the receiver. */
  readonly ca: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly identity: TlsIdentity;
  /** How long the connection may make no progress. */
  readonly timeoutMs: number;
}

/**
 * Sends messages over a TLS connection of their own, and resolves when the receiver has read them to their end. Syslog has no acknowledgement
 * (RFC 5425 §4.4 has the sender close with `close_notify`, and no more), so this is what stands for one:
 *
 * 1. Everything is written, then `close_notify`; the TCP connection stays open. A receiver reads on until it sees that, and then closes.
 * 2. The connection ends from the other side, without an error. When a kernel closes a socket with bytes that nobody has read, as it does for
 *    a receiver that was killed, or that refused the client's certificate after the handshake, it sends a reset in place of an end.
 * 3. What was on its way when a receiver closed is answered by a reset that follows the end. So two round trips later another byte is written,
 *    which fails when there was one. The receiver, which has closed, never sees it.
 *
 * What a receiver has read it may still lose: from a queue in its memory, when it is killed. And who stands between can cut the connection
 * behind a message and forge its end: TCP's is not authenticated, and receivers end TLS in either way, with `close_notify` and without.
 * @throws Error saying in words for a person what went wrong; the signal's reason
 */
export async function sendAll(
  { host, port, identity, timeoutMs }: Endpoint,
  messages: Iterable<string>,
  signal: AbortSignal,
  through?: SinkPorts["through"],
): Promise<void> {
  const broken = new AbortController();
  const fail = (why: Error) => broken.abort(why);
  const either = AbortSignal.any([signal, broken.signal]);
  const patience = setTimeout(() => fail(new Error(`no answer for ${timeoutMs / 1000} s`)), timeoutMs);
  const begun = performance.now();
  let raw: Duplex | undefined;
  let secure: TLSSocket | undefined;
  try {
    raw = through ? await through(host, port, either) : await dialled(host, port, either);
    // Its end from the other side must not be answered by ours.
    raw.allowHalfOpen = true;
    const settleMs = Math.min(MAX_SETTLE_MS, Math.max(MIN_SETTLE_MS, 2 * (performance.now() - begun)));
    raw.on("error", (cause) => fail(new Error(wordsOf(cause), { cause })));
    raw.on("close", () => fail(new Error("the connection was closed")));
    const ended = once(raw, "end", { signal: either });
    ended.catch(() => undefined);
    secure = connectTls({
      socket: heldOpen(raw, () => patience.refresh()),
      host,
      ...(isIP(host) === 0 && { servername: host }),
      ...identity,
      ca: [...identity.ca],
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
    });
    secure.on("error", (cause) => fail(new Error(wordsOf(cause), { cause })));
    await abortable(once(secure, "secureConnect", { signal: either }), either);
    // A receiver has nothing to say; whatever it says is not kept.
    secure.resume();
    let closing = false;
    const early = () => closing || fail(new Error("the receiver closed the connection before it had everything"));
    raw.once("end", early);
    secure.once("end", early);
    for (const message of messages) {
      if (!secure.write(message)) await abortable(once(secure, "drain", { signal: either }), either);
      either.throwIfAborted();
    }
    closing = true;
    secure.end();
    await abortable(ended, either);
    await sleep(settleMs, undefined, { signal: either }).catch(() => either.throwIfAborted());
    await abortable(written(raw, Buffer.alloc(1)), either);
  } catch (error) {
    either.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(patience);
    secure?.destroy();
    raw?.destroy();
  }
}

async function dialled(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true, autoSelectFamily: true });
  try {
    await once(socket, "connect", { signal });
    return socket;
  } catch (cause) {
    socket.destroy();
    signal.throwIfAborted();
    throw new Error(`cannot be reached (${codeOf(cause) ?? messageOf(cause)})`, { cause });
  }
}

/** What TLS runs over: the connection, except that the end of TLS is not that of the connection. */
function heldOpen(raw: Duplex, onProgress: () => void): Duplex {
  const held = new Duplex({
    read: () => void raw.resume(),
    write: (chunk: Buffer, _encoding, done) =>
      void raw.write(chunk, (error) => {
        onProgress();
        done(error);
      }),
    final: (done) => done(),
  });
  raw.on("data", (chunk: Buffer) => {
    onProgress();
    if (!held.push(chunk)) raw.pause();
  });
  raw.on("end", () => held.push(null));
  raw.on("error", (error) => held.destroy(error));
  return held;
}

async function written(raw: Duplex, bytes: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  raw.write(bytes, (error) => (error ? reject(new Error(wordsOf(error), { cause: error })) : resolve()));
  await promise;
}

/** Why TLS or the connection failed, in words that say what to do about it. */
function wordsOf(error: unknown): string {
  const code = codeOf(error) ?? "";
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return "its certificate is for another name than `host`";
  if (/^(?:SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY_LEAF))/.test(code)) {
    return `its certificate is not of an authority that is trusted (${code}); name that in \`ca\``;
  }
  if (/^(?:CERT_|ERR_TLS_|CRL_)/.test(code)) return `its certificate was not accepted (${code})`;
  if (/ALERT/.test(code)) return `it refused the TLS handshake (${code}); it may want another \`clientCertificate\``;
  if (code === "ECONNRESET" || code === "EPIPE") {
    return `it cut the connection before it had read everything (${code}), as a receiver does that doesn't accept \`clientCertificate\``;
  }
  return `the connection failed (${code || "no reason given"})`;
}
