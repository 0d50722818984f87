import { stringify } from "csv-stringify/sync";
import { printable } from "./text.ts";

/** What a spreadsheet takes for a formula, also behind blanks, and in full width (OWASP, "CSV Injection"). */
const FORMULA = /^(?:[\t\r\n]|\s*[=+\-@\uff0b\uff0d\uff1d\uff20])/u;
const MAX_CELL_CHARS = 32_000;

export type Cell = string | number | undefined;

/**
 * Rows as RFC 4180 has them, each with its line end. No cell is a formula where a spreadsheet opens it: what would be one begins with `'`. Nor
 * does one have control characters, or more than a cell of a spreadsheet can hold.
 */
export function csvText(rows: readonly (readonly Cell[])[]): string {
  return stringify(
    rows.map((row) => row.map((cell) => (typeof cell === "string" ? plain(cell) : (cell ?? "")))),
    // A line feed alone would else stand bare, and begin another row.
    { record_delimiter: "windows", quoted_match: /[\r\n]/ },
  );
}

function plain(text: string): string {
  // Looked at before and after: a carriage return is none of what is printable.
  const clean = printable(text, MAX_CELL_CHARS);
  return FORMULA.test(text) || FORMULA.test(clean) ? `'${clean}` : clean;
}
