/** A message by the grammar of RFC 5424 §6, with nothing passed over. */
export interface SyslogMessage {
  readonly priority: number;
  readonly timestamp: string;
  readonly hostName: string;
  readonly appName: string;
  readonly processId: string;
  readonly messageId: string;
  readonly data: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly text: string;
}

const HEADER =
  /^<(0|[1-9]\d{0,2})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) /;
const SD_NAME = /^[\x21\x23-\x3c\x3e-\x5c\x5e-\x7e]{1,32}/;

/** @throws Error for what is no RFC 5424 message */
export function parseSyslog(line: string): SyslogMessage {
  const header = HEADER.exec(line);
  if (!header) throw new Error(`no RFC 5424 header: ${line.slice(0, 300)}`);
  const [whole, priority = "", timestamp = "", hostName = "", appName = "", processId = "", messageId = ""] = header;
  if (Number(priority) > 191) throw new Error(`no such priority: ${priority}`);
  const data = new Map<string, ReadonlyMap<string, string>>();
  let at = whole.length;
  const take = (expected: string) => {
    if (!line.startsWith(expected, at)) throw new Error(`expected ${expected} at ${at}: ${line.slice(at, at + 80)}`);
    at += expected.length;
  };
  const name = () => {
    const found = SD_NAME.exec(line.slice(at, at + 33))?.[0];
    if (found === undefined) throw new Error(`no SD-NAME at ${at}: ${line.slice(at, at + 80)}`);
    at += found.length;
    return found;
  };
  if (line[at] === "-") take("-");
  else {
    while (line[at] === "[") {
      take("[");
      const id = name();
      const parameters = new Map<string, string>();
      while (line[at] === " ") {
        take(" ");
        const key = name();
        take('="');
        let value = "";
        while (line[at] !== '"') {
          if (line[at] === undefined || line[at] === "]") throw new Error(`unescaped ] at ${at}`);
          if (line[at] === "\\" && /["\\\]]/.test(line[at + 1] ?? "")) at += 1;
          value += line[at];
          at += 1;
        }
        take('"');
        if (parameters.has(key)) throw new Error(`${key} is there twice`);
        parameters.set(key, value);
      }
      take("]");
      if (data.has(id)) throw new Error(`${id} is there twice`);
      data.set(id, parameters);
    }
    if (data.size === 0) throw new Error("no structured data");
  }
  if (at === line.length)
    return { priority: Number(priority), timestamp, hostName, appName, processId, messageId, data, text: "" };
  take(" ");
  return { priority: Number(priority), timestamp, hostName, appName, processId, messageId, data, text: line.slice(at) };
}

export interface JoinedRecord {
  readonly id: string;
  readonly hash: string;
  /** The record's JSON. */
  readonly json: string;
}

/** Records of messages, each as often as it came whole: parts are collected by record until all are there. */
export function joinParts(messages: readonly SyslogMessage[]): JoinedRecord[] {
  const pending = new Map<string, Map<number, string>>();
  const records: JoinedRecord[] = [];
  for (const { data, text } of messages) {
    const parameters = data.get("glovebox@32473");
    const id = parameters?.get("id") ?? "";
    const hash = parameters?.get("hash") ?? "";
    const parts = Number(parameters?.get("parts") ?? 1);
    const part = Number(parameters?.get("part") ?? 1);
    // A record that was cut off is sent again from its first part.
    const known = part === 1 ? new Map<number, string>() : (pending.get(`${id} ${hash}`) ?? new Map<number, string>());
    pending.set(`${id} ${hash}`, known.set(part, text));
    if (known.size < parts) continue;
    const json = Array.from({ length: parts }, (_, at) => known.get(at + 1) ?? "").join("");
    records.push({ id, hash, json });
    pending.delete(`${id} ${hash}`);
  }
  return records;
}

/** Octet-counted frames (RFC 6587 §3.4.1). @throws Error for a length that does not fit */
export function unframe(bytes: string): string[] {
  const frames: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = /^[1-9]\d{0,8} /.exec(bytes.slice(at, at + 10))?.[0];
    if (length === undefined) throw new Error(`no length at ${at}`);
    const begin = at + length.length;
    at = begin + Number(length);
    if (at > bytes.length) throw new Error("a frame that is cut off");
    frames.push(bytes.slice(begin, at));
  }
  return frames;
}
