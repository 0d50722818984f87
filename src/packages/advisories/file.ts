import { DatabaseSync } from "node:sqlite";
import { GatewayError } from "../../errors.ts";

/*
 * Advisories lie in one SQLite file, which is never changed: an import makes another, and puts it into the old one's place.
 */

/** "GBxA" in the file's header, and how the tables are. */
const APPLICATION_ID = 0x47_42_78_41;
const FORMAT = 1;

const TABLES = `
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
  -- Of each ecosystem the last import that had records of it.
  CREATE TABLE imports (
    ecosystem TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, digest TEXT NOT NULL, records INTEGER NOT NULL, malicious INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  -- What one record says of one package; \`parts\` is JSON (\`partsSchema\`).
  CREATE TABLE concerns (
    ecosystem TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, modified TEXT NOT NULL, malicious INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (ecosystem, name, id)
  ) STRICT, WITHOUT ROWID;`;

/** A new, empty one that is being made: nothing of it is safe from a crash. */
export function createAdvisoriesFile(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; ${TABLES}`);
  return database;
}

/** @throws GatewayError ADVISORIES_INVALID when it is damaged or something else */
export function openAdvisoriesFile(path: string): DatabaseSync {
  return orInvalid(() => {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      checkFile(database);
    } catch (error) {
      database.close();
      throw error;
    }
    return database;
  });
}

function checkFile(database: DatabaseSync): void {
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  if (pragma("application_id") !== APPLICATION_ID || pragma("user_version") !== FORMAT)
    throw new GatewayError("ADVISORIES_INVALID", "the file of the imported advisories is something else");
  if (pragma("quick_check(1)") !== "ok") throw invalid(undefined);
}

/** What `read` does; whatever it throws is the file's fault. */
export function orInvalid<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof GatewayError ? error : invalid(error);
  }
}

function invalid(cause: unknown): GatewayError {
  return new GatewayError("ADVISORIES_INVALID", "the imported advisories are damaged", { cause });
}
