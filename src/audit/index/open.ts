import { closeSync, lstatSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../../errors.ts";
import { isMissing, messageOf } from "../../lib/error.ts";
import { tryLock } from "../../lib/lock.ts";
import { APPLICATION_ID, FORMAT, TABLE_NAMES, TABLES } from "./schema.ts";

/** How long another process may be making the file anew. */
const MAKING_MS = 10_000;
const MAKING_INTERVAL_MS = 50;
const BUSY = 5;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;

export interface IndexOptions {
  /** Told why a file that was there is thrown away and made anew. */
  readonly onDiscarded?: (why: string) => void;
  /** How long another process may write; the event loop stands still meanwhile. */
  readonly busyMs?: number;
  /** Throws away a sound file too. */
  readonly rebuild?: boolean;
  /** Throws for a file of another version and leaves it: two versions that run at once would make it anew by turns. */
  readonly keepsVersions?: boolean;
}

/** The index's file, opened. Everything in it comes from the log: whatever is wrong with it, it may be thrown away. */
export interface AuditIndex extends Disposable {
  readonly database: DatabaseSync;
  readonly path: string;
  /** Whether the file still is the one at the path: another process may have thrown it away. */
  isCurrent(): boolean;
}

/**
 * Opens the index, and makes an empty one where there is none, or one that can't be used: damaged, of another version, or something else.
 * @throws GatewayError STATE_UNWRITABLE
 */
export async function openIndex(path: string, options: IndexOptions = {}): Promise<AuditIndex> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const opened = options.rebuild ? undefined : open(path, options);
    if (opened && "database" in opened) return opened;
    using _lock = await lock(`${path}.lock`);
    // Another process may have been first.
    const now = options.rebuild ? { why: "it was asked for" } : open(path, options);
    if ("database" in now) return now;
    if (now.isOtherVersion && options.keepsVersions) throw unfit(now);
    if (!now.isMissing) options.onDiscarded?.(now.why);
    discard(path);
    make(path);
    const made = open(path, options);
    if ("database" in made) return made;
    throw unfit(made);
  } catch (error) {
    throw unusable(error);
  }
}

/**
 * What `work` does with the index. Where the file turns out to be damaged on the way, that happens once more with a new one.
 * @throws GatewayError STATE_UNWRITABLE, and whatever `work` throws
 */
export async function withIndex<T>(
  path: string,
  options: IndexOptions,
  work: (index: AuditIndex) => Promise<T>,
): Promise<T> {
  try {
    using index = await openIndex(path, options);
    return await work(index);
  } catch (error) {
    if (!isDamage(error)) throw unusable(error);
    options.onDiscarded?.(`it is damaged (${messageOf(error)})`);
  }
  try {
    const { onDiscarded: _told, ...others } = options;
    using index = await openIndex(path, { ...others, rebuild: true });
    return await work(index);
  } catch (error) {
    throw unusable(error);
  }
}

/** All of `work` or nothing, and no other process in between. */
export function transaction<T>({ database }: AuditIndex, work: () => T, how: "" | "IMMEDIATE" = "IMMEDIATE"): T {
  database.exec(`BEGIN ${how}`);
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

/** Whether an error of SQLite's says that the file is not what it should be. */
export function isDamage(error: unknown): boolean {
  const code = resultCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE;
}

/** Whether it, or what it was made of, says that another process writes. */
export function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY || (error instanceof GatewayError && resultCode(error.cause) === BUSY);
}

function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error && "errcode" in error && typeof error.errcode === "number")) return undefined;
  // Extended codes have more above.
  return error.errcode & 0xff;
}

/** SQLite's and the file system's errors as what a person can mend; others as they are. */
function unusable(error: unknown): unknown {
  if (error instanceof GatewayError || !(error instanceof Error && ("errcode" in error || "syscall" in error)))
    return error;
  const why = isBusy(error) ? "another process has been writing it for long" : messageOf(error);
  return new GatewayError("STATE_UNWRITABLE", `the index of the audit log cannot be used: ${why}`, { cause: error });
}

/** Why a file can't be used. */
interface Unfit {
  readonly why: string;
  readonly isMissing?: boolean;
  readonly isOtherVersion?: boolean;
}

function unfit({ why }: Unfit): GatewayError {
  return new GatewayError("STATE_UNWRITABLE", `the index of the audit log cannot be used: ${why}`);
}

function open(path: string, { busyMs = 30_000 }: IndexOptions): AuditIndex | Unfit {
  const inode = inodeOf(path);
  if (inode === undefined) return { why: "there is none", isMissing: true };
  if (inode === "other") return { why: "it is no regular file" };
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: busyMs, readBigInts: true });
    const problem = problemOf(database);
    if (problem) {
      database.close();
      return problem;
    }
    database.exec(
      "PRAGMA trusted_schema = OFF; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY",
    );
    const opened = database;
    return {
      database: opened,
      path,
      isCurrent: () => inodeOf(path) === inode,
      [Symbol.dispose]: () => opened.close(),
    };
  } catch (error) {
    if (database?.isOpen) database.close();
    if (isDamage(error)) return { why: `it is damaged (${messageOf(error)})` };
    throw error;
  }
}

function problemOf(database: DatabaseSync): Unfit | undefined {
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  if (pragma("application_id") !== BigInt(APPLICATION_ID)) return { why: "it is something else" };
  const format = pragma("user_version");
  if (format !== BigInt(FORMAT)) {
    return { why: `it is of version ${format}, and this is version ${FORMAT}`, isOtherVersion: true };
  }
  if (pragma("journal_mode") !== "wal") return { why: "it is not as it was made" };
  const names = new Set(
    database
      .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
      .all()
      .map((it) => it["name"]),
  );
  if (!TABLE_NAMES.every((it) => names.has(it))) return { why: "it is not as it was made" };
  // Reads the first page of each.
  for (const name of TABLE_NAMES) database.prepare(`SELECT 1 FROM ${name} LIMIT 1`).get();
  return undefined;
}

function inodeOf(path: string): bigint | "other" | undefined {
  try {
    const stats = lstatSync(path, { bigint: true });
    return stats.isFile() ? stats.ino : "other";
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Who has the old file open goes on with it, and sees that by `isCurrent`. SQLite leaves the new one's journal alone: it checks that too. */
function discard(path: string): void {
  for (const end of ["", "-wal", "-shm", "-journal"]) rmSync(`${path}${end}`, { force: true });
}

/** Under another name first: whoever looks at the path meanwhile, without the lock, would stand in the way of what is being made. */
function make(path: string): void {
  const unfinished = `${path}.new`;
  discard(unfinished);
  // SQLite gives its other files the mode of this one.
  closeSync(openSync(unfinished, "wx", 0o600));
  const database = new DatabaseSync(unfinished);
  try {
    database.exec(`PRAGMA journal_mode = WAL; BEGIN; ${TABLES} COMMIT`);
  } finally {
    database.close();
  }
  renameSync(unfinished, path);
}

async function lock(path: string): Promise<Disposable> {
  for (const untilMs = performance.now() + MAKING_MS; ; await sleep(MAKING_INTERVAL_MS)) {
    const held = tryLock(path);
    if (held) return held;
    if (performance.now() > untilMs) {
      throw new GatewayError("STATE_UNWRITABLE", "another process has been making the index of the audit log for long");
    }
  }
}
