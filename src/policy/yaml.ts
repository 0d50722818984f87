import { isNode, LineCounter, parseDocument, visit } from "yaml";
import type { z } from "zod";
import type { Place, Problem } from "./bundle.ts";

/** A file that fits its schema. */
interface Read<T> {
  readonly value: T;
  /** As it is written, before defaults. */
  readonly stated: unknown;
  /** Where the deepest node on a path that exists begins. */
  readonly placeOf: (path: readonly PropertyKey[]) => Place;
}

/** Reads a YAML file strictly against a schema, which gets `undefined` of an empty one; every problem has its place in the file. */
export function readYaml<T>(
  file: string,
  text: string,
  schema: z.ZodType<T>,
): Read<T> | { readonly problems: readonly Problem[] } {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, strict: true, stringKeys: true });
  const at = (offset: number): Place => {
    const { line, col } = lineCounter.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) {
    // The rest of the message repeats the place and quotes the file.
    return {
      problems: broken.map((it) => ({ file, ...at(it.pos[0]), message: it.message.split(/ at line |\n/)[0] ?? "" })),
    };
  }
  const aliases: Problem[] = [];
  visit(document, {
    Alias: (_, alias) => {
      // They let a short text stand for an enormous value, and hide what is in force from a reader.
      const message = "YAML aliases are not supported";
      aliases.push({ file, ...at(alias.range?.[0] ?? 0), message, fix: "write the value out" });
    },
  });
  if (aliases.length > 0) return { problems: aliases };
  const placeOf = (path: readonly PropertyKey[]) => at(offsetOf(document, path));
  const stated: unknown = document.toJS() ?? undefined;
  const parsed = schema.safeParse(stated);
  if (parsed.success) return { value: parsed.data, stated, placeOf };
  const problems = parsed.error.issues.map((issue) => {
    // An unknown key is at its parent: point at the key itself.
    const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
    const shown = path.length === 0 ? "" : `${path.map(String).join(".")}: `;
    const fix = issue.code === "unrecognized_keys" ? { fix: "remove it, or correct its spelling" } : {};
    // What is wrong with a map's key is said one level down.
    const message = issue.code === "invalid_key" ? issue.issues.map((it) => it.message).join("; ") : issue.message;
    return { file, ...placeOf(path), message: `${shown}${message}`, ...fix };
  });
  return { problems };
}

function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}
