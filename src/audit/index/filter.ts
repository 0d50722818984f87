import { GatewayError } from "../../errors.ts";
import { printable } from "../../lib/text.ts";
import { readHost } from "../../policy/host.ts";
import type { RecordBody } from "../record.ts";
import type { Field } from "./schema.ts";

/** What is asked for; all that is given has to hold. */
export interface Filter {
  /** Milliseconds since 1970; inclusive. */
  readonly sinceMs?: number;
  /** The same; exclusive. */
  readonly untilMs?: number;
  readonly kind?: RecordBody["kind"];
  readonly principal?: string;
  /** The MCP client's name. */
  readonly client?: string;
  /** Of the gateway that wrote the record. */
  readonly gateway?: string;
  readonly session?: string;
  readonly call?: string;
  readonly tool?: string;
  readonly decision?: string;
  readonly status?: string;
  /** Error code of an outcome. */
  readonly code?: string;
  readonly exitCode?: number;
  readonly event?: string;
  /** Id of a determining policy, with its layer before a colon or without. */
  readonly policy?: string;
  /** `example.org`, or `*.example.org` for all below it and not itself. */
  readonly host?: string;
  /** A purl with or without a version, a name, or `npm:` and a name. */
  readonly package?: string;
  /** Each is words that stand side by side; a `*` at the end is any end of the last one. */
  readonly text?: readonly string[];
}

const BY_TEXT = [
  "principal",
  "client",
  "session",
  "call",
  "tool",
  "decision",
  "status",
  "code",
  "event",
  "package",
] as const;

/** What a record has to be found under: by one of the fields, the text. */
export interface Condition {
  readonly fields: readonly Field[];
  readonly text: string;
}

/** @throws GatewayError INVALID_ARGUMENTS for what is no host */
export function conditionsOf(filter: Filter): Condition[] {
  const conditions: Condition[] = BY_TEXT.flatMap((field) => {
    const text = filter[field];
    return text === undefined ? [] : [{ fields: [field], text }];
  });
  if (filter.exitCode !== undefined) conditions.push({ fields: ["exitCode"], text: String(filter.exitCode) });
  if (filter.policy !== undefined) conditions.push({ fields: ["policy", "layeredPolicy"], text: filter.policy });
  if (filter.host !== undefined) conditions.push(hostCondition(filter.host));
  return conditions;
}

function hostCondition(text: string): Condition {
  const below = text.startsWith("*.");
  const host = readHost(below ? text.slice(2) : text)?.host;
  if (host !== undefined) return { fields: [below ? "domain" : "host"], text: host };
  const message = `\`${printable(text, 100)}\` is no host: give \`example.org\`, \`*.example.org\` or an address`;
  throw new GatewayError("INVALID_ARGUMENTS", message);
}

/**
 * The texts as an expression of FTS5, in which nothing of them is syntax (sqlite.org/fts5.html#full_text_query_syntax: a string is quoted, and
 * quotes in it are doubled); `undefined` without any.
 * @throws GatewayError INVALID_ARGUMENTS for one without a letter or digit: the index has words alone
 */
export function matchOf(texts: readonly string[] = []): string | undefined {
  if (texts.length === 0) return undefined;
  return texts.map(phrase).join(" AND ");
}

/** By what the tokenizer keeps: letters, digits and what Unicode leaves to private use. */
const WORD = /[\p{L}\p{N}\p{Co}]/u;

function phrase(text: string): string {
  if (!WORD.test(text)) {
    const message = `\`${printable(text, 100)}\` has no word to look for: give letters or digits`;
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  const quoted = text.toWellFormed().replaceAll("\0", " ").replaceAll('"', '""');
  return isBeginning(text) ? `"${quoted}" *` : `"${quoted}"`;
}

/** Whether the last word is any that begins so. */
export function isBeginning(text: string): boolean {
  return text.endsWith("*") && WORD.test(text.at(-2) ?? "");
}
