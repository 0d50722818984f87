import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { tryLock } from "../lib/lock.ts";

/**
 * What this gateway has acquired on the host, written before it is acquired: one directory a machine, below one directory a
 * gateway, which the gateway locks for its life. A directory whose lock is free belongs to a dead gateway (`reconcile.ts`).
 *
 *     <stateDirectory>/gateways/<gateway>/lock
 *     <stateDirectory>/gateways/<gateway>/machines/<machine>/…
 *
 * Directories are 0711 so that a machine's own unprivileged user reaches its directory (0700, its own) and sees no other.
 */
export interface Ledger extends AsyncDisposable {
  readonly gateway: string;
  /** This gateway's own directory. */
  readonly home: string;
  /** Enters a machine and makes its directory. @throws GatewayError STATE_UNWRITABLE */
  enter(machineId: string): Promise<string>;
  /** Removes the machine's directory and all in it. */
  forget(machineId: string): Promise<void>;
}

/** @throws GatewayError STATE_UNWRITABLE */
export async function openLedger(stateDirectory: string, gateway: string): Promise<Ledger> {
  const gateways = join(stateDirectory, "gateways");
  const home = join(gateways, gateway);
  // Locked under a name that reconciliation leaves alone while it is young, then renamed: nobody sees it unlocked.
  const unborn = join(gateways, `.${gateway}`);
  try {
    await mkdir(join(unborn, "machines"), { recursive: true, mode: 0o711 });
    const lock = tryLock(join(unborn, "lock"));
    if (!lock) throw new GatewayError("STATE_UNWRITABLE", `\`${unborn}\` is locked by another gateway`);
    await rename(unborn, home);
    return {
      gateway,
      home,
      enter: async (machineId) => {
        const directory = join(home, "machines", machineId);
        await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
          throw unwritable(directory, error);
        });
        return directory;
      },
      forget: (machineId) => rm(join(home, "machines", machineId), { recursive: true, force: true }),
      [Symbol.asyncDispose]: async () => {
        await rm(home, { recursive: true, force: true });
        lock[Symbol.dispose]();
      },
    };
  } catch (error) {
    throw error instanceof GatewayError ? error : unwritable(gateways, error);
  }
}

function unwritable(path: string, cause: unknown): GatewayError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GatewayError("STATE_UNWRITABLE", `cannot write \`${path}\`: ${reason}`, { cause });
}
