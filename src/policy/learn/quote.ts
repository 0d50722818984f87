// What a log says was chosen by agents. It goes into policies and YAML as a string or in a comment, and nowhere else.

/** A Cedar string (https://docs.cedarpolicy.com/policies/syntax-datatypes.html): all but printable ASCII as `\u{…}`. */
export function cedarString(text: string): string {
  const escaped = text.toWellFormed().replace(/["\\]|[^\x20-\x7e]/gu, (it) => {
    if (it === '"' || it === "\\") return `\\${it}`;
    return `\\u{${(it.codePointAt(0) ?? 0).toString(16)}}`;
  });
  return `"${escaped}"`;
}

export function entity(type: "Path" | "MountPath" | "Host" | "Action", id: string): string {
  return `Glovebox::${type}::${cedarString(id)}`;
}

/** `["a", "b"]`, one a line where there are several. */
export function cedarSet(items: readonly string[]): string {
  const sorted = [...new Set(items)].sort();
  return sorted.length < 2 ? `[${sorted.join("")}]` : `[\n${sorted.map((it) => `    ${it}`).join(",\n")}\n  ]`;
}

/**
 * Text that can stand behind `//` or `#`. INVARIANT: printable ASCII on one line, whatever it was made of: nothing in it can end the comment.
 */
export function remark(text: string, maxChars = 400): string {
  const plain = text.toWellFormed().replace(/[^\x20-\x7e]/gu, (it) => `\\u{${(it.codePointAt(0) ?? 0).toString(16)}}`);
  return plain.length <= maxChars ? plain : `${plain.slice(0, maxChars)}...`;
}
