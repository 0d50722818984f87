/**
 * Guest-controlled text made safe for a log line or a terminal: control characters (C0 but tab and newline, DEL, C1),
 * bidirectional overrides and lone surrogates become U+FFFD, and the text is cut to `maxChars`.
 */
export function printable(text: string, maxChars = 2_000): string {
  const clean = text
    .toWellFormed()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
  return clean.length <= maxChars ? clean : `${clean.slice(0, maxChars)}… (${clean.length - maxChars} more characters)`;
}

/** `undefined` for what is not UTF-8. */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
