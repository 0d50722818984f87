import { type Cursor, readCursor } from "../ship/cursor.ts";
import { sinkDirectory } from "../ship/shipping.ts";

/** Whether every sink has confirmed a segment of a chain, and something behind it. */
export type IsShipped = (chain: string, segment: number) => boolean;

/**
 * By the sinks' cursors, as they are now. A sink without one has confirmed nothing, nor has one whose cursor is damaged; without sinks, nobody is
 * waited for. What lies behind is asked for as well, so that no cursor ever stands in a segment that was removed.
 * @throws the file system's error when a cursor can't be read
 */
export async function readShipped(dataDirectory: string, sinks: readonly string[]): Promise<IsShipped> {
  const cursors: Cursor[] = [];
  for (const name of sinks) {
    const cursor = await readCursor(sinkDirectory(dataDirectory, name));
    cursors.push(cursor === "damaged" ? new Map() : cursor);
  }
  return (chain, segment) => cursors.every((it) => (it.get(chain)?.segment ?? 0) > segment);
}
