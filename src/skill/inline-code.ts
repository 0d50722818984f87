import { runsOthers } from "../policy/shell/programs.ts";
import type { Argument, Template } from "./skill.ts";

/** What is wrong with an argument of a step; without an index, with its standard input. */
export interface CodeProblem {
  readonly index?: number;
  readonly message: string;
  readonly fix: string;
}

/** A program that runs what an option, an argument or its input holds. */
interface Interpreter {
  readonly options: RegExp;
  /** What comes after its program, in a file or an option, is that program's own, and without either it reads a program from its input. */
  readonly scripts?: true;
  /** Its first argument that is no option is a program too. */
  readonly positional?: true;
  /** Subcommands of which the short options mean something else. */
  readonly not?: RegExp;
}

const NODE = /^(?:-\w*[epr]|--(?:eval|print|require|import|loader|experimental-loader))/;
const EDITOR = { options: /^(?:-\w*[ef]|--(?:expression|source|file|load|include))/, positional: true } as const;

/** By name without a version. No list of what is harmless: whoever names a program lets it do all that it can. */
const INTERPRETERS: ReadonlyMap<string, Interpreter> = new Map<string, Interpreter>([
  ...["python", "pypy"].map((it) => [it, { options: /^-\w*[cm]/, scripts: true }] as const),
  ...["node", "nodejs", "bun", "tsx"].map((it) => [it, { options: NODE, scripts: true }] as const),
  ["perl", { options: /^-\w*[eEmMx]/, scripts: true }],
  ["ruby", { options: /^-\w*[er]/, scripts: true }],
  ["php", { options: /^(?:-\w*[rBRE]|--(?:run|process-))/, scripts: true }],
  ...["lua", "luajit"].map((it) => [it, { options: /^-\w*[el]/, scripts: true }] as const),
  ["Rscript", { options: /^-e/, scripts: true }],
  ...["awk", "gawk", "mawk", "nawk", "sed"].map((it) => [it, EDITOR] as const),
  ["find", { options: /^-(?:exec|ok)/ }],
  ["git", { options: /^(?:-c|--(?:config|exec|upload-pack|receive-pack|extcmd))/, not: /^(?:switch|commit)$/ }],
  ["tar", { options: /^(?:-\w*[IF]|--(?:to-c|checkpoint-a|use-c|rsh|info-s|new-v))/ }],
  ["rsync", { options: /^(?:-\w*e|--(?:rsh|rsync-path))/ }],
  ["sort", { options: /^--co/ }],
  ["rg", { options: /^--(?:pre|hostname-bin)/ }],
]);

/**
 * Whether a parameter could be run as a program: none is a program's name, none is the code of an interpreter, and there is no shell, which
 * would take its whole argument for code.
 */
export function codeProblems(argv: readonly Argument[], stdin: Template | undefined): readonly CodeProblem[] {
  const [first, ...rest] = argv;
  if (!first) return [];
  const name = programName(first);
  if (first.when !== undefined) {
    return [{ index: 0, message: "the program may be left out", fix: "put `when` beside the step's `argv`" }];
  }
  if (name === undefined) {
    const fix = "name a program, e.g. `python3`, or a file of the skill, `{skill}/scripts/…`";
    return [{ index: 0, message: "the program is not literal, or lies where it is not known to be", fix }];
  }
  if (name === "env") return shifted(afterAssignments(rest, stdin), 1);
  const plain = name.replace(/-?\d[\d.]*$/, "");
  if (runsOthers(name) || runsOthers(plain)) {
    const message = `\`${name}\` is a shell, or runs what its arguments name`;
    return [{ index: 0, message, fix: "name the program itself; for several, write several steps" }];
  }
  const interpreter = INTERPRETERS.get(plain);
  if (!interpreter) return [];
  const problems = interpreted(interpreter, name, rest, stdin);
  return shifted(problems, 1);
}

/** Undefined for what is no literal, and for a path that the working directory would change. */
function programName({ template }: Argument): string | undefined {
  const [first, second, ...more] = template;
  const inSkill = first !== undefined && "builtin" in first;
  const piece = inSkill ? second : first;
  if (!piece || !("text" in piece) || more.length > 0 || (!inSkill && second)) return undefined;
  const { text } = piece;
  if (
    inSkill
      ? !/^(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)+$/.test(text)
      : !/^(?:\/[^\s]*\/)?[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(text)
  ) {
    return undefined;
  }
  return text.slice(text.lastIndexOf("/") + 1);
}

/** `env NAME=value program …`, all literal: a variable can say what a program runs. */
function afterAssignments(argv: readonly Argument[], stdin: Template | undefined): readonly CodeProblem[] {
  const [first, ...rest] = argv;
  if (!first) return [{ index: -1, message: "`env` has no program", fix: "name one" }];
  const text = literalOf(first);
  if (text !== undefined && /^[A-Za-z_]\w*=/.test(text)) return shifted(afterAssignments(rest, stdin), 1);
  return codeProblems(argv, stdin);
}

function interpreted(
  { options, scripts, positional, not }: Interpreter,
  name: string,
  argv: readonly Argument[],
  stdin: Template | undefined,
): readonly CodeProblem[] {
  const code = (index: number): CodeProblem => ({
    index,
    message: `a parameter would be a part of the program that \`${name}\` runs`,
    fix: "put the program into a file of the skill, and give it the value as an argument of its own",
  });
  let hasProgram = false;
  let seesOptions = true;
  for (const [index, it] of argv.entries()) {
    const lead = leadOf(it.template);
    if (scripts && (lead === "-" || lead === "/dev/stdin")) break;
    if (scripts && isScript(it.template)) return [];
    if (lead === "--") seesOptions = false;
    if (seesOptions && not?.test(lead)) return [];
    if (seesOptions && options.test(lead)) {
      hasProgram = true;
      const found = [index, ...valuesAfter(argv, index)].filter((at) => holdsParameter(argv[at]?.template));
      if (found.length > 0) return found.map(code);
      if (name === "find") {
        const run = codeProblems(argv.slice(index + 1), undefined);
        if (run.length > 0) return shifted(run, index + 1);
      }
      // What follows belongs to the code.
      if (scripts && /^-\w*[cm]$/.test(lead) && it.when === undefined) return [];
    } else if (positional && !hasProgram && (!lead.startsWith("-") || lead === "-")) {
      if (holdsParameter(it.template)) return [code(index)];
      hasProgram ||= it.when === undefined;
    }
  }
  if (!scripts || hasProgram || !holdsParameter(stdin)) return [];
  const fix = "put the program into a file of the skill, and read the value from standard input there";
  return [{ message: `\`${name}\` would run its standard input, which holds a parameter`, fix }];
}

/** What may be the value of the option at an index: the next argument, and where that may be left out the one after it. */
function valuesAfter(argv: readonly Argument[], index: number): readonly number[] {
  const next = index + 1;
  if (next >= argv.length) return [];
  return argv[next]?.when === undefined ? [next] : [next, ...valuesAfter(argv, next)];
}

/** A file that is run: one of the skill's, or what is written like one. */
function isScript([first]: Template): boolean {
  if (!first) return false;
  if ("builtin" in first) return true;
  return "text" in first && !first.text.startsWith("-") && /\/|\.(?:py|[cm]?[jt]s|pl|rb|php|lua|R)$/.test(first.text);
}

function leadOf([first]: Template): string {
  return first && "text" in first ? first.text : "";
}

function literalOf({ template, when }: Argument): string | undefined {
  return template.length === 1 && when === undefined ? leadOf(template) : undefined;
}

function holdsParameter(template: Template | undefined): boolean {
  return template?.some((it) => "parameter" in it) ?? false;
}

function shifted(problems: readonly CodeProblem[], by: number): readonly CodeProblem[] {
  return problems.map((it) => (it.index === undefined ? it : { ...it, index: it.index + by }));
}
