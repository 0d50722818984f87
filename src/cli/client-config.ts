import { isDeepStrictEqual } from "node:util";
import { applyEdits, modify, type ParseError, parse as parseJson, printParseErrorCode } from "jsonc-parser";
import { parse as parseToml, stringify as stringifyToml, TomlError } from "smol-toml";
import { parseDocument } from "yaml";
import { GatewayError } from "../errors.ts";
import type { ClientKind } from "./clients.ts";

type Table = Record<string, unknown>;

/**
 * The text of a client's configuration with our entry set, or removed when there is none, and nothing else changed: the result is parsed
 * again and compared. Comments stay.
 * @throws GatewayError CLIENT_CONFIG_INVALID
 */
export function edited(
  { format, key }: Pick<ClientKind, "format" | "key">,
  text: string,
  name: string,
  entry: Table | undefined,
): string {
  const before = parsed(format, text);
  const servers = before[key];
  if (servers !== undefined && !isTable(servers)) throw invalid(`\`${key}\` in it is not a table`);
  if (isDeepStrictEqual(servers?.[name], entry)) return text;
  const result = editors[format](text, key, name, entry);
  const after = parsed(format, result);
  const now = after[key];
  const there = isTable(now) ? now[name] : undefined;
  if (isDeepStrictEqual(plain(there), plain(entry)) && sameApartFrom(before, after, key, name)) return result;
  throw invalid("it is written in a way that cannot be changed safely here");
}

type Editor = (text: string, key: string, name: string, entry: Table | undefined) => string;

const editors: Readonly<Record<ClientKind["format"], Editor>> = { json: editJson, toml: editToml, yaml: editYaml };

function editJson(text: string, key: string, name: string, entry: Table | undefined): string {
  const source = text.trim() === "" ? "{}\n" : text;
  const tabs = /^\t/m.test(source);
  const formattingOptions = { insertSpaces: !tabs, tabSize: 2, eol: source.includes("\r\n") ? "\r\n" : "\n" };
  return applyEdits(source, modify(source, [key, name], entry, { formattingOptions }));
}

/** Tables of TOML are blocks of lines: ours are taken out and put at the end. Anything more artful fails the comparison. */
function editToml(text: string, key: string, name: string, entry: Table | undefined): string {
  const quoted = name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const ours = new RegExp(`^\\s*\\[\\s*${key}\\s*\\.\\s*("?)${quoted}\\1\\s*(\\..*)?\\]\\s*(#.*)?$`);
  const kept: string[] = [];
  let inside = false;
  for (const line of text.split("\n")) {
    if (/^\s*\[/.test(line)) inside = ours.test(line);
    if (!inside) kept.push(line);
  }
  const rest = kept.join("\n").trimEnd();
  const start = rest === "" ? "" : `${rest}\n`;
  if (entry === undefined) return start;
  return `${start}${start === "" ? "" : "\n"}${stringifyToml({ [key]: { [name]: entry } }).trim()}\n`;
}

function editYaml(text: string, key: string, name: string, entry: Table | undefined): string {
  const document = parseDocument(text);
  if (entry === undefined) document.deleteIn([key, name]);
  else document.setIn([key, name], document.createNode(entry));
  return document.toString({ lineWidth: 0 });
}

function parsed(format: ClientKind["format"], text: string): Table {
  if (text.trim() === "") return {};
  const value = format === "json" ? readJson(text) : format === "toml" ? readToml(text) : readYaml(text);
  if (value === null || value === undefined) return {};
  if (!isTable(value)) throw invalid("it does not hold a table");
  return value;
}

function readJson(text: string): unknown {
  const errors: ParseError[] = [];
  const value: unknown = parseJson(text, errors, { allowTrailingComma: true });
  const [first] = errors;
  if (first) {
    const line = text.slice(0, first.offset).split("\n").length;
    throw invalid(`line ${line}: ${printParseErrorCode(first.error)}`);
  }
  return value;
}

function readToml(text: string): unknown {
  try {
    return parseToml(text);
  } catch (error) {
    throw invalid(error instanceof TomlError ? `line ${error.line}: ${error.message.split("\n")[0]}` : String(error));
  }
}

function readYaml(text: string): unknown {
  const document = parseDocument(text);
  const [first] = document.errors;
  if (first) throw invalid(first.message.split("\n")[0] ?? first.code);
  return document.toJS();
}

function sameApartFrom(before: Table, after: Table, key: string, name: string): boolean {
  return isDeepStrictEqual(without(before, key, name), without(after, key, name));
}

/** An empty table of servers is as good as none. */
function without(table: Table, key: string, name: string): unknown {
  const servers = table[key];
  const { [name]: _, ...others } = isTable(servers) ? servers : {};
  const { [key]: __, ...rest } = table;
  return plain(Object.keys(others).length > 0 ? { ...rest, [key]: others } : rest);
}

/** Free of prototypes, which parsers differ in. */
function plain(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(why: string): GatewayError {
  return new GatewayError("CLIENT_CONFIG_INVALID", why);
}
