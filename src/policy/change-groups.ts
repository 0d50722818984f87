import type { Decision } from "./decision.ts";
import { kindOf, wordsOf } from "./past-words.ts";
import type { Change } from "./simulate.ts";

/** More kinds of change are only counted. */
const MAX_GROUPS = 1_000;
const MAX_EXAMPLES = 3;

export interface Example {
  readonly time: string;
  readonly callId?: string;
  readonly words: string;
}

/** Changes of one kind: the same tool and program, from the same decision to the same other one, for the same reason. */
export interface ChangeGroup {
  readonly kind: string;
  readonly from: Decision["outcome"];
  readonly now: Decision;
  count: number;
  /** The first ones. */
  readonly examples: Example[];
}

export interface ChangeGroups {
  readonly groups: Map<string, ChangeGroup>;
  /** Of kinds that there was no room for. */
  others: number;
}

export function addChange(all: ChangeGroups, change: Change): void {
  const { past, now } = change;
  const kind = kindOf(past);
  const by = now.policies.map((it) => `${it.layer ?? ""} ${it.id}`);
  const key = JSON.stringify([kind, past.decided, now.outcome, by, now.problems]);
  const group = all.groups.get(key) ?? { kind, from: past.decided, now, count: 0, examples: [] };
  if (group.count === 0 && all.groups.size >= MAX_GROUPS) {
    all.others += 1;
    return;
  }
  all.groups.set(key, group);
  group.count += 1;
  if (group.examples.length === MAX_EXAMPLES) return;
  const { time, callId } = past;
  group.examples.push({ time, ...(callId !== undefined && { callId }), words: wordsOf(past) });
}
