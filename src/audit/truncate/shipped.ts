import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isMissing, messageOf } from "../../lib/error.ts";
import { listChains } from "../files.ts";
import { type Cursor, type Place, readCursor } from "../ship/cursor.ts";
import { sinkDirectory } from "../ship/shipping.ts";
import { problemAt } from "../ship/standing.ts";

/** Whether every sink has confirmed a segment of a chain, and something behind it. */
export type IsShipped = (chain: string, segment: number) => boolean;

export interface Shipped {
  readonly isShipped: IsShipped;
  /** The sinks that have come least far with a chain. */
  readonly slowest: (chain: string) => readonly string[];
}

/**
 * By the sinks' cursors, as they are now. A sink that is named and has none has confirmed nothing, nor has one whose cursor is damaged, or whose
 * last record is not in the log any more, as when that was put back from an older copy: what is there now may be what it never had. Without sinks, nobody is
 * waited for. What lies behind is asked for as well, so that no cursor ever stands in a segment that was removed.
 * @param others whether sinks count that have a cursor in the data directory and are not named: those of other settings
 * @throws the file system's error when a cursor or the log's directory can't be read
 */
export async function readShipped(
  { dataDirectory, auditDirectory }: { readonly dataDirectory: string; readonly auditDirectory: string },
  sinks: readonly string[],
  others: "with others" | "alone" = "with others",
): Promise<Shipped> {
  const known = others === "alone" ? [] : await directoriesOfSinks(dataDirectory);
  const cursors = new Map<string, Cursor>();
  for (const name of new Set([...sinks, ...known])) {
    const cursor = await readCursor(sinkDirectory(dataDirectory, name));
    if (cursor === "damaged") cursors.set(name, new Map());
    else if (cursor.size > 0 || sinks.includes(name)) cursors.set(name, await standing(auditDirectory, cursor));
  }
  const reached = (chain: string, name: string) => cursors.get(name)?.get(chain)?.segment ?? 0;
  const names = [...cursors.keys()];
  return {
    isShipped: (chain, segment) => names.every((it) => reached(chain, it) > segment),
    slowest: (chain) => {
      const least = Math.min(...names.map((it) => reached(chain, it)));
      return names.filter((it) => reached(chain, it) === least);
    },
  };
}

/** Without the chains of which what was shipped last is not there, or can't be read. */
async function standing(auditDirectory: string, cursor: Cursor): Promise<Cursor> {
  const chains = await listChains(auditDirectory);
  const found = new Map<string, Place>();
  for (const [chain, place] of cursor) {
    if (!chains.includes(chain)) continue;
    const problem = await problemAt(join(auditDirectory, chain), place).catch(messageOf);
    if (problem === undefined) found.set(chain, place);
  }
  return found;
}

async function directoriesOfSinks(dataDirectory: string): Promise<readonly string[]> {
  const found = await readdir(join(dataDirectory, "sinks"), { withFileTypes: true }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return found.filter((it) => it.isDirectory()).map((it) => it.name);
}
