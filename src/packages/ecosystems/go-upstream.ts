import { z } from "zod";
import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import { escapeGo } from "../../policy/ecosystems/go.ts";
import type { Desk, Document, Integrity, Release } from "../registry.ts";
import { extraDocument, findDocument, malformed, readJson, readText, readTime } from "./documents.ts";
import { type Retraction, readRetractions } from "./go-mod.ts";

const MAX_LIST_BYTES = 4 * 1024 * 1024;
const MAX_VERSIONS = 20_000;
const MAX_INFO_BYTES = 65_536;
/** As much as the go command takes. */
const MAX_MOD_BYTES = 16 * 1024 * 1024;
const MAX_LOOKUP_BYTES = 65_536;
const DIGEST_BYTES = 32;

const infoSchema = z.object({ Version: z.string(), Time: z.string().optional() });

/** What a module's upstream proxy has of it. */
export interface GoUpstream {
  /** The highest first; `undefined` when there is no such module. */
  versions(name: string): Promise<readonly string[] | undefined>;
  /** What is newest where nothing is listed: a commit, mostly. */
  latest(name: string): Promise<string | undefined>;
  release(name: string, version: string, retractions: readonly Retraction[]): Promise<Release | undefined>;
  /** Of the highest of these versions that is stable, or else of the highest: what its makers took back. */
  retractions(name: string, versions: readonly string[]): Promise<readonly Retraction[]>;
  mod(name: string, version: string): Promise<Document | undefined>;
}

/** @param sumdb the checksum database's name, where there is one */
export function goUpstream(naming: Naming, sumdb: string | undefined, desk: Desk): GoUpstream {
  const at = (name: string, rest: string) => `${desk.root(name)}${escapeGo(name)}/${rest}`;
  const find = (name: string, rest: string, maxBytes: number) => findDocument(desk, at(name, rest), { maxBytes });
  const mod: GoUpstream["mod"] = (name, version) => find(name, `@v/${escapeGo(version)}.mod`, MAX_MOD_BYTES);

  async function info(name: string, rest: string) {
    const what = `the version of the Go module \`${name}\``;
    const document = await find(name, rest, MAX_INFO_BYTES);
    if (!document) return undefined;
    const { Version, Time } = readJson(infoSchema, document.body, what);
    const version = naming.readVersion(Version);
    if (version === undefined) throw malformed(what);
    return { version, publishedMs: readTime(Time) };
  }

  /**
   * What the checksum database has of the zip; nothing where the upstream doesn't serve it, or doesn't know the version. Whether its
   * signature is right is for the go command to check, which has its key.
   */
  async function integrity(name: string, version: string): Promise<Integrity[]> {
    if (sumdb === undefined) return [];
    const url = `${desk.root(name)}sumdb/${sumdb}/lookup/${escapeGo(name)}@${escapeGo(version)}`;
    const document = await extraDocument(desk, url, { maxBytes: MAX_LOOKUP_BYTES });
    const prefix = `${name} ${version} h1:`;
    const lines = document?.body.toString("latin1").split("\n") ?? [];
    const base64 = lines.find((it) => it.startsWith(prefix))?.slice(prefix.length) ?? "";
    const digest = Buffer.from(base64, "base64");
    const whole = digest.length === DIGEST_BYTES && digest.toString("base64") === base64;
    return whole ? [{ algorithm: "h1", hex: digest.toString("hex") }] : [];
  }

  return {
    mod,
    versions: async (name) => {
      const document = await find(name, "@v/list", MAX_LIST_BYTES);
      if (!document) return undefined;
      const lines = readText(document.body, `the list of versions of the Go module \`${name}\``).split("\n");
      const read = lines.slice(0, MAX_VERSIONS).map((it) => naming.readVersion(it.trim().split(/\s/)[0] ?? ""));
      return [...new Set(read.filter((it) => it !== undefined))].sort((a, b) => naming.compare(b, a));
    },
    latest: async (name) => (await info(name, "@latest"))?.version,
    // The time is the commit's, which whoever commits can set: no proxy tells when it saw a version first.
    release: async (name, version, retractions) => {
      const url = at(name, `@v/${escapeGo(version)}.zip`);
      const [found, digests] = await Promise.all([
        info(name, `@v/${escapeGo(version)}.info`),
        integrity(name, version),
      ]);
      if (!found) return undefined;
      if (found.version !== version) throw malformed(`version ${version} of the Go module \`${name}\``);
      const { publishedMs } = found;
      const yanked = retractions.some((it) => isWithin(naming, version, it));
      const artifact = { file: `${version}.zip`, url, integrity: digests, buildsFromSource: false };
      const time = publishedMs === undefined ? {} : { publishedMs };
      return { name, version, ...time, licenses: [], hasInstallScript: false, yanked, artifacts: [artifact] };
    },
    retractions: async (name, versions) => {
      const newest = versions.find((it) => isStable(naming, it)) ?? versions[0];
      const document = newest === undefined ? undefined : await mod(name, newest);
      return document ? readRetractions(naming, document.body.toString("utf8")) : [];
    },
  };
}

/** What the go command takes when none is asked for. */
export function isStable(naming: Naming, version: string): boolean {
  return !naming.isPrerelease(version) && !version.endsWith("+incompatible");
}

function isWithin(naming: Naming, version: string, { from, to }: Retraction): boolean {
  return naming.compare(from, version) <= 0 && naming.compare(version, to) <= 0;
}
