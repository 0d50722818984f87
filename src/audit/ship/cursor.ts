import { open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { isMissing } from "../../lib/error.ts";
import { parseJson } from "../../lib/json.ts";
import { syncDirectory } from "../files.ts";

const CURSOR_FILE = "cursor.json";
/** What could not be read is kept under this name, so that a person may look at it. */
const DAMAGED_FILE = "cursor.damaged";

const whole = z.int().min(0);
const placeSchema = z.strictObject({
  /** The segment that has the last record that was shipped. */
  segment: z.int().min(1),
  /** Where its line begins, and where the next one does. */
  start: whole,
  end: whole,
  seq: whole,
  /** Of the first record that was shipped, where the chain's beginning had been removed before; left out: 0. */
  first: z.int().min(1).exactOptional(),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});
const cursorSchema = z.strictObject({
  version: z.literal(1),
  chains: z.record(z.string().regex(/^chain-[0-9a-z]{9}[0-9a-f]{16}$/), placeSchema),
});

/** The last record of a chain that a receiver has confirmed. */
export type Place = z.infer<typeof placeSchema>;
/** How many records of the chain a receiver has confirmed, each counted once. */
export function confirmed({ seq, first = 0 }: Place): number {
  return seq + 1 - first;
}

/** By chain. One that has none has had nothing shipped. */
export type Cursor = ReadonlyMap<string, Place>;

/**
 * How far a sink has come; `"damaged"` when the file is not as it was written: then nobody knows, and everything is to be shipped again.
 * @throws the file system's error when the file is there and can't be read
 */
export async function readCursor(directory: string): Promise<Cursor | "damaged"> {
  const text = await readFile(join(directory, CURSOR_FILE), "utf8").catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (text === undefined) return new Map();
  const parsed = cursorSchema.safeParse(parseJson(text));
  return parsed.success ? new Map(Object.entries(parsed.data.chains)) : "damaged";
}

/** On disk when it resolves; a crash leaves the one before or this one. */
export async function writeCursor(directory: string, cursor: Cursor): Promise<void> {
  const value: z.infer<typeof cursorSchema> = { version: 1, chains: Object.fromEntries(cursor) };
  await replaceFile(join(directory, CURSOR_FILE), `${JSON.stringify(value, null, 2)}\n`, "durably");
}

/** Moves a damaged cursor aside. */
export async function setCursorAside(directory: string): Promise<void> {
  await rename(join(directory, CURSOR_FILE), join(directory, DAMAGED_FILE));
  await syncDirectory(directory);
}

/** Whoever reads it finds the old content or the new. One process at a time may do so for one path. */
export async function replaceFile(path: string, text: string, how: "durably" | "soon"): Promise<void> {
  const temporary = `${path}.new`;
  {
    await using file = await open(temporary, "w", 0o600);
    await file.writeFile(text);
    if (how === "durably") await file.sync();
  }
  await rename(temporary, path);
  if (how === "durably") await syncDirectory(dirname(path));
}
