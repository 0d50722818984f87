import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { listSegments, openForReading, segmentName } from "../files.ts";
import { MAX_LINE_BYTES, type Position, readLine } from "../line.ts";
import type { Place } from "./cursor.ts";

/** Records went unshipped, as a person wanted it, or the cursor is of an older copy. */
const HOW_TO_GO_ON =
  "the log was truncated before all of it was shipped; to go on with what is left, end what ships and remove `cursor.json` of this sink: " +
  "what is left is shipped again, with the same ids; a store in PostgreSQL takes no chain with a gap, and needs another `schema`";

/** Whether the head says that the chain ends with the record that was shipped last. Where it names another, the log has grown, or is another one. */
export function isAt(head: Position, place: Place): boolean {
  return head.seq === place.seq && head.hash === place.hash;
}

/** Whether there is nothing behind a place, nor less than there was. */
export async function endsAt(directory: string, place: Place | undefined): Promise<boolean> {
  const last = (await listSegments(directory)).at(-1);
  if (last === undefined) return place === undefined;
  const { size } = await stat(join(directory, segmentName(last)));
  return place ? last === place.segment && size === place.end : size === 0;
}

/**
 * What is wrong with the record that was shipped last; undefined: it stands where it stood. Reads that record and nothing else.
 * @throws the file system's error when it is there and can't be read
 */
export async function problemAt(directory: string, place: Place): Promise<string | undefined> {
  const name = segmentName(place.segment);
  const size = place.end - place.start;
  if (size < 1 || size > MAX_LINE_BYTES + 1) return "the cursor is not at a record";
  const where = `${name}, byte ${place.start}`;
  try {
    await using file = await openForReading(join(directory, name));
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size, place.start);
    const read = bytesRead === size && buffer[size - 1] === 10 ? readLine(buffer.subarray(0, size - 1)) : undefined;
    if (read?.sound && read.record.seq === place.seq && read.record.hash === place.hash) return undefined;
    return `${where}: record ${place.seq}, which was shipped, is not there any more: the log was cut or replaced`;
  } catch (error) {
    if (!isMissing(error)) throw error;
    const missing = `${name}, of which record ${place.seq} was shipped, is missing`;
    const [oldest = 1] = await listSegments(directory);
    return place.segment < oldest ? `${missing}: ${HOW_TO_GO_ON}` : missing;
  }
}
