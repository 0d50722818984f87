import { pipNaming } from "../../policy/ecosystems/pip.ts";
import { isOpen } from "../../policy/verdict.ts";
import { permitted } from "../permitted.ts";
import type { Artifact, Desk, Registry, RegistryRequest, Release, Reply } from "../registry.ts";
import { findDocument, notFound } from "./documents.ts";
import { handOver } from "./hand-over.ts";
import { licensesOf, withTimes } from "./pip-details.ts";
import { readFileName } from "./pip-file-name.ts";
import { INDEX_ACCEPT, type IndexFile, readIndex } from "./pip-index.ts";
import { projectPage } from "./pip-page.ts";

/** pip's simple index (PEP 503, PEP 691). Its own paths: `simple/<name>/`, `files/<name>/<version>/<file>`; the upstream's for files, too. */
export const pipRegistry: Registry = {
  naming: pipNaming,
  answer: (request, desk) => {
    const parts = request.path.split("/").filter((it) => it !== "");
    const [kind, ...rest] = parts;
    if (kind === "simple" && rest.length === 1) return answerPage(rest[0] ?? "", request, desk);
    if (kind === "files" && rest.length === 3) return answerFile(rest[2] ?? "", [rest[0] ?? ""], request, desk);
    // A lock file has the upstream's own address: what is behind it is told by the file's name.
    const file = parts.at(-1) ?? "";
    if (kind === "packages")
      return answerFile(
        file,
        readFileName(file).map((it) => it.name),
        request,
        desk,
      );
    return Promise.resolve(notFound());
  },
  releases: async (name, desk, version) => {
    const listing = await findListing(name, desk);
    if (!listing || version === undefined) return listing?.releases;
    return Promise.all(listing.releases.map((it) => (isVersion(it, version) ? withLicenses(it, desk) : it)));
  },
  environment: (base) => {
    const { protocol, hostname } = new URL(base);
    const index = `${base}simple/`;
    return {
      PIP_INDEX_URL: index,
      UV_DEFAULT_INDEX: index,
      ...(protocol === "http:" && { PIP_TRUSTED_HOST: hostname }),
    };
  },
};

/** The largest projects have pages of a few MiB. */
const MAX_PAGE_BYTES = 32 * 1_048_576;

interface Listing {
  /** The highest version first. */
  readonly releases: readonly Release[];
  readonly files: readonly IndexFile[];
}

async function answerPage(text: string, request: RegistryRequest, desk: Desk): Promise<Reply> {
  const name = pipNaming.readName(text);
  const listing = name === undefined ? undefined : await findListing(name, desk);
  if (name === undefined || !listing) return notFound();
  const all = listing.releases.flatMap((release) => release.artifacts.map((artifact) => ({ release, artifact })));
  const visible = await permitted(all, ({ release, artifact }) =>
    isOpen(desk.verdict(ofFile(release, artifact), artifact)),
  );
  const shown = new Set(visible.map((it) => it.artifact.file));
  return projectPage(
    name,
    listing.files.filter((it) => shown.has(it.artifact.file)),
    request,
  );
}

async function answerFile(
  file: string,
  names: readonly string[],
  request: RegistryRequest,
  desk: Desk,
): Promise<Reply> {
  for (const text of names) {
    const name = pipNaming.readName(text);
    const listing = name === undefined ? undefined : await findListing(name, desk);
    const release = listing?.releases.find((it) => it.artifacts.some((artifact) => artifact.file === file));
    const artifact = release?.artifacts.find((it) => it.file === file);
    if (!listing || !release || !artifact) continue;
    const others = listing.releases.filter((it) => it !== release);
    return handOver(request, desk, ofFile(await withLicenses(release, desk), artifact), artifact, others);
  }
  return notFound();
}

async function findListing(name: string, desk: Desk): Promise<Listing | undefined> {
  const { pages, api } = addresses(desk.root(name));
  const document = await findDocument(desk, `${pages}${name}/`, { accept: INDEX_ACCEPT, maxBytes: MAX_PAGE_BYTES });
  if (!document) return undefined;
  const files = await withTimes(name, readIndex(name, document), api, desk);
  return { releases: releasesOf(name, files), files };
}

/** An index is configured with its `simple/` or without; the JSON API is next to that. */
function addresses(root: string): { pages: string; api: string } {
  const pages = /simple\/$/.test(root) ? root : `${root}simple/`;
  return { pages, api: new URL("../pypi/", pages).href };
}

function releasesOf(name: string, files: readonly IndexFile[]): Release[] {
  const spelt = Map.groupBy(files, (it) => it.version);
  const versions: { version: string; files: IndexFile[] }[] = [];
  for (const version of [...spelt.keys()].toSorted((a, b) => pipNaming.compare(b, a))) {
    const [last, its] = [versions.at(-1), spelt.get(version) ?? []];
    // `1.0` and `1.0.0` are one version, and go by the first of their spellings.
    if (last && pipNaming.compare(last.version, version) === 0) last.files.push(...its);
    else versions.push({ version, files: [...its] });
  }
  return versions.map((it) => releaseOf(name, it.version, it.files));
}

function releaseOf(name: string, version: string, files: readonly IndexFile[]): Release {
  const artifacts = files.map((it) => it.artifact);
  const times = artifacts.flatMap((it) => it.publishedMs ?? []);
  return {
    name,
    version,
    // A file without a time could be of today.
    ...(times.length === files.length && { publishedMs: Math.min(...times) }),
    hasInstallScript: artifacts.every((it) => it.buildsFromSource),
    yanked: files.every((it) => it.yanked !== undefined),
    artifacts,
  };
}

/** The release as this file makes it: a source archive runs its own program to be built, whatever the wheels beside it do. */
function ofFile(release: Release, artifact: Artifact): Release {
  return artifact.buildsFromSource && !release.hasInstallScript ? { ...release, hasInstallScript: true } : release;
}

async function withLicenses(release: Release, desk: Desk): Promise<Release> {
  const { api } = addresses(desk.root(release.name));
  return { ...release, licenses: await licensesOf(release.name, release.version, api, desk) };
}

function isVersion(release: Release, version: string): boolean {
  return pipNaming.compare(release.version, version) === 0;
}
