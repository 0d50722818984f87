import { enforcedPolicies } from "../bundle.ts";
import type { Constant } from "../constants.ts";
import { canEverPermit } from "../decide.ts";
import type { Decision } from "../decision.ts";
import type { Policy } from "../layer.ts";
import type { PolicyRequest, Principal } from "../request.ts";
import type { Describe } from "../tests.ts";
import { type Arguments, type Call, type Edit, edited } from "./edit.ts";
import { editsOf } from "./edits.ts";

/** Of calls that are described and decided: about a third of a millisecond for each layer, and whoever asks can ask again. */
const MAX_TRIED = 200;
/** A larger call takes too long to describe that often; its size is most likely not what it is denied for. */
const MAX_CALL_CHARS = 262_144;

export interface Proposal {
  readonly tool: string;
  readonly arguments: Arguments;
  /** The arguments that differ, with their new values; `null`: it is left out. */
  readonly change: Readonly<Record<string, unknown>>;
  /** `ask`: a person would have to agree; nothing was found that is permitted at once. */
  readonly outcome: "permit" | "ask";
  /** What to change, in words; agents' text in it is JSON. */
  readonly text: string;
}

export interface SearchPorts {
  readonly policy: Policy;
  readonly describe: Describe;
  /** By the policy, with what has been used so far. */
  readonly decide: (request: PolicyRequest) => Decision;
}

/**
 * The smallest change of a call that would be permitted, or that a person would be asked about where nothing is permitted at once; `undefined`
 * when the call is permitted as it is, or nothing was found. Smallest: the fewest arguments (at most two), then the lowest sum of `COSTS`,
 * then the order of `editsOf`. Pure, and bounded: no more than 200 calls are decided.
 */
export function nearestPermitted(call: Call, principal: Principal, ports: SearchPorts): Proposal | undefined {
  const { policy, describe, decide } = ports;
  const described = describe(call.tool, call.args, principal);
  if ("problem" in described || JSON.stringify(call.args).length > MAX_CALL_CHARS) return undefined;
  const { outcome } = decide(described.request);
  if (outcome === "permit") return undefined;
  const edits = editsOf({ ...call, request: described.request, constants: constantsFor(call, policy) });
  const possible = changes(edits).filter((it) => canEverPermit(policy, edited(call, it).tool));
  let asking: Proposal | undefined;
  for (const chosen of possible.slice(0, MAX_TRIED)) {
    const other = edited(call, chosen);
    const would = describe(other.tool, other.args, principal);
    if ("problem" in would) continue;
    const decided = decide(would.request).outcome;
    if (decided === "permit") return proposal(call, other, chosen, "permit");
    if (decided === "ask" && outcome === "deny") asking ??= proposal(call, other, chosen, "ask");
  }
  return asking;
}

/** What the policies about this call compare it with, and about what it may become. */
function constantsFor({ tool }: Call, { layers }: Policy): readonly Constant[] {
  const actions = tool === "shell" ? ["shell", "exec"] : [tool];
  return layers.flatMap(({ bundle }) =>
    enforcedPolicies(bundle).flatMap((it) => (actions.some((action) => it.actions.has(action)) ? it.constants : [])),
  );
}

/** Every edit, then every two of different arguments; each of them the smallest first. */
export function changes(edits: readonly Edit[]): readonly (readonly Edit[])[] {
  const pairs = edits.flatMap((one, index) =>
    edits
      .slice(index + 1)
      .filter((it) => it.argument !== one.argument)
      .map((other) => [one, other]),
  );
  const cost = (chosen: readonly Edit[]) => chosen.reduce((sum, it) => sum + it.cost, 0);
  const smallestFirst = (all: readonly (readonly Edit[])[]) => all.toSorted((a, b) => cost(a) - cost(b));
  return [...smallestFirst(edits.map((it) => [it])), ...smallestFirst(pairs)];
}

function proposal(call: Call, other: Call, chosen: readonly Edit[], outcome: Proposal["outcome"]): Proposal {
  const change: Record<string, unknown> = {};
  for (const { argument, value, instead } of chosen) {
    change[argument] = value ?? null;
    if (instead !== undefined) change[instead] = null;
  }
  const words = chosen.map(wordsOf);
  const tool = other.tool === call.tool ? "" : `as ${other.tool} `;
  const would = outcome === "permit" ? "it would be permitted" : "a person would be asked, if it were called";
  return { tool: other.tool, arguments: other.args, change, outcome, text: `${would} ${tool}${words.join(" and ")}` };
}

function wordsOf({ argument, value }: Edit): string {
  return value === undefined ? `without \`${argument}\`` : `with \`${argument}\` ${JSON.stringify(value)}`;
}
