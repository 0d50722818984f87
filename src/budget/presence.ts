import { closeSync, existsSync, mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import { type Lock, tryLock } from "../lib/lock.ts";

/** So long it is believed that another gateway lives. */
const BELIEVED_MS = 1_000;

const ID = /^gw-[0-9a-z]{25}$/;

/**
 * Who of those that share the budgets is alive: each holds a lock for its life, which the kernel lets go of however that ends. Numbers of
 * processes say less: they are used again, and are others in a container.
 */
export interface Presence extends Disposable {
  readonly gateway: string;
  isLive(gateway: string): boolean;
}

/** @throws Error when the directory can't be used */
export function openPresence(directory: string): Presence {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const gateway = newId("gw");
  const own = join(directory, gateway);
  // INVARIANT: locked before anybody can read of it.
  closeSync(openSync(own, "wx", 0o600));
  const lock = tryLock(own);
  if (!lock) throw new GatewayError("BUDGETS_UNREADABLE", "a gateway's lock is held by another");
  const seen = new Map<string, number>();
  return {
    gateway,
    isLive: (other) => {
      if (other === gateway) return true;
      const seenMs = seen.get(other);
      if (seenMs !== undefined && performance.now() - seenMs < BELIEVED_MS) return true;
      const isLive = holds(directory, other);
      if (isLive) seen.set(other, performance.now());
      else seen.delete(other);
      return isLive;
    },
    [Symbol.dispose]: () => {
      rmSync(own, { force: true });
      lock[Symbol.dispose]();
    },
  };
}

/** Whether its lock is held; the file of a dead one is removed. */
function holds(directory: string, gateway: string): boolean {
  // It becomes a path.
  if (!ID.test(gateway)) throw new GatewayError("BUDGETS_UNREADABLE", "the file of the budgets names no gateway");
  const path = join(directory, gateway);
  if (!existsSync(path)) return false;
  using lock: Lock | undefined = tryLock(path);
  if (!lock) return true;
  rmSync(path, { force: true });
  return false;
}
