import type { NamedBody } from "../audit/bodies/read.ts";
import { parseJson } from "../lib/json.ts";
import { printable } from "../lib/text.ts";
import { colour, jsonText } from "./audit-text.ts";

// What an agent wrote, and what programs printed: none of it reaches the terminal unfiltered.

/** A body of a call, or why it can't be read. */
export type ReadBody =
  | { readonly body: NamedBody; readonly content: Buffer }
  | { readonly body: NamedBody; readonly problem: string };

/** As a person would read it: each member under its name, and texts as they are. */
export function bodyLines(read: ReadBody): string[] {
  const { name, kept } = read.body;
  if ("problem" in read) return [`${colour.bold(name)}: ${colour.red(shown(read.problem))}`];
  const text = read.content.toString("utf8");
  const cut = "truncated" in kept ? [colour.yellow("it was too long: the rest was not kept")] : [];
  const value = parseJson(text);
  const members = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  const lines = members.length > 0 ? members.flatMap(([key, it]) => memberLines(shown(key), it)) : indented(text);
  return [colour.bold(name), ...lines, ...cut];
}

/** Whole: what was cut is a text, everything else JSON as it was kept. */
export function bodyJson(callId: string, bodies: readonly ReadBody[]): string {
  const members = bodies.map((read) => {
    const { name, kept } = read.body;
    if ("problem" in read) return { name, ...kept, problem: read.problem };
    const text = read.content.toString("utf8");
    return "truncated" in kept ? { name, ...kept, text } : { name, ...kept, content: parseJson(text) };
  });
  return jsonText({ callId, bodies: members });
}

function memberLines(name: string, value: unknown): string[] {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const lines = shown(text).split("\n");
  const [only = ""] = lines;
  return lines.length === 1
    ? [`  ${colour.dim(name)}: ${only}`]
    : [`  ${colour.dim(name)}:`, ...lines.map((it) => `    ${it}`)];
}

function indented(text: string): string[] {
  return shown(text)
    .split("\n")
    .map((it) => `  ${it}`);
}

function shown(text: string): string {
  return printable(text, Number.POSITIVE_INFINITY);
}
