import { z } from "zod";
import type { Artifact, Desk, Integrity } from "../registry.ts";
import { findDocument, ifAnswered, readIntegrity } from "./documents.ts";
import { licenseAlternatives } from "./license-alternatives.ts";
import { MAX_XML_BYTES, readXml } from "./maven-metadata.ts";
import { mavenFolder } from "./maven-path.ts";

const HTTP_TIME = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;
const MAX_CHECKSUM_BYTES = 4_096;
const HEX_CHARS: Readonly<Record<string, number>> = { md5: 32, sha1: 40, sha256: 64, sha512: 128 };

/** A file as its neighbours describe it: digests in files beside it, and when it was last modified. `undefined` when there is none. */
export async function findFile(name: string, version: string, file: string, desk: Desk): Promise<Artifact | undefined> {
  const url = fileUrl(name, version, file, desk);
  const head = await findDocument(desk, url, { method: "HEAD" });
  if (!head) return undefined;
  const asked = (["sha256", "sha1"] as const).map(async (algorithm) =>
    readIntegrity(algorithm, await findChecksum(url, algorithm, desk)),
  );
  const integrity: Integrity[] = (await Promise.all(asked)).flat();
  const modified = head.headers["last-modified"] ?? "";
  const publishedMs = HTTP_TIME.test(modified) ? Date.parse(modified) : Number.NaN;
  return {
    file,
    url,
    integrity,
    buildsFromSource: false,
    ...(!Number.isNaN(publishedMs) && { publishedMs }),
  };
}

export function fileUrl(name: string, version: string, file: string, desk: Desk): string {
  return `${desk.root(name)}${mavenFolder(name)}/${version}/${file}`;
}

/** The digest in hexadecimal, in the file beside the one at `url`; some write the file's name behind it. */
export async function findChecksum(url: string, algorithm: string, desk: Desk): Promise<string | undefined> {
  const document = await findDocument(desk, `${url}.${algorithm}`, { maxBytes: MAX_CHECKSUM_BYTES });
  const [, hex] = /^\s*([0-9A-Fa-f]+)(?:\s|$)/.exec(document?.body.toString("latin1") ?? "") ?? [];
  return hex?.length === HEX_CHARS[algorithm] ? hex?.toLowerCase() : undefined;
}

/** Names under which common licences go in POMs, in lower case and without what is written in many ways. */
const NAMED: ReadonlyMap<string, string> = new Map([
  ["apache 2.0", "Apache-2.0"],
  ["apache software 2.0", "Apache-2.0"],
  ["mit", "MIT"],
  ["isc", "ISC"],
  ["eclipse public 1.0", "EPL-1.0"],
  ["eclipse public 2.0", "EPL-2.0"],
  ["mozilla public 2.0", "MPL-2.0"],
  ["bsd 2-clause", "BSD-2-Clause"],
  ["bsd 3-clause", "BSD-3-Clause"],
  ["gnu lesser general public 2.1", "LGPL-2.1-only"],
  ["gnu lesser general public 3.0", "LGPL-3.0-only"],
]);

const license = z.object({ name: z.string().optional() });
const pom = z.object({
  project: z.object({
    licenses: z
      .union([z.literal(""), z.object({ license: z.union([z.array(license), license]).optional() })])
      .optional(),
  }),
});

/** The licences in a version's POM, of which one suffices (maven.apache.org/pom.html#licenses); what its parent has is not looked up. */
export async function licensesOf(name: string, version: string, desk: Desk): Promise<readonly string[]> {
  return (await ifAnswered(() => pomLicenses(name, version, desk))) ?? [];
}

async function pomLicenses(name: string, version: string, desk: Desk): Promise<readonly string[]> {
  const file = `${name.split(":").at(-1)}-${version}.pom`;
  const document = await findDocument(desk, fileUrl(name, version, file, desk), { maxBytes: MAX_XML_BYTES });
  const parsed = document && pom.safeParse(readXml(document, `maven's description of \`${name}\``));
  const licenses = parsed?.data?.project.licenses;
  return [licenses ? (licenses.license ?? []) : []].flat().flatMap((it) => spdx(it.name ?? ""));
}

function spdx(name: string): string[] {
  const plain = name
    .toLowerCase()
    .replace(/\b(?:the|licen[cs]e|version|v(?=[ .\d]))\b|,| - /g, " ")
    .replace(/(?<= )v(?=\d)/, "")
    .replace(/\s+/g, " ")
    .trim();
  const known = NAMED.get(plain);
  return known === undefined ? licenseAlternatives(name) : [known];
}
