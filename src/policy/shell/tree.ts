import { type Command, forEachChild, parse, type Redirect, type SyntaxNode, type Word } from "unbash";

/** What bash's whole grammar finds in a script. */
export interface Found {
  /** The literal words that each simple command begins with, at any depth, in the order in which they are written. */
  readonly commands: readonly FoundCommand[];
  /** Whether there is nothing in the script but simple commands of literal words, in lists and pipelines. */
  readonly plain: boolean;
}

export interface FoundCommand {
  readonly words: readonly string[];
  /** Whether these are all its words. */
  readonly whole: boolean;
}

/** What is nested deeper is not looked for: the parser reads each substitution anew, so that time grows with length times depth. */
const MAX_DEPTH = 40;

const PLAIN_NODES: ReadonlySet<SyntaxNode["type"]> = new Set<SyntaxNode["type"]>([
  "Script",
  "Statement",
  "AndOr",
  "Pipeline",
  "Command",
  "Word",
  "Literal",
  "SingleQuoted",
  "DoubleQuoted",
  "Redirect",
  "FileDescriptor",
]);
const LITERAL_PARTS: ReadonlySet<string> = new Set(["Literal", "SingleQuoted", "AnsiCQuoted"]);

/**
 * Looks for commands everywhere: in loops, functions, substitutions. The parser is tolerant, so that what is found in a script that is
 * not plain may be too much or too little. `undefined` when the script is too much for it.
 */
export function findCommands(script: string): Found | undefined {
  try {
    return found(parse(script));
  } catch (error) {
    // Deep nesting may overflow the stack. That a parser has failed is no reason to fail the call: policy decides about opaque scripts.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function found(script: SyntaxNode): Found {
  const commands: FoundCommand[] = [];
  let plain = true;
  const pending = [{ node: script, depth: 0 }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { node, depth } = next;
    plain &&= isPlain(node) && depth < MAX_DEPTH;
    if (node.type === "Command") commands.push(...commandOf(node));
    if (depth === MAX_DEPTH) continue;
    const children: SyntaxNode[] = [];
    forEachChild(node, (child) => children.push(child));
    for (const child of children.reverse()) pending.push({ node: child, depth: depth + 1 });
  }
  return { commands, plain };
}

function isPlain(node: SyntaxNode): boolean {
  if (node.type === "Script") return (node.errors ?? []).length === 0;
  if (node.type === "Statement") return node.background !== true;
  if (node.type === "Command") return node.prefix.length === 0;
  if (node.type === "Redirect") return goesNowhere(node);
  return PLAIN_NODES.has(node.type);
}

function goesNowhere({ operator, target }: Redirect): boolean {
  const to = target?.value;
  return operator === ">&" ? to === "1" || to === "2" : operator !== "<>" && operator !== "<&" && to === "/dev/null";
}

function commandOf({ name, suffix }: Command): FoundCommand[] {
  const words = [...(name ? [name] : []), ...suffix.filter((it) => it.type === "Word" || it.type === "Assignment")];
  const literals = words.map((it) => (it.type === "Word" ? literalOf(it) : undefined));
  const end = literals.indexOf(undefined);
  const known = literals.slice(0, end < 0 ? undefined : end).filter((it) => it !== undefined);
  return words.length > 0 ? [{ words: known, whole: end < 0 }] : [];
}

function literalOf({ parts, value }: Word): string | undefined {
  const literal = (parts ?? []).every((part) =>
    part.type === "DoubleQuoted" ? part.parts.every((it) => it.type === "Literal") : LITERAL_PARTS.has(part.type),
  );
  return literal ? value : undefined;
}
