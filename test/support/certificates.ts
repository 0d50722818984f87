import { KeyObject, webcrypto } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  /** Vouches for nobody here. */
  readonly otherCa: string;
  readonly client: { readonly certificate: string; readonly key: string };
  readonly stranger: { readonly certificate: string; readonly key: string };
}

/** `ca.pem`, `server.pem` and `.key` for localhost, `client.*` for client.example, `stranger.*` for stranger.example, and `other-ca.pem`. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const validity = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const at = (name: string) => join(directory, name);
  const pair = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

  const authority = async (file: string, name: string) => {
    const keys = await pair();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    writeFileSync(at(file), certificate.toString("pem"));
    return { keys, certificate };
  };
  const ca = await authority("ca.pem", "Test authority");
  await authority("other-ca.pem", "Other authority");

  const leaf = async (name: string, host: string) => {
    const keys = await pair();
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: ca.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: ca.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: host }]),
        await x509.AuthorityKeyIdentifierExtension.create(ca.keys.publicKey),
      ],
    });
    const files = { certificate: at(`${name}.pem`), key: at(`${name}.key`) };
    writeFileSync(files.certificate, certificate.toString("pem"));
    writeFileSync(files.key, KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    return files;
  };
  await leaf("server", "localhost");
  const client = await leaf("client", "client.example");
  const stranger = await leaf("stranger", "stranger.example");
  return { ca: at("ca.pem"), otherCa: at("other-ca.pem"), client, stranger };
}
