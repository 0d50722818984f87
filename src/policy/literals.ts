import { GatewayError } from "../errors.ts";
import { isArgvPrefix, normalisePath } from "./facts.ts";
import { readHost } from "./host.ts";

/** A literal that no request can hold: a forbid that rests on it would never forbid, and nothing else would say so. */
export interface DeadLiteral {
  readonly literal: string;
  readonly message: string;
  readonly fix: string;
}

export type Node = Readonly<Record<string, unknown>>;

const COMPARISONS = ["contains", "containsAll", "containsAny", "==", "!="] as const;

/** The dead literals of a policy in Cedar's JSON form: paths that aren't normalised, and prefixes that aren't an argv's JSON. */
export function deadLiterals(policy: object): DeadLiteral[] {
  return nodesOf(policy).flatMap((node) => [...deadPath(node), ...deadHost(node), ...deadPrefixes(node)]);
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

function deadPrefixes(node: Node): DeadLiteral[] {
  return COMPARISONS.flatMap((operator) => {
    const operands = node[operator];
    if (!isNode(operands)) return [];
    const sides = [operands["left"], operands["right"]];
    if (!sides.some(isPrefixes)) return [];
    const literals = sides.flatMap(nodesOf).map((it) => it["Value"]);
    return literals.filter((it) => typeof it === "string").filter((it) => !isArgvPrefix(it));
  }).map((literal) => ({
    literal,
    message: `no prefix of an argv is ${JSON.stringify(literal)}: they are the JSON of its first 1 to 8 arguments`,
    fix: `write ${JSON.stringify(JSON.stringify(argvMeant(literal)))}`,
  }));
}

function isPrefixes(node: unknown): boolean {
  return isNode(node) && isNode(node["."]) && node["."]["attr"] === "argvPrefixes";
}

/** What somebody who wrote `git push` or `["git", "push"]` most likely meant. */
function argvMeant(literal: string): string[] {
  const words = literal.match(/[^\s"',[\]\\]+/g) ?? ["git", "push"];
  return words.slice(0, 8);
}

/** A value's objects at any depth, itself included. */
export function nodesOf(value: unknown): Node[] {
  if (Array.isArray(value)) return value.flatMap(nodesOf);
  return isNode(value) ? [value, ...Object.values(value).flatMap(nodesOf)] : [];
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
