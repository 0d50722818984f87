import { z } from "zod";
import { cargoNaming } from "../../policy/ecosystems/cargo.ts";
import type { Document, Release } from "../registry.ts";
import { malformed, readIntegrity, readJson, readText, readTime, requireFew } from "./documents.ts";

/** A version of a crate: as it goes to Cargo, and what policy sees of it. */
export interface IndexLine {
  /** JSON, in a spelling that leaves no two readings of it. */
  readonly text: string;
  readonly release: Release;
}

const line = z.object({
  name: z.string(),
  vers: z.string(),
  cksum: z.string(),
  yanked: z.boolean().nullish(),
  pubtime: z.string().nullish(),
});

const config = z.object({ dl: z.string(), api: z.string().nullish() });

/** Where a registry has its crates, and its web API when it has one. */
export interface CargoConfig {
  readonly dl: string;
  readonly api: string | undefined;
}

/** Where the index has a crate's file (doc.rust-lang.org/cargo/reference/registry-index.html). */
export function indexPath(name: string): string {
  const lower = name.toLowerCase();
  return `${prefixOf(lower)}/${lower}`;
}

function prefixOf(name: string): string {
  if (name.length <= 2) return String(name.length);
  if (name.length === 3) return `3/${name.charAt(0)}`;
  return `${name.slice(0, 2)}/${name.slice(2, 4)}`;
}

/** @throws GatewayError REGISTRY_MALFORMED */
export function readConfig(document: Document): CargoConfig {
  const what = "cargo's `config.json`";
  const { dl, api } = readJson(config, document.body, what);
  if (!/^https?:$/.test(URL.parse(dl)?.protocol ?? "")) throw malformed(what);
  return { dl, api: api && /^https?:$/.test(URL.parse(api)?.protocol ?? "") ? api.replace(/\/*$/, "/") : undefined };
}

/**
 * The versions of a crate, the highest first. The crate goes by the name that its index spells; lines of another are left out, and of
 * versions that are none.
 * @throws GatewayError REGISTRY_MALFORMED
 */
export function readIndexFile(name: string, document: Document, { dl }: CargoConfig): IndexLine[] {
  const what = `cargo's index of \`${name}\``;
  const texts = readText(document.body, what)
    .split("\n")
    .filter((it) => it.trim() !== "");
  requireFew(texts.length, what);
  const lines = texts.flatMap((it) => readLine(name, it, dl, what));
  const first = new Map(lines.toReversed().map((it) => [it.release.version, it]));
  return [...first.values()].toSorted((a, b) => cargoNaming.compare(b.release.version, a.release.version));
}

function readLine(name: string, text: string, dl: string, what: string): IndexLine[] {
  const said = readJson(z.unknown(), text, what);
  const parsed = line.safeParse(said);
  if (!parsed.success) throw malformed(what, parsed.error);
  const { name: spelt, vers, cksum, yanked, pubtime } = parsed.data;
  const version = cargoNaming.readVersion(vers);
  if (spelt.toLowerCase() !== name.toLowerCase() || version === undefined) return [];
  const publishedMs = readTime(pubtime);
  const release: Release = {
    name: spelt,
    version,
    ...(publishedMs !== undefined && { publishedMs }),
    // Whether a crate has a `build.rs`, which Cargo runs, stands in the crate alone.
    hasInstallScript: true,
    yanked: yanked === true,
    artifacts: [
      {
        file: `${spelt}-${version}.crate`,
        url: crateUrl(dl, spelt, version, cksum),
        integrity: readIntegrity("sha256", cksum),
        buildsFromSource: true,
        ...(publishedMs !== undefined && { publishedMs }),
      },
    ],
  };
  return [{ text: JSON.stringify(said), release }];
}

/** `dl` with its markers filled in; without any it is a prefix. */
function crateUrl(dl: string, name: string, version: string, cksum: string): string {
  const values: Readonly<Record<string, string>> = {
    crate: name,
    version,
    prefix: prefixOf(name),
    lowerprefix: prefixOf(name.toLowerCase()),
    "sha256-checksum": encodeURIComponent(cksum),
  };
  const marked = /\{(crate|version|prefix|lowerprefix|sha256-checksum)\}/g;
  const template = dl.search(marked) < 0 ? `${dl}/{crate}/{version}/download` : dl;
  return template.replace(marked, (_, marker: string) => values[marker] ?? "");
}
