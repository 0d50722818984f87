import { GatewayError } from "../errors.ts";
import { isArgvPrefix, normalisePath } from "./facts.ts";
import { readHost } from "./host.ts";
import { isWordsFact } from "./shell/facts.ts";

/** A literal that no request can hold: a forbid that rests on it would never forbid, and nothing else would say so. */
export interface DeadLiteral {
  readonly literal: string;
  readonly message: string;
  readonly fix: string;
}

export type Node = Readonly<Record<string, unknown>>;

const COMPARISONS = ["contains", "containsAll", "containsAny", "==", "!="] as const;

/** The dead literals of a policy in Cedar's JSON form: paths that aren't normalised, and words that aren't in JSON. */
export function deadLiterals(policy: object): DeadLiteral[] {
  return nodesOf(policy).flatMap((node) => [...deadPath(node), ...deadHost(node), ...deadWords(node)]);
}

function deadHost(node: Node): DeadLiteral[] {
  const { type, id } = node;
  if (type !== "Glovebox::Host" || typeof id !== "string") return [];
  const spelling = readHost(id)?.host;
  if (spelling === id) return [];
  const message = `no host of a request is spelt ${JSON.stringify(id)}: they are names in lower case, or addresses`;
  const fix = id.startsWith("*.") ? `write \`resource in\` and ${JSON.stringify(id.slice(2))}` : undefined;
  return [{ literal: id, message, fix: fix ?? `write ${JSON.stringify(spelling ?? "example.org")}` }];
}

function deadPath(node: Node): DeadLiteral[] {
  const { type, id } = node;
  if ((type !== "Glovebox::Path" && type !== "Glovebox::MountPath") || typeof id !== "string") return [];
  const normal = normalised(id);
  if (normal === id) return [];
  const message = `no path of a request is spelt ${JSON.stringify(id)}: they are absolute and normalised`;
  return [{ literal: id, message, fix: `write ${JSON.stringify(normal ?? "/workspace")}` }];
}

function normalised(path: string): string | undefined {
  try {
    return normalisePath(path, "/");
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/** Facts that are sets of words in JSON, and what is to be said of a literal that none of them can hold. */
const WORD_FACTS = [
  {
    fact: "argvPrefixes",
    fits: isArgvPrefix,
    words: 8,
    no: "no prefix of an argv is",
    are: "the JSON of its first 1 to 8 arguments",
  },
  {
    fact: "subcommands",
    fits: (text: string) => isWordsFact("subcommands", text),
    words: 2,
    no: "no subcommand of a script is",
    are: "the JSON of a command's first two words, or its only one",
  },
  {
    fact: "commands",
    fits: (text: string) => isWordsFact("commands", text),
    words: 8,
    no: "no command of a script is",
    are: "the JSON of all its words",
  },
] as const;

function deadWords(node: Node): DeadLiteral[] {
  return WORD_FACTS.flatMap(({ fact, fits, words, no, are }) =>
    comparedWith(fact, node)
      .filter((it) => !fits(it))
      .map((literal) => ({
        literal,
        message: `${no} ${JSON.stringify(literal)}: they are ${are}`,
        fix: `write ${JSON.stringify(JSON.stringify(wordsMeant(literal).slice(0, words)))}`,
      })),
  );
}

/** The strings that a fact is compared with by this node. */
function comparedWith(fact: string, node: Node): string[] {
  return COMPARISONS.flatMap((operator) => {
    const operands = node[operator];
    if (!isNode(operands)) return [];
    const sides = [operands["left"], operands["right"]];
    if (!sides.some((it) => isFact(fact, it))) return [];
    return sides
      .flatMap(nodesOf)
      .map((it) => it["Value"])
      .filter((it) => typeof it === "string");
  });
}

function isFact(fact: string, node: unknown): boolean {
  return isNode(node) && isNode(node["."]) && node["."]["attr"] === fact;
}

/** What somebody who wrote `git push` or `["git", "push"]` most likely meant. */
function wordsMeant(literal: string): string[] {
  return literal.match(/[^\s"',[\]\\]+/g) ?? ["git", "push"];
}

/** A value's objects at any depth, itself included. */
export function nodesOf(value: unknown): Node[] {
  if (Array.isArray(value)) return value.flatMap(nodesOf);
  return isNode(value) ? [value, ...Object.values(value).flatMap(nodesOf)] : [];
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
