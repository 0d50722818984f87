/** A line of the Common Event Format, read as its standard says. */
export interface Cef {
  /** Vendor, product, version, event class, name, severity. */
  readonly header: readonly string[];
  readonly fields: ReadonlyMap<string, string>;
}

/** @throws Error for what the standard does not allow, or only some receivers take */
export function readCef(line: string): Cef {
  if (/[\n\r\u2028\u2029\0]/.test(line)) throw new Error("a line break or NUL in a line");
  if (!line.isWellFormed()) throw new Error("a lone surrogate");
  const parts: string[] = [];
  let rest = line;
  for (let n = 0; n < 7; n++) {
    const bar = endOfHeader(rest);
    parts.push(rest.slice(0, bar));
    rest = rest.slice(bar + 1);
  }
  const [version, ...header] = parts.map((it) => it.replaceAll(/\\([\\|])/g, "$1"));
  if (version !== "CEF:0") throw new Error(`\`${version}\` is not CEF:0`);
  if (!/^(?:\d|10)$/.test(header.at(-1) ?? "")) throw new Error("the severity is none of 0 to 10");
  return { header, fields: readFields(rest) };
}

function endOfHeader(text: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "|") return at;
    if (text[at] !== "\\") continue;
    at += 1;
    if (text[at] !== "\\" && text[at] !== "|") throw new Error("a backslash in the header that escapes nothing");
  }
  throw new Error("the header does not end");
}

/** A key is a word before an `=` that is not escaped; its value goes up to the blank before the next key. */
function readFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  const starts = [...text.matchAll(/(?:^| )([A-Za-z][A-Za-z0-9]*)=/g)];
  if (text !== "" && starts[0]?.index !== 0) throw new Error("the extension does not begin with a key");
  for (const [n, start] of starts.entries()) {
    const [whole, key = ""] = start;
    const value = text.slice(start.index + whole.length, starts[n + 1]?.index ?? text.length);
    if (fields.has(key)) throw new Error(`\`${key}\` stands twice`);
    if (value === "" || value !== value.trimEnd()) throw new Error(`\`${key}\` is empty or ends with a blank`);
    fields.set(key, unescaped(value));
  }
  return fields;
}

function unescaped(value: string): string {
  if (/^=|[^\\](?:\\\\)*=/.test(value)) throw new Error("an = that is not escaped");
  return value.replaceAll(/\\(.?)/g, (_, it: string) => {
    const meant = { "\\": "\\", "=": "=", n: "\n", r: "\r" }[it];
    if (meant === undefined) throw new Error("a backslash in a value that escapes nothing");
    return meant;
  });
}
