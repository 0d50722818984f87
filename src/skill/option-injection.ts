import { mayBeginWithDash, wholeText } from "./pattern.ts";
import type { Argument, Parameter, ParameterType } from "./skill.ts";

type Parameters = ReadonlyMap<string, Parameter>;

/**
 * Whether a value could become an option of the program: an argument that begins with it, or whose option's name it goes on. After a literal `--`
 * programs take no options. A condition on the `--` would leave it out.
 * @returns what is wrong with the argument at `index`, and what to do; undefined when nothing is
 */
export function optionProblem(
  argv: readonly Argument[],
  index: number,
  parameters: Parameters,
): { readonly message: string; readonly fix: string } | undefined {
  const argument = argv[index];
  if (!argument || argv.slice(0, index).some(isEndOfOptions)) return undefined;
  const name = becomesOption(argument, parameters) ?? extendsOption(argument, parameters);
  if (name === undefined) return undefined;
  return {
    message: `a value of \`${name}\` could become an option of the program`,
    fix: `put a literal argument \`--\` before it, write \`--option={${name}}\`, or give \`${name}\` a pattern that begins with a character or a class without \`-\`, e.g. \`[A-Za-z0-9]\``,
  };
}

function isEndOfOptions({ template, when }: Argument): boolean {
  const [only, ...more] = template;
  return when === undefined && more.length === 0 && only !== undefined && "text" in only && only.text === "--";
}

/** The parameter whose value may be, or leave, a `-` at the beginning. */
function becomesOption({ template }: Argument, parameters: Parameters): string | undefined {
  let emptied: string | undefined;
  for (const piece of template) {
    if ("builtin" in piece) return undefined;
    if ("text" in piece) return piece.text.startsWith("-") ? emptied : undefined;
    const type = parameters.get(piece.parameter)?.type;
    if (!type) return undefined;
    if (valueMayBeginWithDash(type)) return piece.parameter;
    if (!mayBeEmpty(type)) return undefined;
    emptied ??= piece.parameter;
  }
  return undefined;
}

/** The parameter that goes on where the name of an option has not ended: `-{x}`, `--{x}`, `-v{x}`. */
function extendsOption({ template }: Argument, parameters: Parameters): string | undefined {
  const [first, ...rest] = template;
  if (!first || !("text" in first) || !first.text.startsWith("-") || first.text.includes("=")) return undefined;
  for (const piece of rest) {
    if ("text" in piece && piece.text.includes("=")) return undefined;
    if (!("parameter" in piece)) continue;
    const kind = parameters.get(piece.parameter)?.type.kind;
    // The author knows these values, or how they begin.
    if (kind !== undefined && !/^(?:enum|integer|boolean|path)$/.test(kind)) return piece.parameter;
  }
  return undefined;
}

function valueMayBeginWithDash(type: ParameterType): boolean {
  switch (type.kind) {
    case "string":
      return type.pattern === undefined || mayBeginWithDash(type.pattern);
    case "enum":
      return type.values.some((it) => it.startsWith("-"));
    case "integer":
      return type.minimum < 0;
    case "path":
    case "host":
    case "url":
    case "boolean":
    case "strings":
      return false;
  }
}

function mayBeEmpty(type: ParameterType): boolean {
  if (type.kind !== "string" || type.minLength > 0) return false;
  return type.pattern === undefined || wholeText(type.pattern).test("");
}
