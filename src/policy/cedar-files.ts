import {
  checkParsePolicySet,
  type DetailedError,
  getValidRequestEnvsPolicy,
  policySetTextToParts,
  policyToJson,
  validate,
} from "@cedar-policy/cedar-wasm/nodejs";
import { type BundlePolicy, type Problem, placeAt } from "./bundle.ts";
import { SCHEMA } from "./schema.ts";

export interface CedarFile {
  readonly name: string;
  readonly text: string;
}

interface Part extends BundlePolicy {
  readonly text: string;
  /** Of `text` in the file, in UTF-16 units. */
  readonly offset: number;
}

/** The annotations that have a meaning; any other is a mistake or a wish that would be ignored. */
const ANNOTATIONS: ReadonlySet<string> = new Set(["id", "reason"]);

/** Parses and strictly validates the policies of a bundle: an error or a warning is a problem. */
export function readCedar(files: readonly CedarFile[]): { parts: readonly Part[]; problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const parts = files.flatMap((file) => split(file, problems));
  const byId = new Map<string, Part>();
  for (const part of parts) {
    if (byId.has(part.id)) problems.push({ ...placed(part, 0, files), message: `the id \`${part.id}\` is used twice` });
    byId.set(part.id, part);
  }
  const answer = validate({
    schema: SCHEMA,
    policies: { staticPolicies: Object.fromEntries(parts.map((it) => [it.id, it.text])) },
    validationSettings: { mode: "strict" },
  });
  if (answer.type === "failure") {
    problems.push(...answer.errors.map((it) => ({ file: "(bundle)", message: it.message })));
  } else {
    for (const { policyId, error } of [...answer.validationErrors, ...answer.validationWarnings]) {
      const part = byId.get(policyId);
      if (part) problems.push({ ...placed(part, error.sourceLocations?.[0]?.start ?? 0, files), ...worded(error) });
    }
    problems.push(...answer.otherWarnings.map((it) => ({ file: "(bundle)", ...worded(it) })));
  }
  return { parts, problems };
}

function split(file: CedarFile, problems: Problem[]): Part[] {
  const { name, text } = file;
  const checked = checkParsePolicySet({ staticPolicies: text });
  const pieces = policySetTextToParts(text);
  if (checked.type === "failure" || pieces.type === "failure") {
    const errors = checked.type === "failure" ? checked.errors : pieces.type === "failure" ? pieces.errors : [];
    problems.push(...errors.map((it) => ({ ...placeIn(file, 0, it.sourceLocations?.[0]?.start ?? 0), ...worded(it) })));
    return [];
  }
  if (pieces.policy_templates.length > 0) {
    problems.push({ file: name, message: "templates are not supported", fix: "write the policy out" });
  }
  let from = 0;
  return inOrder(text, pieces.policies).map((piece, index) => {
    const offset = text.indexOf(piece, from);
    from = offset + piece.length;
    return part(file, piece, offset, index, problems);
  });
}

/** Cedar answers in no promised order. Pieces are slices of the text, so that each is found where it stands. */
function inOrder(text: string, pieces: readonly string[]): string[] {
  return pieces.toSorted((a, b) => text.indexOf(a) - text.indexOf(b));
}

function part(file: CedarFile, text: string, offset: number, index: number, problems: Problem[]): Part {
  const json = policyToJson(text);
  const { effect, annotations = {} } = json.type === "success" ? json.json : { effect: "forbid" as const };
  for (const name of Object.keys(annotations).filter((it) => !ANNOTATIONS.has(it))) {
    problems.push({
      ...placeIn(file, offset, 0),
      message: `the annotation \`@${name}\` is unknown`,
      fix: "use `@id` and `@reason`",
    });
  }
  const id = `${file.name}#${annotations["id"] ?? index}`;
  const reason = annotations["reason"];
  if (effect === "forbid" && !reason) {
    problems.push({
      ...placeIn(file, offset, 0),
      message: "a forbid has no reason",
      fix: 'write `@reason("…")` above it: people and models read it when they are refused',
    });
  }
  const envs = getValidRequestEnvsPolicy(text, SCHEMA);
  const actions = new Set(envs.type === "success" ? envs.actions.map(actionName) : []);
  const { line } = placeAt(file.text, offset);
  return { id, effect, ...(reason ? { reason } : {}), file: file.name, line, actions, text, offset };
}

/** `Glovebox::Action::"exec"` → `exec`. */
function actionName(uid: string): string {
  return uid.slice(uid.indexOf('"') + 1, -1);
}

function placed(part: Part, byteOffset: number, files: readonly CedarFile[]) {
  const file = files.find((it) => it.name === part.file) ?? { name: part.file, text: part.text };
  return placeIn(file, part.offset, byteOffset);
}

/** Cedar counts bytes of UTF-8 from the beginning of what it was given. */
function placeIn({ name, text }: CedarFile, offset: number, byteOffset: number) {
  const within = Buffer.from(text.slice(offset)).subarray(0, byteOffset).toString().length;
  return { file: name, ...placeAt(text, offset + within) };
}

function worded({ message, help, related }: DetailedError): { message: string; fix?: string } {
  const more = (related ?? []).map((it) => it.message);
  return { message: [message, ...more].join("; "), ...(help ? { fix: help } : {}) };
}
