import { constants } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { GatewayError } from "../../errors.ts";
import { tryLock } from "../../lib/lock.ts";
import { ECOSYSTEMS, type EcosystemName, type Naming } from "../../policy/ecosystems/ecosystem.ts";
import { packageKey } from "../package-key.ts";
import { completeDraft, type ImportedEcosystem } from "./draft.ts";
import { createAdvisoriesFile } from "./file.ts";
import { type OsvRecord, type Part, readOsvRecord } from "./osv-record.ts";
import { readRecordTexts } from "./source.ts";

export interface ImportOptions {
  readonly namingOf: (ecosystem: EcosystemName) => Naming;
  /** Fail on the first file that is no OSV record, instead of counting it. */
  readonly strict?: boolean;
  /** Let an ecosystem end up with less than half of the records that it had. */
  readonly fewer?: boolean;
  /** Called every thousand records with how many were read. */
  readonly onProgress?: (records: number) => void;
  readonly signal: AbortSignal;
}

export interface ImportReport {
  readonly imported: readonly ImportedEcosystem[];
  /** Ecosystems of ours that only records about several ecosystems name: these were not taken. */
  readonly incomplete: readonly EcosystemName[];
  /** Files that are no OSV record. */
  readonly malformed: number;
  /** Names of the first few. */
  readonly malformedFiles: readonly string[];
  /** What was there could not be read: all that is known now is what has been imported. */
  readonly replacedDamaged: boolean;
}

const MAX_NAMED_FILES = 10;
const PROGRESS_RECORDS = 1_000;
const NEWER_WINS = `
  INSERT INTO concerns (ecosystem, name, id, modified, malicious, withdrawn, parts) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET modified = excluded.modified, malicious = excluded.malicious, withdrawn = excluded.withdrawn, parts = excluded.parts
  WHERE (excluded.modified, excluded.parts) > (modified, parts)`;

/**
 * Imports OSV records from files (zip, folder, one record) into `file`. What is imported together takes the place of everything that was
 * known of the ecosystems that it has. It has an ecosystem when a record is about this one alone: an export of npm's records has records
 * about npm and Maven too, and they are not all that there is to know of Maven. Readers see the old state or the new one.
 * @throws GatewayError ADVISORIES_INVALID, STATE_UNWRITABLE; then the old state stays
 */
export async function importAdvisories(
  paths: readonly string[],
  file: string,
  options: ImportOptions,
): Promise<ImportReport> {
  try {
    return await importLocked(paths, file, options);
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof GatewayError || !(error instanceof Error && "code" in error)) throw error;
    throw new GatewayError("STATE_UNWRITABLE", `the advisories can't be written: ${error.message}`, { cause: error });
  }
}

async function importLocked(paths: readonly string[], file: string, options: ImportOptions): Promise<ImportReport> {
  await mkdir(dirname(file), { recursive: true, mode: 0o711 });
  using lock = tryLock(`${file}.lock`);
  if (!lock) throw new GatewayError("ADVISORIES_INVALID", "another import is running; wait for its end");
  const draft = `${file}.new`;
  await rm(draft, { force: true });
  try {
    const report = await makeDraft(paths, file, draft, options);
    await publish(draft, file);
    return report;
  } finally {
    await rm(draft, { force: true });
  }
}

async function makeDraft(
  paths: readonly string[],
  file: string,
  draft: string,
  options: ImportOptions,
): Promise<ImportReport> {
  using database = createAdvisoriesFile(draft);
  database.exec("BEGIN");
  const { found, whole, malformed, malformedFiles } = await readAll(paths, database, options);
  if (whole.size === 0)
    throw new GatewayError(
      "ADVISORIES_INVALID",
      "there is no OSV record about one of the ecosystems pip, npm, apt, cargo, go and maven",
    );
  const { imported, replacedDamaged } = completeDraft(database, file, { whole, fewer: options.fewer ?? false });
  database.exec("COMMIT");
  const incomplete = ECOSYSTEMS.filter((it) => found.has(it) && !whole.has(it));
  return { imported, incomplete, malformed, malformedFiles, replacedDamaged };
}

/** What was read: ecosystems that there was anything of, and those that there was everything of. */
interface Reading {
  readonly found: Set<EcosystemName>;
  readonly whole: Set<EcosystemName>;
  readonly malformedFiles: string[];
  malformed: number;
}

async function readAll(paths: readonly string[], database: DatabaseSync, options: ImportOptions): Promise<Reading> {
  const reading: Reading = { found: new Set(), whole: new Set(), malformedFiles: [], malformed: 0 };
  const namings = new Map(ECOSYSTEMS.map(options.namingOf).map((it) => [it.osv, it]));
  const insert = database.prepare(NEWER_WINS);
  let records = 0;
  for (const path of paths)
    for await (const { name, text } of readRecordTexts(path, options.signal)) {
      options.signal.throwIfAborted();
      const record = readOrUndefined(text);
      if (record) keepRecord(record, namings, insert, reading);
      else if (options.strict) throw new GatewayError("ADVISORIES_INVALID", `\`${name}\` is no OSV record`);
      else if (++reading.malformed <= MAX_NAMED_FILES) reading.malformedFiles.push(name);
      if (++records % PROGRESS_RECORDS === 0) options.onProgress?.(records);
    }
  return reading;
}

function keepRecord(
  record: OsvRecord,
  namings: ReadonlyMap<string, Naming>,
  insert: StatementSync,
  { found, whole }: Reading,
): void {
  const { id, modified, malicious, withdrawn, affected } = record;
  const concerned = new Set(affected.map((it) => it.ecosystem));
  for (const naming of [...concerned].map((it) => namings.get(it)).filter((it) => it !== undefined)) {
    found.add(naming.ecosystem);
    if (concerned.size === 1) whole.add(naming.ecosystem);
    for (const [key, parts] of partsByPackage(record, naming))
      insert.run(naming.ecosystem, key, id, modified, Number(malicious), Number(withdrawn), JSON.stringify(parts));
  }
}

function readOrUndefined(text: string | undefined): OsvRecord | undefined {
  if (text === undefined) return undefined;
  try {
    return readOsvRecord(text);
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/** A name that can't be read can't be installed either. */
function partsByPackage({ affected }: OsvRecord, naming: Naming): ReadonlyMap<string, readonly Part[]> {
  const packages = new Map<string, Part[]>();
  for (const { ecosystem, name, part } of affected) {
    const read = ecosystem === naming.osv ? naming.readName(name) : undefined;
    if (read === undefined) continue;
    const key = packageKey(naming, read);
    packages.set(key, [...(packages.get(key) ?? []), part]);
  }
  return packages;
}

async function publish(draft: string, file: string): Promise<void> {
  {
    await using handle = await open(draft, constants.O_RDWR);
    await handle.sync();
  }
  await rename(draft, file);
  await using directory = await open(dirname(file), constants.O_RDONLY | constants.O_DIRECTORY);
  await directory.sync();
}
