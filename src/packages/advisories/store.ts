import { statSync } from "node:fs";
import type { StatementSync } from "node:sqlite";
import { z } from "zod";
import { isMissing } from "../../lib/error.ts";
import type { EcosystemName, Naming } from "../../policy/ecosystems/ecosystem.ts";
import { packageKey } from "../package-key.ts";
import type { Advisories, Advisory, Import } from "./advisories.ts";
import { openAdvisoriesFile, orInvalid } from "./file.ts";
import { type Concern, matchConcerns } from "./match.ts";
import { partsSchema } from "./osv-record.ts";

export interface StoredAdvisories extends Advisories {
  imported(ecosystem: EcosystemName): StoredImport | undefined;
}

export interface StoredImport extends Import {
  /** How many of the records are about malicious packages. */
  readonly malicious: number;
}

const importSchema = z.strictObject({
  atMs: z.int(),
  digest: z.string(),
  records: z.int(),
  malicious: z.int(),
});
const concernSchema = z.strictObject({ id: z.string(), malicious: z.int(), parts: z.string() });

const SELECT_IMPORT = "SELECT at_ms AS atMs, digest, records, malicious FROM imports WHERE ecosystem = ?";
const SELECT_CONCERNS =
  "SELECT id, malicious, parts FROM concerns WHERE ecosystem = ? AND name = ? AND withdrawn = 0 ORDER BY id";

/** Packages whose advisories are remembered. */
const MAX_REMEMBERED = 500;
/** How soon an import is seen, in milliseconds. */
const LOOK_AGAIN_MS = 500;

/**
 * Reads what was imported into `file`; without one nothing was. Another import is taken up while this is open. A file that is damaged is
 * not "nothing known": every question fails.
 * @throws GatewayError ADVISORIES_INVALID, now and at each question
 */
export function openAdvisories(file: string, namingOf: (ecosystem: EcosystemName) => Naming): StoredAdvisories {
  let opened = openStore(file, namingOf);
  let lookedMs = performance.now();
  const current = () => {
    if (performance.now() - lookedMs >= LOOK_AGAIN_MS) {
      if (identityOf(file) !== opened.identity) {
        const next = openStore(file, namingOf);
        opened.close();
        opened = next;
      }
      lookedMs = performance.now();
    }
    return opened;
  };
  return {
    about: (ecosystem, name, version) => current().about(ecosystem, name, version),
    imported: (ecosystem) => current().imported(ecosystem),
    [Symbol.dispose]: () => opened.close(),
  };
}

interface Store extends Pick<StoredAdvisories, "about" | "imported"> {
  readonly identity: string | undefined;
  close(): void;
}

function openStore(file: string, namingOf: (ecosystem: EcosystemName) => Naming): Store {
  const identity = identityOf(file);
  if (identity === undefined) return { identity, about: () => [], imported: () => undefined, close: () => undefined };
  const database = openAdvisoriesFile(file);
  const selectImport = database.prepare(SELECT_IMPORT);
  const selectConcerns = database.prepare(SELECT_CONCERNS);
  const remembered = new Map<string, ReturnType<typeof matchConcerns>>();
  return {
    identity,
    about: (ecosystem, name, version) => {
      const naming = namingOf(ecosystem);
      const key = packageKey(naming, name);
      const about =
        remembered.get(`${ecosystem} ${key}`) ?? matchConcerns(naming, readConcerns(selectConcerns, ecosystem, key));
      // Last used, last forgotten.
      remembered.delete(`${ecosystem} ${key}`);
      remembered.set(`${ecosystem} ${key}`, about);
      const [oldest] = remembered.keys();
      if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
      return about(version);
    },
    imported: (ecosystem) =>
      orInvalid(() => {
        const row = selectImport.get(ecosystem);
        return row && importSchema.parse({ ...row });
      }),
    close: () => {
      if (database.isOpen) database.close();
    },
  };
}

function readConcerns(select: StatementSync, ecosystem: EcosystemName, key: string): readonly Concern[] {
  return orInvalid(() =>
    select.all(ecosystem, key).map((row) => {
      const { id, malicious, parts } = concernSchema.parse({ ...row });
      const advisory: Advisory = { id, malicious: malicious === 1 };
      return { advisory, parts: partsSchema.parse(JSON.parse(parts)) };
    }),
  );
}

/** An import puts another file there. */
function identityOf(file: string): string | undefined {
  return orInvalid(() => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  });
}
