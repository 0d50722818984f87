import { printable } from "../../lib/text.ts";

/** A label is for finding a record; what is longer, or more, is in the record itself. */
const MAX_CHARS = 256;
const MAX_LISTED = 32;

/** One line, without control characters: an agent may have chosen it. */
export function label(text: string): string {
  return printable(text, MAX_CHARS).replaceAll(/[\n\t]/g, " ");
}

export function labels(texts: readonly string[], maxListed = MAX_LISTED): string[] {
  return texts.slice(0, maxListed).map(label);
}
