import { isNode, LineCounter, parseDocument, visit } from "yaml";
import type { z } from "zod";
import type { Problem } from "./bundle.ts";

/** Reads a YAML file strictly against a schema; every problem has its place in the file. */
export function readYaml<T>(
  file: string,
  text: string,
  schema: z.ZodType<T>,
): { readonly value: T } | { readonly problems: readonly Problem[] } {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, strict: true });
  const at = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset);
    return { file, line, column: col };
  };
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) {
    return { problems: broken.map((it) => ({ ...at(it.pos[0]), message: it.message.split("\n")[0] ?? it.code })) };
  }
  const aliases: Problem[] = [];
  visit(document, {
    Alias: (_, alias) => {
      // They let a short text stand for an enormous value, and hide what is in force from a reader.
      aliases.push({
        ...at(alias.range?.[0] ?? 0),
        message: "YAML aliases are not supported",
        fix: "write the value out",
      });
    },
  });
  if (aliases.length > 0) return { problems: aliases };
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (parsed.success) return { value: parsed.data };
  const problems = parsed.error.issues.map((issue) => {
    // An unknown key is at its parent: point at the key itself.
    const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
    const shown = path.map(String).join(".");
    const key = issue.code === "unrecognized_keys" ? { fix: "remove it, or correct its spelling" } : {};
    return { ...at(offsetOf(document, path)), message: `${shown}: ${issue.message}`, ...key };
  });
  return { problems };
}

/** Where the deepest node on the path that exists begins. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return 0;
}
