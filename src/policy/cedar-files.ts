import {
  checkParsePolicySet,
  type DetailedError,
  getValidRequestEnvsPolicy,
  type PolicyJson,
  policyToJson,
  validate,
} from "@cedar-policy/cedar-wasm/nodejs";
import { type BundlePolicy, type Problem, placeAt } from "./bundle.ts";
import { CONNECT } from "./connect.ts";
import { connectPolicy, overBroad } from "./connect-policy.ts";
import { deadLiterals } from "./literals.ts";
import { INSTALL_PACKAGE } from "./package.ts";
import { packageScope } from "./package-scope.ts";
import { SCHEMA } from "./schema.ts";
import { type Statement, statementsOf } from "./statements.ts";

export interface CedarFile {
  readonly name: string;
  readonly text: string;
}

/** A policy with its text, and the file that it stands in. */
interface Part extends BundlePolicy, Statement {
  readonly source: CedarFile;
}

/** The annotations that have a meaning; any other is a mistake or a wish that would be ignored. */
const ANNOTATIONS: ReadonlySet<string> = new Set(["id", "reason"]);
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** Parses and strictly validates the policies of a bundle: an error or a warning is a problem. */
export function readCedar(files: readonly CedarFile[]): { parts: readonly Part[]; problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const parts = files.flatMap((file) => partsOf(file, problems));
  const byId = new Map<string, Part>();
  for (const part of parts) {
    if (byId.has(part.id)) {
      problems.push({ ...placeIn(part.source, part.offset), message: `the id \`${part.id}\` is used twice` });
    }
    byId.set(part.id, part);
  }
  problems.push(...validated(byId));
  return { parts, problems };
}

function validated(parts: ReadonlyMap<string, Part>): Problem[] {
  const answer = validate({
    schema: SCHEMA,
    policies: { staticPolicies: Object.fromEntries([...parts].map(([id, { text }]) => [id, text])) },
    validationSettings: { mode: "strict" },
  });
  if (answer.type === "failure") return answer.errors.map((it) => ({ file: "(bundle)", ...worded(it) }));
  const found = [...answer.validationErrors, ...answer.validationWarnings].map(({ policyId, error }): Problem => {
    const part = parts.get(policyId);
    const place = part ? placeIn(part.source, part.offset, startOf(error)) : { file: "(bundle)" };
    return { ...place, ...worded(error) };
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

function partsOf(file: CedarFile, problems: Problem[]): Part[] {
  const checked = checkParsePolicySet({ staticPolicies: file.text });
  const located = checked.type === "failure" ? checked.errors.filter((it) => it.sourceLocations?.[0]) : [];
  if (located.length > 0) {
    problems.push(...located.map((it) => ({ ...placeIn(file, 0, startOf(it)), ...worded(it) })));
    return [];
  }
  const before = problems.length;
  const parts = statementsOf(file.text).flatMap((statement, index) => partOf(file, statement, index, problems));
  if (checked.type === "failure" && problems.length === before) {
    problems.push(...checked.errors.map((it) => ({ file: file.name, ...worded(it) })));
  }
  return parts;
}

function partOf(source: CedarFile, statement: Statement, index: number, problems: Problem[]): Part[] {
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
  const envs = getValidRequestEnvsPolicy(text, SCHEMA);
  if (envs.type === "failure") problems.push({ ...place, message: envs.error });
  const actions = new Set(envs.type === "success" ? envs.actions.map(actionName) : []);
  const id = `${source.name}#${annotations["id"] ?? index}`;
  const reason = annotations["reason"];
  const named = { id, effect, ...(reason ? { reason } : {}), file: source.name, line: place.line };
  const connect = actions.has(CONNECT) ? connectPolicy(policy) : undefined;
  const tooBroad = connect && overBroad(policy, connect);
  if (tooBroad) problems.push({ ...place, ...tooBroad });
  const unconditional = isUnconditional(policy);
  const packages = actions.has(INSTALL_PACKAGE) ? packageScope(policy) : undefined;
  const about = { ...(connect && { connect }), ...(packages !== undefined && { packages }) };
  return [{ ...named, actions, unconditional, ...about, text, offset, source }];
}

function annotationProblems({ effect, annotations = {} }: PolicyJson): { message: string; fix: string }[] {
  const unknown = Object.keys(annotations).filter((it) => !ANNOTATIONS.has(it));
  const problems = unknown.map((it) => ({
    message: `the annotation \`@${it}\` is unknown`,
    fix: "use `@id` and `@reason`",
  }));
  if ("id" in annotations && !ID.test(annotations["id"] ?? "")) {
    problems.push({ message: "the id is not a name", fix: "use letters, digits, dots, dashes and underscores" });
  }
  if (effect === "forbid" && !annotations["reason"]?.trim()) {
    problems.push({
      message: "a forbid has no reason",
      fix: 'write `@reason("…")` above it: people and models read it when they are refused',
    });
  }
  return problems;
}

function isUnconditional({ principal, resource, conditions }: PolicyJson): boolean {
  return principal.op === "All" && resource.op === "All" && conditions.length === 0;
}

/** `Glovebox::Action::"exec"` → `exec`. */
function actionName(uid: string): string {
  return uid.slice(uid.indexOf('"') + 1, -1);
}

function startOf({ sourceLocations }: DetailedError): number {
  return sourceLocations?.[0]?.start ?? 0;
}

/** Cedar counts bytes of UTF-8 from the beginning of what it was given, which stands at `offset`. */
function placeIn({ name, text }: CedarFile, offset: number, bytes = 0) {
  const within = bytes === 0 ? 0 : Buffer.from(text.slice(offset)).subarray(0, bytes).toString().length;
  return { file: name, ...placeAt(text, offset + within) };
}

function worded({ message, help, related }: DetailedError): { message: string; fix?: string } {
  const more = (related ?? []).map((it) => it.message);
  return { message: [message, ...more].join("; "), ...(help ? { fix: help } : {}) };
}
