import "reflect-metadata";
import { KeyObject, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** Certificate and key, in PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

export interface TestAuthority {
  /** In PEM. */
  readonly certificate: string;
  /** What a server of this name or address shows. */
  server(host: string): Promise<Identity>;
  /** What a client shows that logs in as this user. */
  client(user: string): Promise<Identity>;
}

/** A certificate authority of a test's own. */
export async function createAuthority(name = "test"): Promise<TestAuthority> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + 30 * DAY_MS) };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=Glovebox ${name} authority`,
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  const issue = async (subject: string, usage: x509.ExtendedKeyUsage, names: x509.JsonGeneralNames) => {
    const own = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.create({
      subject,
      issuer: authority.subject,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([usage]),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      ],
    });
    const key = KeyObject.from(own.privateKey).export({ type: "pkcs8", format: "pem" }).toString();
    return { certificate: `${certificate.toString("pem")}\n`, key };
  };
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  return {
    certificate: `${authority.toString("pem")}\n`,
    server: (host) => issue("CN=server", serverAuth, [{ type: isIP(host) ? "ip" : "dns", value: host }]),
    client: (user) => issue(`CN=${user}`, clientAuth, []),
  };
}
