import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import { escapeGo } from "../../policy/ecosystems/go.ts";
import { isOpen } from "../../policy/verdict.ts";
import type { Desk, Registry, RegistryRequest, Release, Reply } from "../registry.ts";
import { findDocument, metadata, notFound } from "./documents.ts";
import { readGoRequest } from "./go-request.ts";
import { type GoUpstream, goUpstream, isStable } from "./go-upstream.ts";
import { handOver } from "./hand-over.ts";

/** A version is described by a document of its own, so that not all of them are looked at. */
const MAX_LOOKED_AT = 24;
const AT_ONCE = 6;
const MAX_CHECKSUM_BYTES = 1_048_576;
const TEXT = "text/plain; charset=utf-8";

export interface GoOptions {
  readonly naming: Naming;
  /** The checksum database, as GOSUMDB has it: its name, with key and address if it isn't one that the go command knows. None when absent. */
  readonly sumdb?: string;
}

/**
 * Go's module proxy protocol (`go help goproxy`). Policy decides at `.info`, by which versions are chosen, and at `.zip`. Not at `.mod`:
 * the go command reads those of all versions that anything in a program's graph names, also of those that it does not take, and
 * there is no code in them.
 */
export function createGoRegistry({ naming, sumdb }: GoOptions): Registry {
  const database = sumdb?.split(/[+ ]/)[0];
  const open = (desk: Desk) => goUpstream(naming, database, desk);
  return {
    naming,
    answer: async (request, desk) => {
      const asked = readGoRequest(naming, database, request.path);
      if (!asked) return notFound();
      const upstream = open(desk);
      switch (asked.kind) {
        case "list":
          return await list(naming, asked.name, upstream, desk);
        case "latest":
          return await latest(naming, asked.name, upstream, desk);
        case "info":
          return await info(asked, upstream, desk);
        case "mod": {
          const document = await upstream.mod(asked.name, asked.version);
          return document ? { status: 200, headers: { "content-type": TEXT }, body: document.body } : notFound();
        }
        case "zip":
          return await zip(naming, asked, upstream, { request, desk });
        case "checksum": {
          const { name, version } = asked;
          return await checksums(desk.root(name), `${database}/lookup/${escapeGo(name)}@${escapeGo(version)}`, desk);
        }
        default:
          return await checksums(desk.roots[0] ?? desk.root(""), `${database}/${asked.path}`, desk);
      }
    },
    releases: async (name, desk, version) => {
      const upstream = open(desk);
      const looked = await look(naming, name, upstream, desk);
      const found = looked?.releases ?? [];
      const missing = version !== undefined && !found.some((it) => it.version === version);
      const asked = missing ? await one(name, version, upstream) : undefined;
      if (!looked && !asked) return undefined;
      return [...found, ...(asked ? [asked] : [])].sort((a, b) => naming.compare(b.version, a.version));
    },
    environment: (base) => ({ GOPROXY: base.replace(/\/$/, ""), GOSUMDB: sumdb ?? "off" }),
  };
}

interface Looked {
  /** Described and so decided, the highest first. */
  readonly releases: readonly Release[];
  /** Older ones. They are decided when they are asked for. */
  readonly rest: readonly string[];
}

/** From the highest version down, until policy permits one that the go command would take. `undefined` when there is no such module. */
async function look(naming: Naming, name: string, upstream: GoUpstream, desk: Desk): Promise<Looked | undefined> {
  const listed = await upstream.versions(name);
  const newest = listed && listed.length > 0 ? undefined : await upstream.latest(name);
  const versions = newest === undefined ? listed : [newest];
  if (!versions) return undefined;
  const retractions = await upstream.retractions(name, versions);
  const releases: Release[] = [];
  let at = 0;
  while (at < Math.min(versions.length, MAX_LOOKED_AT) && !releases.some((it) => isTaken(naming, it, desk))) {
    const some = versions.slice(at, at + AT_ONCE).map((it) => upstream.release(name, it, retractions));
    releases.push(...(await Promise.all(some)).filter((it) => it !== undefined));
    at += AT_ONCE;
  }
  return { releases, rest: versions.slice(at) };
}

function isTaken(naming: Naming, release: Release, desk: Desk): boolean {
  return isStable(naming, release.version) && !release.yanked && isOpen(desk.verdict(release));
}

/** One that was asked for by name. */
async function one(name: string, version: string, upstream: GoUpstream): Promise<Release | undefined> {
  const versions = (await upstream.versions(name)) ?? [];
  return await upstream.release(name, version, await upstream.retractions(name, versions));
}

async function list(naming: Naming, name: string, upstream: GoUpstream, desk: Desk): Promise<Reply> {
  const looked = await look(naming, name, upstream, desk);
  if (!looked) return notFound();
  const permitted = looked.releases.filter((it) => isOpen(desk.verdict(it))).map((it) => it.version);
  return metadata(TEXT, [...permitted, ...looked.rest].map((it) => `${it}\n`).join(""));
}

async function latest(naming: Naming, name: string, upstream: GoUpstream, desk: Desk): Promise<Reply> {
  const looked = await look(naming, name, upstream, desk);
  const [highest] = looked?.releases ?? [];
  if (!looked || !highest) return notFound();
  const permitted = looked.releases.filter((it) => isOpen(desk.verdict(it)));
  const best = permitted.find((it) => isTaken(naming, it, desk)) ?? permitted[0];
  if (best) return described(best);
  return desk.refuse({ name, version: highest.version }, desk.verdict(highest).reason);
}

interface Asked {
  readonly name: string;
  readonly version: string;
}

async function info({ name, version }: Asked, upstream: GoUpstream, desk: Desk): Promise<Reply> {
  const release = await one(name, version, upstream);
  if (!release) return notFound();
  const verdict = desk.verdict(release);
  return isOpen(verdict) ? described(release) : desk.refuse({ name, version }, verdict.reason);
}

async function zip(
  naming: Naming,
  { name, version }: Asked,
  upstream: GoUpstream,
  { request, desk }: { readonly request: RegistryRequest; readonly desk: Desk },
): Promise<Reply> {
  const release = await one(name, version, upstream);
  const [artifact] = release?.artifacts ?? [];
  if (!release || !artifact) return notFound();
  const looked = await look(naming, name, upstream, desk);
  return await handOver(request, desk, release, artifact, looked?.releases ?? []);
}

/** Without what else the upstream says of it: where its sources are, say. */
function described({ version, publishedMs }: Release): Reply {
  const time = publishedMs === undefined ? {} : { Time: new Date(publishedMs).toISOString().replace(".000Z", "Z") };
  return metadata("application/json", JSON.stringify({ Version: version, ...time }));
}

/** The database's own documents: hashes, and signatures that the go command checks. */
async function checksums(root: string, path: string, desk: Desk): Promise<Reply> {
  const document = await findDocument(desk, `${root}sumdb/${path}`, { maxBytes: MAX_CHECKSUM_BYTES });
  if (!document) return notFound();
  return { status: 200, headers: { "content-type": "application/octet-stream" }, body: document.body };
}
