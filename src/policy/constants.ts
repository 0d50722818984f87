import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { isNode, type Node, nodesOf } from "./literals.ts";

/** A literal of a policy, beside what it is compared with. */
export interface Constant {
  /** An attribute of the context, or `resource`. */
  readonly fact: string;
  /** A number or a string, or an entity's id: a path, a host, a purl. */
  readonly value: string | number;
}

/** Cedar's JSON has each of these with a `left` and a `right`. */
const COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "in", "contains", "containsAny", "containsAll"] as const;

/** What a policy compares its request with, in the order in which it stands there, each once. */
export function constantsOf({ resource, conditions }: PolicyJson): Constant[] {
  const inHead = nodesOf(resource).flatMap((it) => literalsOf(it["entity"]));
  const found = [
    ...inHead.map((value) => ({ fact: "resource", value })),
    ...nodesOf(conditions).flatMap((node) => COMPARISONS.flatMap((operator) => comparedIn(node[operator]))),
  ];
  return [...new Map(found.map((it) => [JSON.stringify(it), it])).values()];
}

function comparedIn(operands: Node[string]): Constant[] {
  if (!isNode(operands)) return [];
  const { left, right } = operands;
  return [
    [left, right],
    [right, left],
  ].flatMap(([one, other]) => {
    const fact = factOf(one);
    return fact === undefined ? [] : literalsOf(other).map((value) => ({ fact, value }));
  });
}

function factOf(node: unknown): string | undefined {
  if (!isNode(node)) return undefined;
  if (node["Var"] === "resource") return "resource";
  const access = node["."];
  if (!isNode(access) || !isNode(access["left"]) || access["left"]["Var"] !== "context") return undefined;
  return typeof access["attr"] === "string" ? access["attr"] : undefined;
}

/** A value, those of a set, or an entity. */
function literalsOf(node: unknown): (string | number)[] {
  if (!isNode(node)) return [];
  const { Set: members, Value: value, __entity: entity, id } = node;
  if (Array.isArray(members)) return members.flatMap(literalsOf);
  if (typeof value === "string" || typeof value === "number") return [value];
  if (isNode(value)) return literalsOf(value);
  if (isNode(entity)) return literalsOf(entity);
  return typeof id === "string" ? [id] : [];
}
