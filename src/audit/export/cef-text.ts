import { printable } from "../../lib/text.ts";

// Common Event Format, version 0 (ArcSight CEF Implementation Standard): `CEF:0|vendor|product|version|class|name|severity|key=value key=value`.
// A header field escapes `|` and `\`; a value escapes `=` and `\`, and has its line breaks as `\n` and `\r`. CEF can say no other character
// in another way, so control characters, line separators and lone surrogates, which break receivers, are U+FFFD.

/** A key of the standard's dictionary, and the longest value that it takes there, in characters. */
const KEYS = {
  act: 63,
  app: 31,
  cat: 1_023,
  cn1: 20,
  cn1Label: 1_023,
  cn2: 20,
  cn2Label: 1_023,
  cs1: 4_000,
  cs1Label: 1_023,
  cs2: 4_000,
  cs2Label: 1_023,
  cs3: 4_000,
  cs3Label: 1_023,
  cs4: 4_000,
  cs4Label: 1_023,
  cs5: 4_000,
  cs5Label: 1_023,
  cs6: 4_000,
  cs6Label: 1_023,
  destinationServiceName: 1_023,
  deviceExternalId: 255,
  dhost: 1_023,
  dpt: 5,
  dst: 45,
  externalId: 40,
  fileHash: 255,
  filePath: 1_023,
  fname: 1_023,
  fsize: 20,
  in: 20,
  msg: 1_023,
  out: 20,
  outcome: 63,
  reason: 1_023,
  request: 1_023,
  rt: 20,
  sourceServiceName: 1_023,
  suser: 1_023,
} as const;
export type CefKey = keyof typeof KEYS;
export type CefFields = { readonly [key in CefKey]?: string | number | undefined };

/** The standard has no length for a header field; more than this is not a name. */
const MAX_HEADER_CHARS = 512;

/** @param header vendor, product, version, event class, name; severity from 0 to 10 */
export function cefLine(header: readonly [string, string, string, string, string, number], fields: CefFields): string {
  const said = Object.entries(fields).flatMap(([key, value]) => {
    const text = value === undefined ? "" : escapedValue(cut(String(value), KEYS[key as CefKey]));
    return text === "" ? [] : [`${key}=${text}`];
  });
  return ["CEF:0", ...header.map((it) => escapedHeader(cut(String(it), MAX_HEADER_CHARS))), said.join(" ")].join("|");
}

/** The whole, or its beginning with an ellipsis: in whole characters, of which `maxChars` UTF-16 code units at most. */
function cut(text: string, maxChars: number): string {
  const clean = text.length <= maxChars ? text : `${text.slice(0, maxChars - 1)}…`;
  return printable(clean, maxChars);
}

function escapedHeader(text: string): string {
  return text.replaceAll(/[\n\t]/g, " ").replaceAll(/[\\|]/g, "\\$&");
}

/** White space at the end of a value is not told from the blank before the next key, so that none stands there; nor is a value nothing else. */
function escapedValue(text: string): string {
  return text.replaceAll(/[\\=]/g, "\\$&").replaceAll("\n", "\\n").trimEnd();
}
