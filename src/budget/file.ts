import { closeSync, constants, linkSync, lstatSync, openSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing } from "../lib/error.ts";
import { newId } from "../lib/id.ts";

/** "GBxB" in the file's header, and how the tables are. */
const APPLICATION_ID = 0x47_42_78_42;
const FORMAT = 1;

/** How long another gateway may write; each does for less than a millisecond. */
const BUSY_MS = 500;

const TABLES = `
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT};
  -- The latest time that anybody has written at.
  CREATE TABLE clock (ms INTEGER NOT NULL CHECK (ms >= 0)) STRICT;
  INSERT INTO clock VALUES (0);
  -- \`scope\`: a principal, or one of its sessions. \`slot_ms\`: where the slot begins (windows.ts).
  CREATE TABLE slots (
    scope TEXT NOT NULL, counter TEXT NOT NULL, window TEXT NOT NULL, slot_ms INTEGER NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0), PRIMARY KEY (scope, counter, window, slot_ms)
  ) STRICT, WITHOUT ROWID;
  -- Open ones; those of a dead gateway count no more.
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, gateway TEXT NOT NULL, principal TEXT NOT NULL, session TEXT NOT NULL
  ) STRICT;
  CREATE INDEX sessions_of ON sessions (principal);`;

/**
 * Opens the file, and makes it when there is none. One that is damaged, or something else, stays as it is: it is not for whoever can damage
 * it to begin anew.
 * @throws GatewayError BUDGETS_UNREADABLE
 */
export function openBudgetsFile(path: string): DatabaseSync {
  return orUnreadable(() => {
    if (!isThere(path)) make(path);
    const database = new DatabaseSync(path, { timeout: BUSY_MS });
    try {
      check(database);
      // A crash of the gateway loses nothing; a power cut may lose the last moments.
      database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** What `work` does; whatever it throws is the file's fault. */
export function orUnreadable<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const message = `what was used of the budgets can't be read or written: ${reasonOf(error)}`;
    throw new GatewayError("BUDGETS_UNREADABLE", message, { cause: error });
  }
}

/** Without the path, which clients have no business with; SQLite's own messages have none. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return "syscall" in error && "code" in error ? String(error.code) : error.message;
}

/** All of `work` or nothing, and no other gateway in between. @throws GatewayError BUDGETS_UNREADABLE, and whatever `work` throws */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  orUnreadable(() => database.exec("BEGIN IMMEDIATE"));
  try {
    const result = work();
    orUnreadable(() => database.exec("COMMIT"));
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

function isThere(path: string): boolean {
  try {
    const stats = lstatSync(path);
    if (!stats.isFile()) throw unfit("is not a regular file");
    if ((stats.mode & (constants.S_IWGRP | constants.S_IWOTH)) !== 0)
      throw unfit("can be written by others: `chmod 600` it");
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Made beside and then linked: nobody sees an unfinished one, and of two gateways that make it one is first. */
function make(path: string): void {
  const draft = `${path}.${newId("gw")}`;
  try {
    // SQLite gives its other files the mode of this one.
    closeSync(openSync(draft, "wx", 0o600));
    const database = new DatabaseSync(draft);
    try {
      database.exec(`PRAGMA journal_mode = WAL; BEGIN; ${TABLES} COMMIT`);
    } finally {
      database.close();
    }
    linkSync(draft, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function check(database: DatabaseSync): void {
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  if (pragma("application_id") !== APPLICATION_ID) throw unfit("is something else");
  const format = pragma("user_version");
  if (format !== FORMAT) throw unfit(`is of version ${format}, and this gateway reads version ${FORMAT}`);
  if (pragma("quick_check(1)") !== "ok") throw unfit("is damaged");
}

function unfit(how: string): GatewayError {
  return new GatewayError("BUDGETS_UNREADABLE", `the file of the budgets ${how}`);
}
