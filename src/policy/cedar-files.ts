import {
  checkParsePolicySet,
  type DetailedError,
  type PolicyJson,
  policyToJson,
  validate,
} from "@cedar-policy/cedar-wasm/nodejs";
import { annotated, annotationProblems } from "./annotations.ts";
import { type BundlePolicy, type Problem, placeAt } from "./bundle.ts";
import { CONNECT } from "./connect.ts";
import { connectPolicy, overBroad } from "./connect-policy.ts";
import { constantsOf } from "./constants.ts";
import { deadLiterals } from "./literals.ts";
import { lagRead } from "./logging.ts";
import { INSTALL_PACKAGE } from "./package.ts";
import { packageScope } from "./package-scope.ts";
import { actionFinder, type FindActions } from "./policy-actions.ts";
import { type Statement, statementsOf } from "./statements.ts";
import { usageLimit, usageRead } from "./usage-read.ts";
import { missingAction, type Vocabulary } from "./vocabulary.ts";

export interface CedarFile {
  readonly name: string;
  readonly text: string;
}

/** A policy with its text, and the file that it stands in. */
interface Part extends BundlePolicy, Statement {
  readonly source: CedarFile;
}

/**
 * Parses and strictly validates the policies of a bundle: an error or a warning is a problem. `narrows`: it may permit connections to every
 * host, because another layer says which.
 */
export function readCedar(
  files: readonly CedarFile[],
  { narrows, vocabulary }: { readonly narrows: boolean; readonly vocabulary: Vocabulary },
): { parts: readonly Part[]; problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const reading: Reading = { narrows, problems, findActions: actionFinder(vocabulary) };
  const parts = files.flatMap((file) => partsOf(file, reading));
  const byId = new Map<string, Part>();
  for (const part of parts) {
    if (byId.has(part.id)) {
      problems.push({ ...placeIn(part.source, part.offset), message: `the id \`${part.id}\` is used twice` });
    }
    byId.set(part.id, part);
  }
  problems.push(...validated(byId, vocabulary));
  return { parts, problems };
}

interface Reading {
  readonly narrows: boolean;
  readonly problems: Problem[];
  readonly findActions: FindActions;
}

function validated(parts: ReadonlyMap<string, Part>, vocabulary: Vocabulary): Problem[] {
  const { schema } = vocabulary;
  const answer = validate({
    schema,
    policies: { staticPolicies: Object.fromEntries([...parts].map(([id, { text }]) => [id, text])) },
    validationSettings: { mode: "strict" },
  });
  if (answer.type === "failure") return answer.errors.map((it) => ({ file: "(bundle)", ...worded(it) }));
  const found = [...answer.validationErrors, ...answer.validationWarnings].map(({ policyId, error }): Problem => {
    const part = parts.get(policyId);
    const place = part ? placeIn(part.source, part.offset, startOf(error)) : { file: "(bundle)" };
    return { ...place, ...ofSkills(worded(error), vocabulary) };
  });
  return [...together(found), ...answer.otherWarnings.map((it) => ({ file: "(bundle)", ...worded(it) }))];
}

/** Cedar says the same once for each action that a policy applies to, in any order; a reader wants it once for each place. */
function together(problems: readonly Problem[]): Problem[] {
  const sorted = problems.toSorted((a, b) => (a.message < b.message ? -1 : 1));
  const byPlace = Map.groupBy(sorted, ({ file, line, column }) => `${file}:${line}:${column}`);
  return [...byPlace.values()].flatMap(([first, ...rest]) => {
    if (!first) return [];
    const more = rest.length === 0 ? "" : ` (and ${rest.length} more at this place)`;
    return [{ ...first, message: first.message + more }];
  });
}

function partsOf(file: CedarFile, reading: Reading): Part[] {
  const { problems } = reading;
  const checked = checkParsePolicySet({ staticPolicies: file.text });
  const located = checked.type === "failure" ? checked.errors.filter((it) => it.sourceLocations?.[0]) : [];
  if (located.length > 0) {
    problems.push(...located.map((it) => ({ ...placeIn(file, 0, startOf(it)), ...worded(it) })));
    return [];
  }
  const before = problems.length;
  const parts = statementsOf(file.text).flatMap((statement, index) => partOf(file, statement, index, reading));
  if (checked.type === "failure" && problems.length === before) {
    problems.push(...checked.errors.map((it) => ({ file: file.name, ...worded(it) })));
  }
  return parts;
}

function partOf(source: CedarFile, statement: Statement, index: number, reading: Reading): Part[] {
  const { narrows, problems, findActions } = reading;
  const { text, offset } = statement;
  const parsed = policyToJson(text);
  if (parsed.type === "failure") {
    problems.push(...parsed.errors.map((it) => ({ ...placeIn(source, offset, startOf(it)), ...worded(it) })));
    return [];
  }
  const policy = parsed.json;
  const { effect, annotations = {} } = policy;
  const place = placeIn(source, offset);
  problems.push(...annotationProblems(policy).map((it) => ({ ...place, ...it })));
  for (const { literal, ...words } of deadLiterals(policy)) {
    const within = Math.max(0, text.indexOf(JSON.stringify(literal)));
    problems.push({ ...placeIn(source, offset + within), ...words });
  }
  const found = findActions(text, policy);
  if ("problem" in found) problems.push({ ...place, message: found.problem });
  const actions = "problem" in found ? new Set<string>() : found;
  const id = `${source.name}#${annotations["id"] ?? index}`;
  const reason = annotations["reason"];
  const named = {
    id,
    effect,
    ...(reason ? { reason } : {}),
    file: source.name,
    line: place.line,
    constants: constantsOf(policy),
  };
  const connect = actions.has(CONNECT) ? connectPolicy(policy) : undefined;
  const tooBroad = narrows ? undefined : connect && overBroad(policy, connect);
  if (tooBroad) problems.push({ ...place, ...tooBroad });
  const unconditional = isUnconditional(policy);
  const packages = actions.has(INSTALL_PACKAGE) ? packageScope(policy) : undefined;
  const about = { ...(connect && { connect }), ...(packages !== undefined && { packages }) };
  const limit = usageLimit(policy);
  const read = { usage: usageRead(policy), ...(limit !== undefined && { usageLimit: limit }) };
  const meant = { ...annotated(policy), ...read, readsLag: lagRead(policy) };
  return [{ ...named, ...meant, actions, unconditional, ...about, text, offset, source }];
}

function isUnconditional({ principal, resource, conditions }: PolicyJson): boolean {
  return principal.op === "All" && resource.op === "All" && conditions.length === 0;
}

function startOf({ sourceLocations }: DetailedError): number {
  return sourceLocations?.[0]?.start ?? 0;
}

/** Cedar counts bytes of UTF-8 from the beginning of what it was given, which stands at `offset`. */
function placeIn({ name, text }: CedarFile, offset: number, bytes = 0) {
  const within = bytes === 0 ? 0 : Buffer.from(text.slice(offset)).subarray(0, bytes).toString().length;
  return { file: name, ...placeAt(text, offset + within) };
}

/** Of an action that no skill gives Cedar proposes any other, such as `exec`. */
function ofSkills(words: ReturnType<typeof worded>, vocabulary: Vocabulary): ReturnType<typeof worded> {
  const [, action] =
    /^for policy .* unrecognized action `Glovebox::Action::\\?"([^"\\]+)\\?"`/s.exec(words.message) ?? [];
  const missing = action === undefined ? undefined : missingAction(vocabulary, action);
  return missing ? { message: `${words.message}: ${missing.message}`, fix: missing.fix } : words;
}

function worded({ message, help, related }: DetailedError): { message: string; fix?: string } {
  const more = (related ?? []).map((it) => it.message);
  return { message: [message, ...more].join("; "), ...(help ? { fix: help } : {}) };
}
