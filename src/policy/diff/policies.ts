import { type PolicyJson, policyToJson } from "@cedar-policy/cedar-wasm/nodejs";
import canonicalize from "canonicalize";
import { GatewayError } from "../../errors.ts";

export interface PolicyDiff {
  readonly kind: "added" | "removed" | "changed" | "moved";
  /** As it is now; of a removed one, as it was. */
  readonly id: string;
  /** Of one that has another id now. */
  readonly from?: string;
  /** What differs: `effect`, `principal`, `action`, `resource`, `conditions`, and annotations as `@mode: enforce → shadow`. */
  readonly what: readonly string[];
  readonly before?: string;
  readonly after?: string;
}

interface Written {
  readonly id: string;
  readonly text: string;
  readonly json: PolicyJson;
  readonly annotations: Readonly<Record<string, string>>;
  /** The same for policies that mean the same, however they are laid out. */
  readonly meaning: string;
}

/**
 * The policies that differ, by id and text. Compared by Cedar's JSON form, which has neither comments nor layout; one that stands elsewhere or
 * under another id, and is otherwise the same, has moved.
 */
export function diffPolicies(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): PolicyDiff[] {
  const old = read(before);
  const now = read(after);
  const same = new Set(
    now.filter((it) => old.some((was) => was.id === it.id && was.meaning === it.meaning)).map((it) => it.id),
  );
  const gone = old.filter((it) => !same.has(it.id));
  const come = now.filter((it) => !same.has(it.id));
  const take = (list: Written[], fits: (it: Written) => boolean) => {
    const at = list.findIndex(fits);
    return at === -1 ? undefined : list.splice(at, 1)[0];
  };
  const moved: PolicyDiff[] = [];
  const others: Written[] = [];
  for (const it of come) {
    const was = take(gone, (old) => old.meaning === it.meaning);
    if (was) moved.push({ kind: "moved", id: it.id, from: was.id, what: [] });
    else others.push(it);
  }
  const rest = others.map((it): PolicyDiff => {
    const was = take(gone, (old) => old.id === it.id);
    if (!was) return { kind: "added", id: it.id, what: [], after: it.text };
    return { kind: "changed", id: it.id, what: differences(was, it), before: was.text, after: it.text };
  });
  const removed = gone.map((it): PolicyDiff => ({ kind: "removed", id: it.id, what: [], before: it.text }));
  return [...moved, ...rest, ...removed].toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function read(policies: ReadonlyMap<string, string>): Written[] {
  return [...policies].map(([id, text]) => {
    const parsed = policyToJson(text);
    // A bundle that was loaded has none.
    if (parsed.type === "failure") throw new GatewayError("INTERNAL", `the policy ${id} does not parse`);
    const { annotations: all = {}, ...json } = parsed.json;
    // The id is how it is found, not what it means. An annotation without a value is an empty one.
    const named = Object.entries(all).filter(([name]) => name !== "id");
    const annotations = Object.fromEntries(named.map(([name, value]) => [name, value ?? ""]));
    return { id, text, json, annotations, meaning: canonicalize({ ...json, annotations }) ?? "" };
  });
}

function differences(was: Written, now: Written): string[] {
  const parts = (["effect", "principal", "action", "resource", "conditions"] as const).filter(
    (part) => canonicalize(was.json[part]) !== canonicalize(now.json[part]),
  );
  const names = [...new Set([...Object.keys(was.annotations), ...Object.keys(now.annotations)])].sort();
  const annotations = names.flatMap((name) => {
    const [from, to] = [was.annotations[name], now.annotations[name]];
    return from === to ? [] : [`@${name}: ${from ?? "(none)"} → ${to ?? "(none)"}`];
  });
  return [...parts, ...annotations];
}
