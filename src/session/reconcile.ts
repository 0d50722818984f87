import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../lib/error.ts";
import { tryLock } from "../lib/lock.ts";

/** What dead gateways had left behind and is now gone. */
export interface Reconciliation {
  readonly gateways: readonly string[];
  readonly machines: readonly string[];
  /** Process ids of machines that were still running. */
  readonly endedPids: readonly number[];
}

/** Ends the process, if any, whose machine lives in `directory`; answers its pid. */
export type EndMachine = (directory: string) => Promise<number | undefined>;

/** A gateway that is just being born is not locked for a moment; see `openLedger`. */
const UNBORN_GRACE_MS = 60_000;

/**
 * Removes everything that gateways which died (their lock is free) had entered in their ledgers: processes, then files.
 * Safe to run at any time beside living gateways, and again after being interrupted.
 */
export async function reconcile(stateDirectory: string, endMachine: EndMachine): Promise<Reconciliation> {
  const root = join(stateDirectory, "gateways");
  const found = { gateways: [] as string[], machines: [] as string[], endedPids: [] as number[] };
  for (const gateway of await names(root)) {
    const home = join(root, gateway);
    if (gateway.startsWith(".") && Date.now() - (await stat(home)).mtimeMs < UNBORN_GRACE_MS) continue;
    using lock = tryLock(join(home, "lock"));
    if (!lock) continue;
    for (const machine of await names(join(home, "machines"))) {
      const directory = join(home, "machines", machine);
      const pid = await endMachine(directory);
      if (pid !== undefined) found.endedPids.push(pid);
      await rm(directory, { recursive: true, force: true });
      found.machines.push(machine);
    }
    await rm(home, { recursive: true, force: true });
    found.gateways.push(gateway);
  }
  return found;
}

async function names(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory, { withFileTypes: true })).filter((it) => it.isDirectory()).map((it) => it.name);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
