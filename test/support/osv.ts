import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type ImportReport, importAdvisories } from "../../src/packages/advisories/import.ts";
import { namingOf } from "../../src/policy/ecosystems/naming.ts";

/** As an OSV record has it. */
export interface Affected {
  readonly package: { readonly ecosystem: string; readonly name: string };
  readonly versions?: readonly string[];
  readonly ranges?: readonly { readonly type: string; readonly events: readonly Readonly<Record<string, string>>[] }[];
}

export interface Osv {
  readonly id: string;
  readonly modified?: string;
  readonly withdrawn?: string;
  readonly aliases?: readonly string[];
  readonly affected?: readonly Affected[];
}

/** A record about one package, of which all versions are affected if nothing else is said. */
export function osv(id: string, ecosystem: string, name: string, rest: Partial<Osv & Affected> = {}): Osv {
  const { versions, ranges = versions ? [] : [introduced("0")], ...record } = rest;
  return {
    id,
    modified: "2026-01-01T00:00:00Z",
    affected: [{ package: { ecosystem, name }, ...(versions ? { versions } : {}), ranges }],
    ...record,
  };
}

/** A range that begins at a version; further events behind it. */
export function introduced(version: string, ...events: Readonly<Record<string, string>>[]) {
  return { type: "ECOSYSTEM", events: [{ introduced: version }, ...events] };
}

/** A folder of the records, each in a file of its own; other values are written as they are. */
export function writeRecords(folder: string, records: readonly (Osv | string)[]): string {
  for (const [number, it] of records.entries()) {
    const path = join(folder, String(number % 100), `${number}.json`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof it === "string" ? it : JSON.stringify(it));
  }
  return folder;
}

export function importFrom(paths: readonly string[], file: string, strict = false): Promise<ImportReport> {
  return importAdvisories(paths, file, { namingOf, strict, signal: AbortSignal.timeout(120_000) });
}
