import { chmodSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { codeOf, messageOf } from "../lib/error.ts";
import { newId } from "../lib/id.ts";
import { type Lock, tryLock } from "../lib/lock.ts";
import { LOCK_FILE, listChains, listSegments, syncDirectory } from "./files.ts";
import { readHead } from "./head.ts";

/** A chain that this process alone may write, until it is disposed of. */
export interface HeldChain extends Disposable {
  readonly id: string;
  readonly directory: string;
}

/** Takes this very chain; undefined when a living gateway writes it. @throws GatewayError AUDIT_UNWRITABLE */
export function holdThis(auditDirectory: string, chain: string): HeldChain | undefined {
  return tryHold(auditDirectory, chain);
}

/** Takes the oldest chain that no living gateway writes, or makes one. */
export async function holdChain(auditDirectory: string): Promise<HeldChain> {
  // On a read-only file system the recursive form says ENOENT; the plain one says why.
  await mkdir(auditDirectory, { recursive: true, mode: 0o700 }).catch(() => mkdir(auditDirectory, { mode: 0o700 }));
  for (const id of await listChains(auditDirectory)) {
    const held = tryHold(auditDirectory, id);
    if (held) return held;
  }
  for (;;) {
    const id = newId("chain");
    await mkdir(join(auditDirectory, id), { mode: 0o700 });
    await syncDirectory(auditDirectory);
    // Another gateway that is starting may have found the new directory first; then that one has it.
    const held = tryHold(auditDirectory, id);
    if (held) return held;
  }
}

/** Whether the directory is one chain's, rather than an audit directory. */
export async function isChainDirectory(path: string): Promise<boolean> {
  return (await listSegments(path)).length > 0 || typeof (await readHead(path)) !== "string";
}

/**
 * Whether a living gateway writes the chain. False also where the lock can't be tried, as in a read-only copy.
 * @param contentionMs as `tryLock` has it; 0 for who asks again anyway, and must not stand still
 */
export function isHeld(chainDirectory: string, contentionMs?: number): boolean {
  let lock: Lock | undefined;
  try {
    lock = tryLock(join(chainDirectory, LOCK_FILE), contentionMs);
  } catch {
    return false;
  }
  lock?.[Symbol.dispose]();
  return lock === undefined;
}

function tryHold(auditDirectory: string, id: string): HeldChain | undefined {
  const directory = join(auditDirectory, id);
  const path = join(directory, LOCK_FILE);
  let lock: Lock | undefined;
  try {
    lock = tryLock(path);
    // By name: closing a descriptor of the file would drop the lock.
    if (lock) chmodSync(path, 0o600);
  } catch (error) {
    lock?.[Symbol.dispose]();
    if (codeOf(error) !== "ERR_SQLITE_ERROR") throw error;
    throw new GatewayError("AUDIT_UNWRITABLE", `the audit log cannot be written: its lock: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return lock && { id, directory, [Symbol.dispose]: () => lock[Symbol.dispose]() };
}
