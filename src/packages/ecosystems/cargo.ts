import { z } from "zod";
import { cargoNaming } from "../../policy/ecosystems/cargo.ts";
import { isOpen } from "../../policy/verdict.ts";
import { permitted } from "../permitted.ts";
import type { Desk, Registry, RegistryRequest, Release, Reply } from "../registry.ts";
import { type CargoConfig, type IndexLine, indexPath, readConfig, readIndexFile } from "./cargo-index.ts";
import { findDocument, ifAnswered, malformed, metadata, notFound, readJson } from "./documents.ts";
import { handOver } from "./hand-over.ts";
import { licenseAlternatives } from "./license-alternatives.ts";

/** `dl/<crate>/<version>/download`, and what other registries have for it: `…/<crate>/<crate>-<version>.crate`. */
const DOWNLOAD = /(?:^|\/)([^/]+)\/([^/]+)\/download$/;
const CRATE_FILE = /(?:^|\/)([^/]+)\/\1-([^/]+)\.crate$/;

/** Cargo's sparse protocol (doc.rust-lang.org/cargo/reference/registry-index.html#sparse-protocol). */
export const cargoRegistry: Registry = {
  naming: cargoNaming,
  answer: async (request, desk) => {
    const { path, base } = request;
    // Without `api`: nothing is published, searched or yanked from a sandbox.
    if (path === "config.json") return metadata("application/json", JSON.stringify({ dl: `${base}dl` }));
    const last = path.slice(path.lastIndexOf("/") + 1);
    if (path === indexPath(last)) return answerIndex(last, desk);
    const [, name = "", version = ""] = DOWNLOAD.exec(path) ?? CRATE_FILE.exec(path) ?? [];
    return answerCrate(name, version, request, desk);
  },
  releases: async (name, desk, version) => {
    const crate = await findCrate(name, desk);
    const releases = crate?.lines.map((it) => it.release);
    if (!crate || version === undefined) return releases;
    return Promise.all(
      crate.lines.map(({ release }) =>
        release.version === version ? withLicenses(release, crate.config, desk) : release,
      ),
    );
  },
  files: async (desk) => {
    const read = desk.roots.map(async (root) => {
      const settings = await findDocument(desk, `${root}config.json`);
      return settings ? [readConfig(settings).dl.replace(/\{.*/, "")] : [];
    });
    return (await Promise.all(read)).flat();
  },
  // Cargo takes another source from a file only: `cargoConfig`.
  environment: () => ({ CARGO_REGISTRIES_CRATES_IO_PROTOCOL: "sparse" }),
};

/** What stands in Cargo's `config.toml` for it to find its registry at `base`. */
export function cargoConfig(base: string): string {
  return `[source.crates-io]\nreplace-with = "glovebox"\n\n[source.glovebox]\nregistry = "sparse+${base}"\n`;
}

interface Crate {
  readonly config: CargoConfig;
  /** The highest version first. */
  readonly lines: readonly IndexLine[];
}

async function answerIndex(text: string, desk: Desk): Promise<Reply> {
  const name = cargoNaming.readName(text);
  const crate = name === undefined ? undefined : await findCrate(name, desk);
  if (!crate) return notFound();
  const visible = await permitted(crate.lines, ({ release }) => isOpen(desk.verdict(release, release.artifacts[0])));
  return metadata("text/plain; charset=utf-8", visible.map((it) => `${it.text}\n`).join(""));
}

async function answerCrate(text: string, version: string, request: RegistryRequest, desk: Desk): Promise<Reply> {
  const name = cargoNaming.readName(text);
  const crate = name === undefined ? undefined : await findCrate(name, desk);
  const releases = crate?.lines.map((it) => it.release) ?? [];
  const release = releases.find((it) => it.version === version);
  const [artifact] = release?.artifacts ?? [];
  if (!crate || !release || !artifact) return notFound();
  const others = releases.filter((it) => it !== release);
  return handOver(request, desk, await withLicenses(release, crate.config, desk), artifact, others);
}

async function findCrate(name: string, desk: Desk): Promise<Crate | undefined> {
  const root = desk.root(name);
  const document = await findDocument(desk, root + indexPath(name));
  if (!document) return undefined;
  const settings = await findDocument(desk, `${root}config.json`);
  if (!settings) throw malformed("cargo's `config.json`");
  const config = readConfig(settings);
  const lines = readIndexFile(name, document, config);
  return lines.length > 0 ? { config, lines } : undefined;
}

const versionInfo = z.object({ version: z.object({ license: z.string().nullish() }) });

/** The index has no licences; the web API has, where there is one. */
async function withLicenses(release: Release, { api }: CargoConfig, desk: Desk): Promise<Release> {
  const licenses = api === undefined ? undefined : await ifAnswered(() => licensesOf(release, api, desk));
  return { ...release, licenses: licenses ?? [] };
}

async function licensesOf({ name, version }: Release, api: string, desk: Desk): Promise<readonly string[]> {
  const document = await findDocument(desk, `${api}api/v1/crates/${name}/${encodeURIComponent(version)}`);
  if (!document) return [];
  const said = readJson(versionInfo, document.body, `cargo's description of \`${name}\``);
  return licenseAlternatives(said.version.license ?? "");
}
