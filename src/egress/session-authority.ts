import { KeyObject, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
/** Clocks jump, the sandbox's and this computer's: a certificate that isn't valid *yet* must not be. */
const BEFORE_MS = 400 * DAY_MS;
const AFTER_MS = 400 * DAY_MS;
const MAX_CERTIFICATES = 256;

/**
 * One session's certificate authority: its programs trust it, nobody else does, and its key stays in this process. It speaks for the hosts
 * whose TLS ends at the proxy, and it vouches for nothing by being asked: the proxy decides first.
 */
export interface SessionAuthority {
  /** In PEM. */
  readonly certificate: string;
  /** What a TLS server of this name needs. */
  contextFor(host: string): Promise<SecureContext>;
}

export async function createSessionAuthority(): Promise<SessionAuthority> {
  // Loaded when the first session needs it: most need none.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const now = Date.now();
  const validity = { notBefore: new Date(now - BEFORE_MS), notAfter: new Date(now + AFTER_MS) };
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Glovebox sandbox session",
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  // One key for all of them: it is as much a session's as the authority's own.
  const leafKeys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const key = KeyObject.from(leafKeys.privateKey).export({ type: "pkcs8", format: "pem" });

  const made = new Map<string, Promise<SecureContext>>();
  const make = async (host: string): Promise<SecureContext> => {
    const leaf = await x509.X509CertificateGenerator.create({
      subject: "CN=Glovebox sandbox",
      issuer: certificate.subject,
      publicKey: leafKeys.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: isIP(host) ? "ip" : "dns", value: host }], true),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return createSecureContext({ key, cert: leaf.toString("pem"), minVersion: "TLSv1.2" });
  };
  return {
    certificate: `${certificate.toString("pem")}\n`,
    contextFor: (host) => {
      const known = made.get(host);
      if (known) return known;
      const [oldest] = made.keys();
      if (made.size >= MAX_CERTIFICATES && oldest !== undefined) made.delete(oldest);
      const making = make(host);
      made.set(host, making);
      return making;
    },
  };
}
