import { createHash } from "node:crypto";
import { mavenNaming } from "../../policy/ecosystems/maven.ts";
import { isOpen } from "../../policy/verdict.ts";
import { permitted } from "../permitted.ts";
import type { Artifact, Desk, Registry, RegistryRequest, Release, Reply } from "../registry.ts";
import { findDocument, metadata, notFound } from "./documents.ts";
import { handOver } from "./hand-over.ts";
import { fileUrl, findChecksum, findFile, licensesOf } from "./maven-files.ts";
import { lastUpdatedMs, MAX_XML_BYTES, type MavenMetadata, readMetadata, writeMetadata } from "./maven-metadata.ts";
import { type MavenPath, mavenFolder, readMavenPath } from "./maven-path.ts";

/** Of so many of the highest versions it is asked when they are from, and what their digests are: each is three requests. */
const LOOKED_AT = 12;

/** A Maven repository (maven.apache.org/repository/layout.html). */
export const mavenRegistry: Registry = {
  naming: mavenNaming,
  answer: async (request, desk) => {
    const path = readMavenPath(request.path);
    if (path === undefined || mavenNaming.readName(path.name) !== path.name) return notFound();
    switch (path.kind) {
      case "metadata":
        return answerMetadata(path.name, path.checksum, desk);
      case "snapshot":
        return desk.refuse(path, "snapshots change under their name: take a version that was released");
      case "file":
        return answerFile(path, request, desk);
    }
  },
  releases: async (name, desk, version) => {
    const listing = await findListing(name, desk);
    if (!listing || listing.versions.length === 0) return undefined;
    return Promise.all(
      listing.versions
        .toSorted((a, b) => mavenNaming.compare(b, a))
        .map((it, index) =>
          describe(name, it, listing, desk, it === version ? "whole" : index < LOOKED_AT ? "seen" : "named"),
        ),
    );
  },
  // Maven takes repositories from its settings only, and refuses those without TLS: it asks the upstream's own hosts.
  environment: () => ({}),
};

async function answerMetadata(name: string, checksum: string | undefined, desk: Desk): Promise<Reply> {
  const listing = await findListing(name, desk);
  if (!listing) return notFound();
  const releases = (await mavenRegistry.releases(name, desk)) ?? [];
  const visible = await permitted(releases, (it) => isOpen(desk.verdict(it)));
  const shown = new Set(visible.map((it) => it.version));
  const text = writeMetadata(
    name,
    listing,
    listing.versions.filter((it) => shown.has(it)),
  );
  if (checksum === undefined) return metadata("text/xml", text);
  return metadata("text/plain", createHash(checksum).update(text).digest("hex"));
}

async function answerFile(
  path: Extract<MavenPath, { kind: "file" }>,
  request: RegistryRequest,
  desk: Desk,
): Promise<Reply> {
  const { name, version, file, checksum } = path;
  if (mavenNaming.readVersion(version) !== version) return notFound();
  if (checksum !== undefined) {
    const hex = await findChecksum(fileUrl(name, version, file, desk), checksum, desk);
    return hex === undefined ? notFound() : metadata("text/plain", hex);
  }
  const found = await findFile(name, version, file, desk);
  if (!found) return notFound();
  const artifact = found.publishedMs === undefined ? dated(found, version, await findListing(name, desk)) : found;
  const release = { ...releaseOf(name, version, [artifact]), licenses: await licensesOf(name, version, desk) };
  // What would do instead is looked up only when it is needed.
  const others = isOpen(desk.verdict(release, artifact)) ? [] : ((await mavenRegistry.releases(name, desk)) ?? []);
  return handOver(
    request,
    desk,
    release,
    artifact,
    others.filter((it) => it.version !== version),
  );
}

async function findListing(name: string, desk: Desk): Promise<MavenMetadata | undefined> {
  const url = `${desk.root(name)}${mavenFolder(name)}/maven-metadata.xml`;
  const document = await findDocument(desk, url, { maxBytes: MAX_XML_BYTES });
  return document && readMetadata(name, document);
}

/** A file without a time of its own is from when its package was updated last, or before. */
function dated(artifact: Artifact, version: string, listing: MavenMetadata | undefined): Artifact {
  const publishedMs = listing?.versions.includes(version) ? lastUpdatedMs(listing) : undefined;
  return publishedMs === undefined ? artifact : { publishedMs, ...artifact };
}

/** `named`: no more than that; `seen`: its POM, with time and digests; `whole`: its jar, too, and its licences. */
async function describe(
  name: string,
  version: string,
  listing: MavenMetadata,
  desk: Desk,
  how: "named" | "seen" | "whole",
): Promise<Release> {
  if (how === "named") return releaseOf(name, version, []);
  const stem = `${name.split(":").at(-1)}-${version}`;
  const files = how === "whole" ? [`${stem}.pom`, `${stem}.jar`] : [`${stem}.pom`];
  const found = await Promise.all(files.map((it) => findFile(name, version, it, desk)));
  const artifacts = found.flatMap((it) => (it ? [dated(it, version, listing)] : []));
  const release = releaseOf(name, version, artifacts);
  return how === "whole" ? { ...release, licenses: await licensesOf(name, version, desk) } : release;
}

function releaseOf(name: string, version: string, artifacts: readonly Artifact[]): Release {
  const times = artifacts.flatMap((it) => it.publishedMs ?? []);
  const timed = times.length > 0 && times.length === artifacts.length;
  return {
    name,
    version,
    ...(timed && { publishedMs: Math.min(...times) }),
    hasInstallScript: false,
    yanked: false,
    artifacts,
  };
}
