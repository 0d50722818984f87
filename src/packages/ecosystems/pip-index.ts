import { type DefaultTreeAdapterTypes, parse } from "parse5";
import { z } from "zod";
import type { Artifact, Document } from "../registry.ts";
import { readIntegrity, readJson, readText, readTime, requireFew } from "./documents.ts";
import { readFileName } from "./pip-file-name.ts";

/** A file of a project as the index describes it. */
export interface IndexFile {
  readonly artifact: Artifact;
  readonly version: string;
  /** Why it was taken back; `undefined` when it wasn't. */
  readonly yanked: string | undefined;
  /** PEP 440 specifier of Python versions. */
  readonly requiresPython: string | undefined;
}

/** What both forms of the index say of a file. */
interface Entry {
  readonly filename: string;
  readonly url: string;
  readonly hashes: Readonly<Record<string, string>>;
  readonly time: string | undefined;
  readonly yanked: string | undefined;
  readonly requiresPython: string | undefined;
}

const JSON_TYPE = "application/vnd.pypi.simple.v1+json";
/** PEP 691 where the index has it, else PEP 503. */
export const INDEX_ACCEPT = `${JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1`;

/** Of "requires Python"; what is in none is left out. */
const PYTHON = /^[0-9A-Za-z.,<>=!~*+ ]{1,200}$/;

const MAX_URL_CHARS = 4_096;

const jsonIndex = z.object({
  files: z.array(
    z.object({
      filename: z.string(),
      url: z.string(),
      hashes: z.record(z.string(), z.string()).default({}),
      "upload-time": z.string().nullish(),
      yanked: z.union([z.boolean(), z.string()]).optional(),
      "requires-python": z.string().nullish(),
    }),
  ),
});

/**
 * The project's files that pip could install. Files whose name is another project's, or of no version, are left out.
 * @throws GatewayError REGISTRY_MALFORMED
 */
export function readIndex(name: string, document: Document): IndexFile[] {
  const what = `pip's page of \`${name}\``;
  const entries = /json$/.test(document.contentType)
    ? readJson(jsonIndex, document.body, what).files.map(fromJson)
    : linksOf(parse(readText(document.body, what)).childNodes).map(fromLink);
  requireFew(entries.length, what);
  const files = entries.flatMap((it) => readEntry(name, it, document.url));
  // The first of a name counts, as for pip; a second could be another file.
  return [...new Map(files.toReversed().map((it) => [it.artifact.file, it])).values()].toReversed();
}

function readEntry(name: string, entry: Entry, page: string): IndexFile[] {
  const { filename, hashes, yanked, requiresPython } = entry;
  const said = readFileName(filename).find((it) => it.name === name);
  const url = URL.parse(entry.url, page);
  if (!said || !url || !/^https?:$/.test(url.protocol)) return [];
  url.hash = "";
  const publishedMs = readTime(entry.time);
  const artifact: Artifact = {
    file: filename,
    url: url.href,
    integrity: Object.entries(hashes).flatMap(([algorithm, hex]) => readIntegrity(algorithm, hex)),
    buildsFromSource: said.isSource,
    ...(publishedMs !== undefined && { publishedMs }),
  };
  const python = requiresPython && PYTHON.test(requiresPython) ? requiresPython : undefined;
  return [{ artifact, version: said.version, yanked, requiresPython: python }];
}

function fromJson(file: z.infer<typeof jsonIndex>["files"][number]): Entry {
  const { filename, url, hashes, yanked } = file;
  const reason = yanked === true ? "" : yanked || undefined;
  return {
    filename,
    url,
    hashes,
    time: file["upload-time"] ?? undefined,
    yanked: reason,
    requiresPython: file["requires-python"] ?? undefined,
  };
}

type Node = DefaultTreeAdapterTypes.ChildNode;
type Attributes = ReadonlyMap<string, string>;

/** The attributes of each link, wherever in the page. A page may be nested as deeply as its size permits: no recursion. */
function linksOf(nodes: readonly Node[]): Attributes[] {
  const links: Attributes[] = [];
  const left = nodes.toReversed();
  for (let node = left.pop(); node; node = left.pop()) {
    if (!("tagName" in node)) continue;
    if (node.tagName === "a") links.push(new Map(node.attrs.map((it) => [it.name, it.value])));
    left.push(...node.childNodes.toReversed());
  }
  return links;
}

function fromLink(attributes: Attributes): Entry {
  const url = attributes.get("href") ?? "";
  const [address = "", fragment = ""] = url.length > MAX_URL_CHARS ? [] : url.split("#");
  const digests = fragment.split("&").map((it) => it.split("="));
  return {
    filename: lastPart(address),
    url,
    hashes: Object.fromEntries(digests.flatMap(([algorithm, hex]) => (algorithm && hex ? [[algorithm, hex]] : []))),
    time: attributes.get("data-upload-time"),
    yanked: attributes.get("data-yanked"),
    requiresPython: attributes.get("data-requires-python"),
  };
}

function lastPart(address: string): string {
  const [path = ""] = address.split("?");
  try {
    return decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
  } catch {
    return "";
  }
}
