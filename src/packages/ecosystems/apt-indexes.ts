import { createHash } from "node:crypto";
import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import type { Desk } from "../registry.ts";
import { type AptFile, type AptIndex, COMPRESSIONS, type Compressed, readAptIndex } from "./apt-index.ts";
import { findDocument, malformed } from "./documents.ts";

/** The largest takes 40 MB. */
const MAX_REMEMBERED = 4;
const MAX_RELEASE_BYTES = 4 * 1024 * 1024;
const MAX_INDEX_BYTES = 64 * 1024 * 1024;

/** What of archives there is to choose from. */
export interface AptScope {
  /** `trixie`, `trixie-updates`; those that an archive doesn't have are passed over. */
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** As Debian names it: `amd64`. */
  readonly architecture: string;
}

export interface Found {
  readonly file: AptFile;
  /** Of the archive that has it. */
  readonly root: string;
  /** When the archive said so: the file is no younger. Milliseconds since 1970. */
  readonly listedMs: number | undefined;
}

interface Listed extends Pick<Found, "root" | "listedMs"> {
  readonly index: AptIndex;
}

interface Promised extends Pick<Compressed, "compression"> {
  readonly digest: string;
}

export interface AptIndexes {
  /** In all archives and suites. */
  files(name: string, desk: Desk): Promise<readonly Found[]>;
  at(path: string, desk: Desk): Promise<Found | undefined>;
}

/**
 * The indexes of archives, by the digests that their `InRelease` has of them: as consistent with it as what the sandbox's apt gets, and
 * read once. Its signature is checked by that apt, not here.
 */
export function aptIndexes(naming: Naming, { suites, components, architecture }: AptScope): AptIndexes {
  /** By digest, the one that was used last at the end. */
  const remembered = new Map<string, Promise<AptIndex>>();

  function remember(digest: string, read: () => Promise<AptIndex>): Promise<AptIndex> {
    const known = remembered.get(digest) ?? read();
    remembered.delete(digest);
    remembered.set(digest, known);
    known.catch(() => remembered.delete(digest));
    const [oldest] = remembered.keys();
    if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    return known;
  }

  async function ofSuite(root: string, suite: string, desk: Desk): Promise<readonly Listed[]> {
    const at = `${root}dists/${suite}/`;
    const document = await findDocument(desk, `${at}InRelease`, { maxBytes: MAX_RELEASE_BYTES });
    const { digests, listedMs } = readRelease(document?.body.toString("latin1") ?? "");
    const found = components.map(async (component) => {
      const directory = `${component}/binary-${architecture}/`;
      const compression = COMPRESSIONS.find((it) => digests.has(`${directory}Packages.${it}`));
      const digest = digests.get(`${directory}Packages.${compression}`);
      if (!compression || digest === undefined) return undefined;
      const index = await remember(digest, () => readIndex(`${at}${directory}`, { digest, compression }, desk));
      return { index, root, listedMs };
    });
    return (await Promise.all(found)).filter((it) => it !== undefined);
  }

  async function readIndex(directory: string, { digest, compression }: Promised, desk: Desk): Promise<AptIndex> {
    const what = "an index of the archive";
    const options = { maxBytes: MAX_INDEX_BYTES };
    const document =
      (await findDocument(desk, `${directory}by-hash/SHA256/${digest}`, options)) ??
      (await findDocument(desk, `${directory}Packages.${compression}`, options));
    const body = document?.body;
    if (!body || createHash("sha256").update(body).digest("hex") !== digest) throw malformed(what);
    return await readAptIndex(naming, { body, compression }, what);
  }

  /** In turn: of large ones one at a time is in memory. */
  async function all(desk: Desk): Promise<readonly Listed[]> {
    const found: Listed[] = [];
    for (const root of desk.roots) {
      for (const suite of suites) found.push(...(await ofSuite(root, suite, desk)));
    }
    return found;
  }

  return {
    files: async (name, desk) => {
      const found = (await all(desk)).filter(({ root }) => mayHave(root, name, desk));
      return found.flatMap(({ index, ...listed }) => index.files(name).map((file) => ({ file, ...listed })));
    },
    at: async (path, desk) => {
      const found = (await all(desk)).map(({ index, ...listed }) => ({ file: index.at(path), ...listed }));
      const files = found.flatMap(({ file, ...listed }) => (file ? [{ file, ...listed }] : []));
      return files.find(({ file, root }) => mayHave(root, file.name, desk));
    },
  };
}

/** A package that one archive has for itself comes from no other; all others from any: those of a distribution belong together. */
function mayHave(root: string, name: string, desk: Desk): boolean {
  const own = desk.root(name);
  return own === desk.roots[0] || own === root;
}

/** Digests of the files that a suite's `InRelease` names, by their paths; and when it was made. */
function readRelease(text: string): { digests: ReadonlyMap<string, string>; listedMs: number | undefined } {
  const release = text.replaceAll("\r", "");
  const [, section = ""] = /^SHA256:[ \t]*\n((?: .*\n)*)/m.exec(release) ?? [];
  const lines = section.matchAll(/^ ([0-9a-f]{64}) +\d+ +(\S+)$/gm);
  const digests = new Map([...lines].map(([, digest = "", path = ""]) => [path, digest]));
  const [, date] = /^Date: ([A-Z][a-z]{2}, [ \d]\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d) UTC$/m.exec(release) ?? [];
  const listedMs = Date.parse(`${date} GMT`);
  return { digests, listedMs: Number.isNaN(listedMs) ? undefined : listedMs };
}
