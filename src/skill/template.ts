import { GatewayError } from "../errors.ts";
import type { Value, Values } from "./parameters.ts";
import type { Step, Template } from "./skill.ts";

/** What a template may name besides parameters. */
export interface Builtins {
  /** Where the skill's files are in the sandbox: an absolute path. */
  readonly skill: string;
}

/** The kernel takes no single argument longer than this, and no more than about this of all together. */
const MAX_ARGV_BYTES = 131_000;

const PIECE = /\{\{|\{([^{}]*)\}|\{|[^{]+/g;
const NAME = /^[a-z][A-Za-z0-9]*$/;

/** Reads `--file={path}`: `{name}` is a parameter's place, `{skill}` the skill's folder, `{{` a brace. Whether there is such a parameter is not asked. */
export function parseTemplate(
  text: string,
): { readonly template: Template } | { readonly problem: string; readonly fix: string } {
  const pieces: Template[number][] = [];
  for (const [piece, name] of text.matchAll(PIECE)) {
    if (name === undefined) {
      if (piece === "{") return { problem: "has a `{` without its `}`", fix: "write `{{` for a brace" };
      const literal = piece === "{{" ? "{" : piece;
      const last = pieces.at(-1);
      if (last && "text" in last) pieces[pieces.length - 1] = { text: last.text + literal };
      else pieces.push({ text: literal });
    } else if (!NAME.test(name)) {
      return {
        problem: `has a place \`{${name}}\` that names no parameter`,
        fix: "write `{name}`, and `{{` for a brace",
      };
    } else pieces.push(name === "skill" ? { builtin: "skill" } : { parameter: name });
  }
  return { template: pieces };
}

/** The one form that a value has as text. */
export function textOf(value: Value): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * Puts values in their places. What they hold is never looked at: a brace or a quote in a value is a brace or a quote.
 * @throws GatewayError INTERNAL when a value is missing, which a definition that was checked does not let happen
 */
export function fill(template: Template, values: Values, builtins: Builtins): string {
  return template
    .map((piece) => {
      if ("text" in piece) return piece.text;
      if ("builtin" in piece) return builtins[piece.builtin];
      const value = given(values, piece.parameter);
      if (value === undefined) throw new GatewayError("INTERNAL", `there is no value for \`${piece.parameter}\``);
      return textOf(value);
    })
    .join("");
}

/**
 * What a step runs: one argument for each template, but for those whose condition does not hold; undefined when the step's does not.
 * @throws GatewayError INVALID_ARGUMENTS when it is more than a program can be given
 */
export function argvOf(step: Step, values: Values, builtins: Builtins): readonly string[] | undefined {
  if (!holds(step.when, values)) return undefined;
  const argv = step.argv.filter((it) => holds(it.when, values)).map((it) => fill(it.template, values, builtins));
  const bytes = argv.reduce((sum, it) => sum + Buffer.byteLength(it) + 1, 0);
  if (bytes > MAX_ARGV_BYTES) {
    const message = `a program's arguments would come to ${bytes} bytes, and may to ${MAX_ARGV_BYTES}: give less`;
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  return argv;
}

/** Whether a parameter is given, and not false. */
function holds(when: string | undefined, values: Values): boolean {
  if (when === undefined) return true;
  const value = given(values, when);
  return value !== undefined && value !== false;
}

function given(values: Values, name: string): Value | undefined {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}
