import { DatabaseSync } from "node:sqlite";

/** Two processes that try in the same instant may both find it taken; SQLite then lets one go first. A holder keeps it longer. */
const CONTENTION_MS = 50;

/** An exclusive lock between processes; released when disposed, and by the kernel when its holder dies. */
export interface Lock extends Disposable {
  readonly path: string;
}

/**
 * Takes the lock file at `path` (made when missing), or answers `undefined` when another process, or this one, holds it.
 * Node has no `flock`; SQLite's exclusive transaction is an `fcntl` lock on the file, so a crashed holder leaves nothing
 * stale behind. Only SQLite may open the file: closing any other descriptor of it would drop the lock (POSIX).
 * @param contentionMs how long the process stands still for a lock that is taken; 0 for who will look again anyway
 */
export function tryLock(path: string, contentionMs = CONTENTION_MS): Lock | undefined {
  const database = new DatabaseSync(path, { timeout: contentionMs });
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (error instanceof Error && "errcode" in error && (error.errcode === 5 || error.errcode === 6)) return undefined;
    throw error;
  }
  return { path, [Symbol.dispose]: () => database.close() };
}
