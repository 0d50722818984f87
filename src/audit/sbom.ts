import { hash } from "node:crypto";
import { PackageURL } from "packageurl-js";
import parseSpdx from "spdx-expression-parse";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { Admission } from "./admitted.ts";
import type { Inventory, InventoryOptions, Package } from "./inventory.ts";

/** A longer name, or licence, is cut. */
const MAX_CHARS = 500;

/**
 * A bill of materials in CycloneDX 1.6, as JSON: what entered sandboxes from registries. The same inventory gives the same text, to its
 * serial number, which is a digest of the rest. What registries and agents chose in it is made printable.
 */
export function sbomText(inventory: Inventory, { session, sinceMs }: InventoryOptions, version: string): string {
  const subject = session === undefined ? "sandboxes" : printable(session, MAX_CHARS);
  const components = [...inventory.packages]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([purl, it]) => component(purl, it, session === undefined));
  const head = { bomFormat: "CycloneDX", specVersion: "1.6" };
  const body = {
    version: 1,
    metadata: {
      ...asOf(inventory),
      lifecycles: [{ phase: "operations" }],
      tools: { components: [{ type: "application", name: "glovebox", version }] },
      component: { type: "container", "bom-ref": subject, name: subject },
      properties: [
        ...inventory.heads.map(({ chain, seq, hash }) => property("audit-head", `${chain} ${seq} ${hash}`)),
        ...(sinceMs === undefined ? [] : [property("since", new Date(sinceMs).toISOString())]),
      ],
    },
    components,
    // What the sandbox's image brings along is not in here, nor what needs what.
    compositions: [
      { aggregate: "incomplete", assemblies: [subject] },
      { aggregate: "unknown", dependencies: components.map((it) => it["bom-ref"]) },
    ],
  };
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify({ ...head, ...body }))}`;
  return `${JSON.stringify({ ...head, serialNumber, ...body }, null, 2)}\n`;
}

function component(purl: string, { files, latest, requested, sessions, policies }: Package, ofAll: boolean) {
  const { name, namespace, version } = parsed(purl, latest);
  const admissions = [...files.values()];
  return {
    type: "library",
    "bom-ref": purl,
    ...(namespace ? { group: text(namespace) } : {}),
    name: text(name),
    version: text(version),
    hashes: distinct(admissions.map((it) => it.sha256)).map(sha256),
    ...licences(latest.licenses),
    purl,
    externalReferences: admissions.map(distribution),
    properties: [
      property("requested", String(requested)),
      ...distinct(admissions.map((it) => it.registry)).map((it) => property("registry", it)),
      ...distinct(admissions.flatMap((it) => it.integrity ?? [])).map((it) => property("integrity", it)),
      ...[...policies].sort().map((it) => property("policy", it)),
      ...(ofAll ? [...sessions].sort().map((it) => property("session", it)) : []),
      ...admissions.map(({ record: { chain, seq, hash } }) => property("record", `${chain} ${seq} ${hash}`)),
    ],
  };
}

function parsed(purl: string, { record }: Admission): { name: string; namespace: string | undefined; version: string } {
  try {
    const { name, namespace, version } = PackageURL.fromString(purl);
    if (version) return { name, namespace, version };
  } catch (cause) {
    throw notPurl(record, cause);
  }
  throw notPurl(record, undefined);
}

function notPurl({ chain, seq }: Admission["record"], cause: unknown): GatewayError {
  const message = `record ${seq} of ${printable(chain, 60)} names a package by what is no package URL with a version`;
  return new GatewayError("AUDIT_CORRUPT", message, { cause });
}

/** Where a file came from. The log has its registry, not its address there: the file's name is a reference relative to what the reader has. */
function distribution({ file, registry, bytes, sha256: content }: Admission) {
  const comment = `${bytes} bytes from ${text(registry)}`;
  return { type: "distribution", url: encodeURIComponent(text(file)), comment, hashes: [sha256(content)] };
}

/** One of them suffices. An expression can't stand beside a name: when one is none that SPDX knows, all are names. */
function licences(licenses: readonly string[]) {
  const names = distinct(licenses.map(text).filter((it) => it.trim() !== ""));
  if (names.length === 0) return {};
  const acknowledgement = "declared";
  if (!names.every(isSpdx)) return { licenses: names.map((name) => ({ license: { name, acknowledgement } })) };
  const [only = "", ...others] = names;
  const expression = others.length === 0 ? only : names.map((it) => (it.includes(" ") ? `(${it})` : it)).join(" OR ");
  return { licenses: [{ expression, acknowledgement }] };
}

function isSpdx(expression: string): boolean {
  try {
    parseSpdx(expression);
    return true;
  } catch {
    return false;
  }
}

/** When the newest record that was verified was written: what comes later is not in it. */
function asOf({ heads }: Inventory): { timestamp?: string } {
  const latest = heads
    .map((it) => it.time)
    .sort()
    .at(-1);
  return latest === undefined ? {} : { timestamp: latest };
}

function property(name: string, value: string) {
  return { name: `glovebox:${name}`, value: text(value) };
}

function sha256(content: string) {
  return { alg: "SHA-256", content };
}

function text(value: string): string {
  // Cutting may leave half a character.
  return printable(value, MAX_CHARS)
    .toWellFormed()
    .replaceAll(/[\n\t]/g, " ");
}

function distinct(values: readonly string[]): string[] {
  return [...new Set(values)];
}

/** A UUID of version 8 (RFC 9562): 122 bits of the text's SHA-256. */
function uuidOf(content: string): string {
  const hex = hash("sha256", content);
  const variant = "89ab"[Number.parseInt(hex.charAt(16), 16) % 4];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
