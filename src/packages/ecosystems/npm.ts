import { z } from "zod";
import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import { isOpen } from "../../policy/verdict.ts";
import { permitted } from "../permitted.ts";
import type { Artifact, Desk, Integrity, Registry, Release, Reply } from "../registry.ts";
import { malformed, metadata, notFound, readIntegrity, readJson, readTime, requireFew } from "./documents.ts";
import { handOver } from "./hand-over.ts";
import { licenseAlternatives } from "./license-alternatives.ts";

/**
 * The npm registry's protocol (github.com/npm/registry, docs/responses/package-metadata.md): a document for each package, of which the
 * abbreviated form has no times, so that the full one is always asked for.
 */
export function createNpmRegistry(naming: Naming, { runsScripts }: { readonly runsScripts: boolean }): Registry {
  async function project(name: string, desk: Desk): Promise<Project | undefined> {
    const url = desk.root(name) + encodeURIComponent(name).replace("%40", "@");
    const { status, body } = await desk.document(url, { accept: "application/json" });
    return status === 200 ? readProject(naming, name, body) : undefined;
  }

  return {
    naming,
    answer: async (request, desk) => {
      const { path, accept, base } = request;
      if (path === "-/ping") return json({});
      const asked = readPath(naming, path);
      const found = asked && (await project(asked.name, desk));
      if (!asked || !found) return notFound();
      if (asked.file !== undefined) {
        const release = found.releases.find((it) => it.artifacts.some(({ file }) => file === asked.file));
        const [artifact] = release?.artifacts ?? [];
        return release && artifact ? await handOver(request, desk, release, artifact, found.releases) : notFound();
      }
      return asked.version === undefined
        ? packument(found, desk, base, accept)
        : manifest(found, asked.version, desk, base);
    },
    releases: async (name, desk) => (await project(name, desk))?.releases,
    environment: (base) => ({
      NPM_CONFIG_REGISTRY: base,
      // A lockfile has the addresses of whatever registry it was written with.
      NPM_CONFIG_REPLACE_REGISTRY_HOST: "always",
      NPM_CONFIG_IGNORE_SCRIPTS: String(!runsScripts),
      NPM_CONFIG_AUDIT: "false",
      NPM_CONFIG_FUND: "false",
      YARN_REGISTRY: base,
      YARN_NPM_REGISTRY_SERVER: base,
      YARN_UNSAFE_HTTP_WHITELIST: new URL(base).hostname,
    }),
  };
}

type Manifest = z.infer<typeof manifestSchema>;

/** What the registry says of a package. */
interface Project {
  readonly name: string;
  readonly releases: readonly Release[];
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly document: z.infer<typeof documentSchema>;
}

const manifestSchema = z.looseObject({
  version: z.string(),
  dist: z.looseObject({
    tarball: z.string().max(4_096),
    integrity: z.string().max(4_096).optional(),
    shasum: z.string().max(64).optional(),
  }),
  scripts: z.unknown().optional(),
  hasInstallScript: z.unknown().optional(),
  gypfile: z.unknown().optional(),
  license: z.unknown().optional(),
});

const documentSchema = z.looseObject({
  name: z.string(),
  "dist-tags": z.record(z.string(), z.string()).default({}),
  versions: z.record(z.string(), z.unknown()).default({}),
  time: z.record(z.string(), z.unknown()).default({}),
});

/** @throws GatewayError REGISTRY_MALFORMED */
function readProject(naming: Naming, name: string, body: Buffer): Project {
  const what = `what the registry says of \`npm:${name}\``;
  const document = readJson(documentSchema, body, what);
  if (document.name !== name) throw malformed(what);
  const described = Object.entries(document.versions);
  requireFew(described.length, what);
  const manifests = new Map<string, Manifest>();
  const releases: Release[] = [];
  for (const [version, text] of described) {
    const read = manifestSchema.safeParse(text);
    // One that can't be read is not there.
    if (!read.success || read.data.version !== version || naming.readVersion(version) !== version) continue;
    manifests.set(version, read.data);
    releases.push(releaseOf(name, read.data, document.time[version]));
  }
  releases.sort((a, b) => naming.compare(b.version, a.version));
  return { name, releases, manifests, document };
}

function releaseOf(name: string, manifest: Manifest, time: unknown): Release {
  const { version, dist } = manifest;
  const publishedMs = readTime(typeof time === "string" ? time : undefined);
  const artifact: Artifact = {
    file: fileOf(name, version),
    url: dist.tarball,
    integrity: integrityOf(dist),
    buildsFromSource: false,
  };
  return {
    name,
    version,
    ...(publishedMs !== undefined && { publishedMs }),
    licenses: licenseAlternatives(licenseOf(manifest.license)),
    hasInstallScript: hasInstallScript(manifest),
    yanked: false,
    artifacts: [artifact],
  };
}

/** `left-pad-1.3.0.tgz`, without the scope. */
function fileOf(name: string, version: string): string {
  return `${name.slice(name.indexOf("/") + 1)}-${version}.tgz`;
}

/** Subresource Integrity (W3C): several digests, of which the strongest counts; in old documents a SHA-1 alone. */
function integrityOf({ integrity, shasum }: Manifest["dist"]): Integrity[] {
  const read = (integrity ?? "").split(/\s+/).flatMap((it): Integrity[] => {
    const [, algorithm = "", digest = ""] = /^([a-z0-9]+)-([A-Za-z0-9+/]+={0,2})(?:\?.*)?$/.exec(it) ?? [];
    return readIntegrity(algorithm, Buffer.from(digest, "base64").toString("hex"));
  });
  if (read.length > 0) return read;
  return readIntegrity("sha1", shasum);
}

function licenseOf(license: unknown): string {
  if (typeof license === "string") return license;
  const { type } = Object(license) as { type?: unknown };
  return typeof type === "string" ? type : "";
}

/** npm runs these of a dependency, and builds what has a `binding.gyp`. */
function hasInstallScript({ scripts, hasInstallScript: told, gypfile }: Manifest): boolean {
  const named = Object(scripts) as Readonly<Record<string, unknown>>;
  return (
    told === true || gypfile === true || ["preinstall", "install", "postinstall"].some((it) => Object.hasOwn(named, it))
  );
}

interface Asked {
  readonly name: string;
  /** Or a tag. */
  readonly version?: string;
  readonly file?: string;
}

/** `x`, `@acme/x`, `x/1.0.0`, `x/latest` and `x/-/x-1.0.0.tgz`. */
function readPath(naming: Naming, path: string): Asked | undefined {
  const [, spelt = "", rest] = /^((?:@[^/]+\/)?[^/@]+)(?:\/(.+))?$/.exec(path) ?? [];
  const name = naming.readName(spelt);
  if (name === undefined || name !== spelt) return undefined;
  if (rest === undefined) return { name };
  const file = /^-\/(?:@[^/]+\/)?([^/]+\.tgz)$/.exec(rest)?.[1];
  if (file !== undefined) return { name, file };
  return rest.includes("/") ? undefined : { name, version: rest };
}

/** The document, with nothing in it but what policy permits. */
async function packument(
  { name, releases, manifests, document }: Project,
  desk: Desk,
  base: string,
  accept: string,
): Promise<Reply> {
  const visible = await permitted(releases, (it) => isOpen(desk.verdict(it)));
  const [newest] = releases;
  if (visible.length === 0 && newest) {
    return desk.refuse({ name }, `no version of it is permitted (${newest.version}: ${desk.verdict(newest).reason})`);
  }
  const isShort = accept.includes("application/vnd.npm.install-v1+json");
  const versions = visible.flatMap(({ version }) => {
    const it = manifests.get(version);
    return it ? [[version, shown(name, it, base, isShort)] as const] : [];
  });
  const tags = tagsOf(document["dist-tags"], visible, releases);
  const time = Object.fromEntries(
    ["created", "modified", ...visible.map((it) => it.version)].flatMap((it) => {
      const at = document.time[it];
      return typeof at === "string" ? [[it, at]] : [];
    }),
  );
  const shownDocument = {
    name,
    "dist-tags": tags,
    versions: Object.fromEntries(versions),
    time,
    modified: time["modified"],
  };
  return json(shownDocument, isShort ? "application/vnd.npm.install-v1+json" : "application/json");
}

/** Tags of what is visible. `latest` that is not moves to the highest stable version below it. */
function tagsOf(tags: Readonly<Record<string, string>>, visible: readonly Release[], releases: readonly Release[]) {
  const versions = visible.map((it) => it.version);
  const seen = new Set(versions);
  const kept = Object.entries(tags).filter(([, version]) => seen.has(version));
  const { latest } = tags;
  if (latest === undefined || seen.has(latest)) return Object.fromEntries(kept);
  const below = new Set(releases.slice(releases.findIndex((it) => it.version === latest) + 1).map((it) => it.version));
  const lower = versions.filter((it) => below.has(it));
  const instead = lower.find((it) => !it.includes("-")) ?? lower[0] ?? versions[0];
  return Object.fromEntries([...kept, ...(instead === undefined ? [] : [["latest", instead]])]);
}

async function manifest(
  { name, releases, manifests, document }: Project,
  wanted: string,
  desk: Desk,
  base: string,
): Promise<Reply> {
  const visible = await permitted(releases, (it) => isOpen(desk.verdict(it)));
  const version = tagsOf(document["dist-tags"], visible, releases)[wanted] ?? wanted;
  const release = releases.find((it) => it.version === version);
  const found = manifests.get(version);
  if (!release || !found) return notFound();
  const verdict = desk.verdict(release);
  return isOpen(verdict) ? json(shown(name, found, base, false)) : desk.refuse(release, verdict.reason);
}

/** What npm needs to resolve and install (the abbreviated form); other tools read the rest. */
const SHORT = [
  "name",
  "version",
  "deprecated",
  "dependencies",
  "optionalDependencies",
  "bundleDependencies",
  "bundledDependencies",
  "peerDependencies",
  "peerDependenciesMeta",
  "bin",
  "directories",
  "engines",
  "os",
  "cpu",
  "libc",
  "funding",
  "_hasShrinkwrap",
] as const;

/** With our own address for the tarball: no other way leads to it. */
function shown(name: string, it: Manifest, base: string, isShort: boolean): Record<string, unknown> {
  const { integrity, shasum } = it.dist;
  const tarball = `${base}${name}/-/${fileOf(name, it.version)}`;
  const dist = { tarball, ...(integrity !== undefined && { integrity }), ...(shasum !== undefined && { shasum }) };
  const kept = isShort
    ? Object.fromEntries(SHORT.filter((key) => it[key] !== undefined).map((key) => [key, it[key]]))
    : it;
  return { ...kept, ...(hasInstallScript(it) && { hasInstallScript: true }), dist };
}

function json(value: unknown, type = "application/json"): Reply {
  return metadata(type, JSON.stringify(value));
}
