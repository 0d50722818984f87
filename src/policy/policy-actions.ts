import { getValidRequestEnvsPolicy, type PolicyJson, schemaToJson } from "@cedar-policy/cedar-wasm/nodejs";
import { GatewayError } from "../errors.ts";
import type { Vocabulary } from "./vocabulary.ts";

export type FindActions = (text: string, policy: PolicyJson) => ReadonlySet<string> | { readonly problem: string };

/**
 * Finds the actions that a policy can apply to, or what is wrong with it. Cedar takes milliseconds to find that out by types, and what ids, strings
 * and numbers a policy holds makes no difference to types: of policies that differ in nothing else one is asked about. A policy with a call of
 * an extension function (`ip("…")`) is always asked about: its string can be wrong.
 */
export function actionFinder(vocabulary: Vocabulary): FindActions {
  const known = new Map<string, ReadonlySet<string>>();
  // Cedar reads it several times faster than the text.
  const schema = schemaToJson(vocabulary.schema);
  if (schema.type === "failure") throw new GatewayError("INTERNAL", schema.errors.map((it) => it.message).join("; "));
  return (text, policy) => {
    const kind = kindOf(policy);
    const found = kind === undefined ? undefined : known.get(kind);
    if (found) return found;
    const envs = getValidRequestEnvsPolicy(text, schema.json);
    if (envs.type === "failure") return { problem: envs.error };
    const actions = new Set(envs.actions.map(actionName));
    if (kind !== undefined) known.set(kind, actions);
    return actions;
  };
}

/** All of a policy but its annotations, the id in its head, and the strings and numbers of its conditions; `undefined` where those matter. */
function kindOf({ annotations: _, resource, ...policy }: PolicyJson): string | undefined {
  let isPlain = true;
  const head = JSON.stringify(resource, (key, value: unknown) => (key === "id" ? "" : value));
  const rest = JSON.stringify(policy, (key, value: unknown) => {
    if (EXTENSIONS.has(key)) isPlain = false;
    if (key !== "Value") return value;
    return typeof value === "string" || typeof value === "number" ? typeof value : value;
  });
  return isPlain ? head + rest : undefined;
}

/** Constructors of Cedar's extension types. */
const EXTENSIONS: ReadonlySet<string> = new Set(["ip", "decimal", "datetime", "duration"]);

/** `Glovebox::Action::"exec"` → `exec`. */
function actionName(uid: string): string {
  return uid.slice(uid.indexOf('"') + 1, -1);
}
