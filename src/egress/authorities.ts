import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { getCACertificates } from "node:tls";
import { GatewayError } from "../errors.ts";

/** Whose certificates this computer accepts, for upstream connections and for the sandbox's programs. */
export interface Authorities {
  /** In PEM, each once. */
  readonly all: readonly string[];
  /** Those among them that Node, and most other programs' own lists, would not have: a company's, say. */
  readonly extra: readonly string[];
  readonly digest: string;
}

/**
 * Node's own list, the system's, and what `NODE_EXTRA_CA_CERTS` and the configuration add.
 * @param files PEM files of further authorities
 * @throws GatewayError CONFIG_INVALID
 */
export async function readAuthorities(files: readonly string[]): Promise<Authorities> {
  const known = unique(getCACertificates("bundled"));
  const added = [
    ...getCACertificates("system"),
    ...getCACertificates("extra"),
    ...(await Promise.all(files.map(certificatesIn))).flat(),
  ];
  const extra = [...unique(added)].filter(([fingerprint]) => !known.has(fingerprint)).map(([, pem]) => pem);
  const all = [...known.values(), ...extra];
  const digest = createHash("sha256").update(all.join("")).digest("hex");
  return { all, extra, digest };
}

/** By their fingerprints; systems list some several times. */
function unique(certificates: readonly string[]): Map<string, string> {
  const sorted = certificates.map((pem) => [new X509Certificate(pem).fingerprint256, `${pem.trim()}\n`] as const);
  return new Map(sorted.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function certificatesIn(file: string): Promise<string[]> {
  try {
    const found = (await readFile(file, "utf8")).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
    if (!found) throw new Error("there is no certificate in it");
    return found.map((pem) => new X509Certificate(pem).toString());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError("CONFIG_INVALID", `the authorities in \`${file}\` can't be read: ${reason}`, { cause });
  }
}
