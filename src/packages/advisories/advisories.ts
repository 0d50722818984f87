import type { EcosystemName } from "../../policy/ecosystems/ecosystem.ts";

/** What is known about versions of packages, from OSV records that were imported (ossf.github.io/osv-schema). */
export interface Advisories extends Disposable {
  /** Advisories about this version that were not withdrawn, ids in order. */
  about(ecosystem: EcosystemName, name: string, version: string): readonly Advisory[];
  /** The last import that had records of this ecosystem; `undefined` when there was none. */
  imported(ecosystem: EcosystemName): Import | undefined;
}

export interface Advisory {
  readonly id: string;
  /** The id, or an alias, begins with `MAL-`. */
  readonly malicious: boolean;
}

export interface Import {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** SHA-256 over the records, in hexadecimal: what was known. */
  readonly digest: string;
  readonly records: number;
}
