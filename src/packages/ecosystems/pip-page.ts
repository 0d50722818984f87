import { printable } from "../../lib/text.ts";
import type { RegistryRequest, Reply } from "../registry.ts";
import { metadata } from "./documents.ts";
import type { IndexFile } from "./pip-index.ts";

const JSON_TYPE = "application/vnd.pypi.simple.v1+json";

/** A project's files, in the form that the client accepts: PEP 691, else PEP 503. Nothing stands here but what has been read. */
export function projectPage(name: string, files: readonly IndexFile[], { accept, base }: RegistryRequest): Reply {
  const url = (it: IndexFile) =>
    `${base}files/${[name, it.version, it.artifact.file].map(encodeURIComponent).join("/")}`;
  if (accept.includes(JSON_TYPE)) {
    const page = { meta: { "api-version": "1.0" }, name, files: files.map((it) => jsonFile(it, url(it))) };
    return metadata(JSON_TYPE, JSON.stringify(page));
  }
  const links = files.map((it) => htmlLink(it, url(it)));
  return metadata("text/html; charset=utf-8", `<!DOCTYPE html><html><body>\n${links.join("\n")}\n</body></html>\n`);
}

function jsonFile({ artifact, yanked, requiresPython }: IndexFile, url: string): object {
  const { file, integrity, publishedMs } = artifact;
  return {
    filename: file,
    url,
    hashes: Object.fromEntries(integrity.map((it) => [it.algorithm, it.hex])),
    ...(requiresPython !== undefined && { "requires-python": requiresPython }),
    ...(yanked !== undefined && { yanked: printable(yanked, 200) || true }),
    ...(publishedMs !== undefined && { "upload-time": new Date(publishedMs).toISOString() }),
  };
}

function htmlLink({ artifact, yanked, requiresPython }: IndexFile, url: string): string {
  const [digest] = artifact.integrity;
  const href = digest ? `${url}#${digest.algorithm}=${digest.hex}` : url;
  const attributes = [
    ["href", href],
    ["data-requires-python", requiresPython],
    ["data-yanked", yanked === undefined ? undefined : printable(yanked, 200)],
  ] as const;
  const written = attributes.flatMap(([key, value]) => (value === undefined ? [] : [`${key}="${escapeHtml(value)}"`]));
  return `<a ${written.join(" ")}>${escapeHtml(artifact.file)}</a><br>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (it) => `&#${it.charCodeAt(0)};`);
}
