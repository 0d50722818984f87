/** What a TLS client says before anything is encrypted (RFC 8446 §4.1.2). */
export interface ClientHello {
  /** As it was sent (RFC 6066 §3); absent when it names none. */
  readonly serverName?: string;
  /** Encrypted Client Hello: the name that it shows need not be the one that it means. */
  readonly encrypted: boolean;
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
const RECORD_HEADER = 5;
/** Larger than any client's, with several post-quantum key shares. */
export const MAX_HELLO_BYTES = 65_536;

/** It is read again with each piece that comes, by a process that serves other sessions too; clients send one record, or a few. */
const MAX_RECORDS = 64;

/** What isn't a ClientHello, or is one that no server would take. */
export class NotTls extends Error {}

/** Reads the beginning of a connection; `undefined` as long as more is needed. @throws NotTls */
export function readClientHello(bytes: Buffer): ClientHello | undefined {
  const message = handshakeMessage(bytes);
  if (!message) return undefined;
  try {
    return parseHello(message);
  } catch (error) {
    if (error instanceof RangeError) throw new NotTls("the ClientHello is cut short");
    throw error;
  }
}

/** The first handshake message, put together from its records. */
function handshakeMessage(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  let gathered = 0;
  for (let at = 0; ; ) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE) throw new NotTls("no TLS handshake");
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) throw new NotTls("no TLS handshake");
    if (bytes.length - at < RECORD_HEADER) return undefined;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > 16_640) throw new NotTls("a TLS record of an impossible length");
    const part = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    parts.push(part);
    gathered += part.length;
    if (gathered >= 1 && bytes[RECORD_HEADER] !== CLIENT_HELLO) throw new NotTls("no ClientHello");
    if (gathered >= 4) {
      const wanted = 4 + Buffer.concat(parts, 4).readUIntBE(1, 3);
      if (wanted > MAX_HELLO_BYTES) throw new NotTls("the ClientHello is too long");
      if (gathered >= wanted) return Buffer.concat(parts, wanted).subarray(4);
    }
    if (part.length < length) return undefined;
    if (parts.length >= MAX_RECORDS) throw new NotTls("the ClientHello is in too many records");
    at += RECORD_HEADER + length;
  }
}

function parseHello(hello: Buffer): ClientHello {
  let at = 2 + 32; // version, random
  const skip = (size: 1 | 2) => {
    at += size + hello.readUIntBE(at, size);
  };
  skip(1); // session id
  skip(2); // cipher suites
  skip(1); // compression methods
  if (at === hello.length) return { encrypted: false };
  const end = at + 2 + hello.readUInt16BE(at);
  if (end !== hello.length) throw new NotTls("the ClientHello's extensions have another length");
  at += 2;
  const seen = new Set<number>();
  let serverName: string | undefined;
  while (at < end) {
    const type = hello.readUInt16BE(at);
    const body = hello.subarray(at + 4, at + 4 + hello.readUInt16BE(at + 2));
    at += 4 + hello.readUInt16BE(at + 2);
    if (at > end) throw new NotTls("an extension of the ClientHello is too long");
    // Two names would be read differently by us and by the server.
    if (seen.has(type)) throw new NotTls("an extension of the ClientHello stands twice");
    seen.add(type);
    if (type === SERVER_NAME) serverName = readServerName(body);
  }
  return { encrypted: seen.has(ENCRYPTED_CLIENT_HELLO), ...(serverName === undefined ? {} : { serverName }) };
}

/** A list of exactly one name of type host_name. */
function readServerName(body: Buffer): string {
  const length = body.readUInt16BE(3);
  if (body.readUInt16BE(0) !== body.length - 2 || body[2] !== 0 || length !== body.length - 5) {
    throw new NotTls("the server name of the ClientHello can't be read");
  }
  return body.toString("latin1", 5);
}
