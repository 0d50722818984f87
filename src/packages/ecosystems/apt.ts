import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import type { Desk, Registry, Release, Reply } from "../registry.ts";
import { type AptScope, aptIndexes, type Found } from "./apt-indexes.ts";
import { findDocument, notFound } from "./documents.ts";
import { handOver } from "./hand-over.ts";

const DISTS = /^dists\/([a-z][a-z0-9-]*)\/((?:[A-Za-z0-9][A-Za-z0-9._+-]*\/)*[A-Za-z0-9][A-Za-z0-9._+-]*)$/;
/** RFC 9110, 5.6.7. */
const HTTP_TIME = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;
const POOL = /^pool\/.+\/([^/_]+)_[^/]+\.deb$/;

export type AptOptions = AptScope & { readonly naming: Naming };

/**
 * Debian archives, all of them as one. What describes them (`dists/`) is passed on as it is: it is signed, and apt looks at the
 * signature; so versions that policy forbids are seen, and refused when their files (`pool/`) are asked for. Files that no index lists
 * are refused too.
 */
export function createAptRegistry({ naming, ...scope }: AptOptions): Registry {
  const indexes = aptIndexes(naming, scope);
  const releases = async (name: string, desk: Desk) => {
    const found = distinct(await indexes.files(name, desk));
    const described = await Promise.all(found.map((it) => describe(it, desk)));
    return described.sort((a, b) => naming.compare(b.version, a.version));
  };
  return {
    naming,
    answer: async (request, desk) => {
      const { path } = request;
      const [, suite = ""] = DISTS.exec(path) ?? [];
      if (scope.suites.includes(suite)) return await document(path, desk);
      const name = naming.readName(POOL.exec(path)?.[1] ?? "");
      if (name === undefined) return notFound();
      const found = await indexes.at(path, desk);
      if (!found) return desk.refuse({ name }, "no index of the archive lists this file");
      const release = await describe(found, desk);
      const [artifact] = release.artifacts;
      return artifact ? await handOver(request, desk, release, artifact, await releases(name, desk)) : notFound();
    },
    releases: async (name, desk) => {
      const found = await releases(name, desk);
      return found.length > 0 ? found : undefined;
    },
    // apt reads where archives are from files alone.
    environment: () => ({}),
  };
}

/** A version that several suites have is one, and as old as in the one that has listed it for longest. */
function distinct(found: readonly Found[]): readonly Found[] {
  const youngestFirst = found.toSorted(
    (a, b) => (b.listedMs ?? Number.POSITIVE_INFINITY) - (a.listedMs ?? Number.POSITIVE_INFINITY),
  );
  return [...new Map(youngestFirst.map((it) => [it.file.version, it])).values()];
}

/** The index tells no time: it is the file's own, as the archive's server has it, or else when the archive listed it. */
async function describe({ file, root, listedMs }: Found, desk: Desk): Promise<Release> {
  const { name, version, path, sha256, source } = file;
  const url = new URL(path, root).href;
  const head = await findDocument(desk, url, { method: "HEAD" });
  const times = [readHttpTime(head?.headers["last-modified"]), listedMs].filter((it) => it !== undefined);
  const time = times.length > 0 ? { publishedMs: Math.min(...times) } : {};
  const integrity = [{ algorithm: "sha256" as const, hex: sha256 }];
  const artifact = { file: path.slice(path.lastIndexOf("/") + 1), url, integrity, buildsFromSource: false, ...time };
  // Whether it has scripts for its installation is in the package itself, and nowhere before: it counts as one that has.
  return { name, version, ...time, licenses: [], hasInstallScript: true, yanked: false, artifacts: [artifact], source };
}

function readHttpTime(text = ""): number | undefined {
  const ms = HTTP_TIME.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

async function document(path: string, desk: Desk): Promise<Reply> {
  for (const root of desk.roots) {
    const found = await findDocument(desk, new URL(path, root).href);
    if (!found) continue;
    const modified = found.headers["last-modified"];
    const headers = {
      "content-type": "application/octet-stream",
      ...(modified !== undefined && { "last-modified": modified }),
    };
    return { status: 200, headers, body: found.body };
  }
  return notFound();
}
