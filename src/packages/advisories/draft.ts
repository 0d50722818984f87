import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { GatewayError } from "../../errors.ts";
import { ECOSYSTEMS, type EcosystemName } from "../../policy/ecosystems/ecosystem.ts";
import { openAdvisoriesFile } from "./file.ts";

export interface ImportedEcosystem {
  readonly ecosystem: EcosystemName;
  readonly records: number;
  /** How many of them are about malicious packages, and were not withdrawn. */
  readonly malicious: number;
  /** How many records there were until now. */
  readonly before: number;
  readonly digest: string;
}

/**
 * A draft with all new concerns becomes a whole store: it has only these of the ecosystems `whole`, and of the others what was in `file`.
 * One that is damaged can't be carried on.
 * @throws GatewayError ADVISORIES_INVALID when of an ecosystem less than half would be left, unless `fewer` is meant: most likely somebody
 * has imported a few records of their own without the rest
 */
export function completeDraft(
  draft: DatabaseSync,
  file: string,
  { whole, fewer }: { readonly whole: ReadonlySet<EcosystemName>; readonly fewer: boolean },
): { imported: readonly ImportedEcosystem[]; replacedDamaged: boolean } {
  const others = ECOSYSTEMS.filter((it) => !whole.has(it));
  for (const it of others) draft.prepare("DELETE FROM concerns WHERE ecosystem = ?").run(it);
  const old = openOld(file);
  const before = new Map<EcosystemName, number>();
  if (typeof old === "object") {
    using database = old;
    for (const it of ECOSYSTEMS) before.set(it, countBefore(database, it));
    for (const it of others) copy(database, draft, it);
  }
  const atMs = Date.now();
  const imported = ECOSYSTEMS.filter((it) => whole.has(it)).map((ecosystem) => {
    const counts = summarise(draft, ecosystem);
    const known = before.get(ecosystem) ?? 0;
    if (counts.records < known / 2 && !fewer) throw tooFew(ecosystem, counts.records, known);
    draft
      .prepare("INSERT INTO imports (ecosystem, at_ms, digest, records, malicious) VALUES (?, ?, ?, ?, ?)")
      .run(ecosystem, atMs, counts.digest, counts.records, counts.malicious);
    return { ecosystem, ...counts, before: known };
  });
  return { imported, replacedDamaged: old === "damaged" };
}

function tooFew(ecosystem: EcosystemName, records: number, known: number): GatewayError {
  const why = `${records} records about ${ecosystem} would take the place of ${known}`;
  return new GatewayError("ADVISORIES_INVALID", `${why}: import them together with the others, or say --fewer`);
}

function openOld(file: string): DatabaseSync | "none" | "damaged" {
  if (!existsSync(file)) return "none";
  try {
    return openAdvisoriesFile(file);
  } catch (error) {
    if (error instanceof GatewayError) return "damaged";
    throw error;
  }
}

function countBefore(old: DatabaseSync, ecosystem: EcosystemName): number {
  const row = old.prepare("SELECT records FROM imports WHERE ecosystem = ?").get(ecosystem);
  return Number(row?.["records"] ?? 0);
}

function copy(old: DatabaseSync, draft: DatabaseSync, ecosystem: EcosystemName): void {
  for (const table of ["imports", "concerns"]) {
    const rows = old.prepare(`SELECT * FROM ${table} WHERE ecosystem = ?`);
    const insert = draft.prepare(
      `INSERT INTO ${table} VALUES (${rows
        .columns()
        .map(() => "?")
        .join(", ")})`,
    );
    for (const row of rows.iterate(ecosystem)) insert.run(...Object.values(row));
  }
}

/** The digest is the same for the same records, in whatever order they came. */
function summarise(draft: DatabaseSync, ecosystem: EcosystemName) {
  const count = (condition: string) =>
    Number(
      draft
        .prepare(`SELECT count(DISTINCT id) AS n FROM concerns WHERE ecosystem = ? AND ${condition}`)
        .get(ecosystem)?.["n"],
    );
  const hash = createHash("sha256");
  const rows = draft.prepare(
    "SELECT json_array(name, id, malicious, withdrawn, parts) AS line FROM concerns WHERE ecosystem = ? ORDER BY name, id",
  );
  for (const { line } of rows.iterate(ecosystem)) hash.update(`${line}\n`);
  return {
    records: count("TRUE"),
    malicious: count("malicious = 1 AND withdrawn = 0"),
    digest: hash.digest("hex"),
  };
}
