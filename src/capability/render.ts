import { stripVTControlCharacters } from "node:util";
import { printable } from "../lib/text.ts";

/** Guest text of any length for a reader: no terminal sequences, every kind of line end a newline. */
export function readable(text: string): string {
  const lines = stripVTControlCharacters(text.replaceAll(/\r\n?/g, "\n"));
  return printable(lines, Number.MAX_SAFE_INTEGER);
}

/** Guest text on one line, e.g. a file name. */
export function oneLine(text: string, maxChars = 300): string {
  return printable(text, maxChars).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Without the members that are `undefined`. */
export function present<T extends object>(members: T): Present<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Present<T>;
}
