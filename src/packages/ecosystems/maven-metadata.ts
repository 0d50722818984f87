import { XMLParser, XMLValidator } from "fast-xml-parser";
import { z } from "zod";
import { mavenNaming } from "../../policy/ecosystems/maven.ts";
import type { Document } from "../registry.ts";
import { malformed, readText, readTime, requireFew } from "./documents.ts";

/** What `maven-metadata.xml` says of a package, or of the plugins of a group. */
export interface MavenMetadata {
  /** As the registry has them in order. */
  readonly versions: readonly string[];
  readonly latest: string | undefined;
  readonly release: string | undefined;
  /** When a version was added last: `yyyymmddHHMMSS`, UTC. */
  readonly lastUpdated: string | undefined;
  readonly plugins: readonly { readonly prefix: string; readonly artifactId: string }[];
}

/** Of a document that is read as XML. */
export const MAX_XML_BYTES = 8 * 1_048_576;
const PART = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** An element that is there once is a value, several times a list, and empty a text. */
const many = <Item extends z.ZodType>(item: Item) => z.union([z.array(item), item.transform((it) => [it])]);
const emptyOr = <Shape extends z.ZodType>(shape: Shape) =>
  z.union([z.literal("").transform(() => undefined), shape]).optional();

const schema = z.object({
  metadata: z.object({
    groupId: z.string().optional(),
    artifactId: z.string().optional(),
    versioning: emptyOr(
      z.object({
        latest: z.string().optional(),
        release: z.string().optional(),
        versions: emptyOr(z.object({ version: many(z.string()).default([]) })),
        lastUpdated: z.string().optional(),
      }),
    ),
    plugins: emptyOr(z.object({ plugin: many(z.object({ prefix: z.string(), artifactId: z.string() })).default([]) })),
  }),
});

/**
 * XML without a document type, and so without entities of its own, as values.
 * @throws GatewayError REGISTRY_MALFORMED
 */
export function readXml(document: Document, what: string): unknown {
  const text = readText(document.body, what);
  if (/<!(?:DOCTYPE|ENTITY)/i.test(text)) throw malformed(what);
  try {
    if (XMLValidator.validate(text) !== true) throw malformed(what);
    return new XMLParser({ parseTagValue: false, processEntities: false }).parse(text);
  } catch (error) {
    throw malformed(what, error);
  }
}

/** @throws GatewayError REGISTRY_MALFORMED, for another package's, too */
export function readMetadata(name: string, document: Document): MavenMetadata {
  const what = `maven's metadata of \`${name}\``;
  const parsed = schema.safeParse(readXml(document, what));
  if (!parsed.success) throw malformed(what, parsed.error);
  const { groupId, artifactId, versioning, plugins } = parsed.data.metadata;
  if (versioning && `${groupId}:${artifactId}` !== name) throw malformed(what);
  const said = versioning?.versions?.version ?? [];
  requireFew(said.length, what);
  const versions = said.flatMap((it) => mavenNaming.readVersion(it) ?? []);
  return {
    versions: [...new Set(versions)],
    latest: versioning?.latest,
    release: versioning?.release,
    lastUpdated: /^\d{14}$/.test(versioning?.lastUpdated ?? "") ? versioning?.lastUpdated : undefined,
    plugins: (plugins?.plugin ?? []).filter((it) => PART.test(it.prefix) && PART.test(it.artifactId)),
  };
}

/** Milliseconds since 1970: no version is younger. Where files have no times, this is when they are from at the latest. */
export function lastUpdatedMs({ lastUpdated = "" }: MavenMetadata): number | undefined {
  return readTime(lastUpdated.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/, "$1-$2-$3T$4:$5:$6Z"));
}

/** With the versions that may be seen. Everything in it has been read: nothing has to be escaped. */
export function writeMetadata(name: string, metadata: MavenMetadata, visible: readonly string[]): string {
  const [group = "", artifact = ""] = name.split(":");
  const plugins = metadata.plugins.map(
    (it) => `<plugin><prefix>${it.prefix}</prefix><artifactId>${it.artifactId}</artifactId></plugin>`,
  );
  const head = `<groupId>${group}</groupId><artifactId>${artifact}</artifactId>`;
  const body = [
    metadata.versions.length > 0 ? `${head}<versioning>${versioning(metadata, visible)}</versioning>` : "",
    plugins.length > 0 ? `<plugins>${plugins.join("")}</plugins>` : "",
  ];
  return `<?xml version="1.0" encoding="UTF-8"?>\n<metadata>${body.join("")}</metadata>\n`;
}

function versioning({ latest, release, lastUpdated }: MavenMetadata, visible: readonly string[]): string {
  const sorted = visible.toSorted((a, b) => mavenNaming.compare(b, a));
  const [highest] = sorted;
  const stable = sorted.find((it) => !mavenNaming.isPrerelease(it)) ?? highest;
  const seen = (version: string | undefined) => visible.find((it) => it === version);
  const versions = visible.map((it) => `<version>${it}</version>`).join("");
  return [
    element("latest", seen(latest) ?? highest),
    element("release", seen(release) ?? stable),
    `<versions>${versions}</versions>`,
    element("lastUpdated", lastUpdated),
  ].join("");
}

function element(name: string, text: string | undefined): string {
  return text === undefined ? "" : `<${name}>${text}</${name}>`;
}
