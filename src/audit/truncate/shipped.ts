import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { type Cursor, readCursor } from "../ship/cursor.ts";
import { sinkDirectory } from "../ship/shipping.ts";

/** Whether every sink has confirmed a segment of a chain, and something behind it. */
export type IsShipped = (chain: string, segment: number) => boolean;

export interface Shipped {
  readonly isShipped: IsShipped;
  /** The sinks that have come least far with a chain. */
  readonly slowest: (chain: string) => readonly string[];
}

/**
 * By the sinks' cursors, as they are now. A sink that is named and has none has confirmed nothing, nor has one whose cursor is damaged; without
 * sinks, nobody is waited for. What lies behind is asked for as well, so that no cursor ever stands in a segment that was removed.
 * @param others whether sinks count that have a cursor in the data directory and are not named: those of other settings
 * @throws the file system's error when a cursor can't be read
 */
export async function readShipped(
  dataDirectory: string,
  sinks: readonly string[],
  others: "with others" | "alone" = "with others",
): Promise<Shipped> {
  const known = others === "alone" ? [] : await directoriesOfSinks(dataDirectory);
  const cursors = new Map<string, Cursor>();
  for (const name of new Set([...sinks, ...known])) {
    const cursor = await readCursor(sinkDirectory(dataDirectory, name));
    if (cursor === "damaged") cursors.set(name, new Map());
    else if (cursor.size > 0 || sinks.includes(name)) cursors.set(name, cursor);
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

async function directoriesOfSinks(dataDirectory: string): Promise<readonly string[]> {
  const found = await readdir(join(dataDirectory, "sinks"), { withFileTypes: true }).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  return found.filter((it) => it.isDirectory()).map((it) => it.name);
}
