import { posix } from "node:path";
import type { StatedCapability, StatedOutput, StatedStep } from "./definition-schema.ts";
import { codeProblems } from "./inline-code.ts";
import { optionProblem } from "./option-injection.ts";
import type { SkillFiles } from "./read-files.ts";
import type { Argument, OutputShape, Parameter, Step, Template } from "./skill.ts";
import { listed, type Tell } from "./tell.ts";
import { parseTemplate } from "./template.ts";

type Path = readonly PropertyKey[];

interface Work {
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly files: SkillFiles;
  readonly tell: Tell;
  /** Parameters that something has been made of. */
  readonly used: Set<string>;
}

/** What runs and what comes of it. Tells of everything that is wrong, and of parameters that nothing is made of. */
export function readRun(
  { steps, output }: Pick<StatedCapability, "steps" | "output">,
  parameters: readonly Parameter[],
  files: SkillFiles,
  at: Path,
  tell: Tell,
): { readonly steps: readonly Step[]; readonly output: OutputShape } {
  const used = new Set<string>();
  const work: Work = { parameters: new Map(parameters.map((it) => [it.name, it])), files, tell, used };
  const run = {
    steps: steps.map((it, index) => readStep(it, [...at, "steps", index], work)),
    output: readOutput(output, [...at, "output"], work),
  };
  for (const { name } of parameters) {
    if (used.has(name)) continue;
    tell([...at, "parameters", "properties", name], `nothing is made of \`${name}\``, "use it in a step, or remove it");
  }
  return run;
}

function readStep({ argv, stdin, cwd, success, when }: StatedStep, at: Path, work: Work): Step {
  checkCondition(when, [...at, "when"], work);
  const read = argv.map((it, index): Argument => {
    const here = [...at, "argv", index];
    checkCondition(it.when, here, work);
    const template = readTemplate(it.arg, here, [when, it.when], work);
    return it.when === undefined ? { template } : { template, when: it.when };
  });
  const step: Step = {
    argv: read,
    success,
    ...(stdin === undefined ? {} : { stdin: readTemplate(stdin, [...at, "stdin"], [when], work) }),
    ...(cwd === undefined ? {} : { cwd: readDirectory(cwd, [...at, "cwd"], when, work) }),
    ...(when === undefined ? {} : { when }),
  };
  checkArguments(step, at, work);
  return step;
}

function checkArguments({ argv, stdin }: Step, at: Path, { parameters, files, tell }: Work): void {
  for (const { index, message, fix } of codeProblems(argv, stdin)) {
    tell(index === undefined ? [...at, "stdin"] : [...at, "argv", index], message, fix);
  }
  const own = ownFile(argv[0]?.template ?? []);
  if (own !== undefined && files.get(own)?.executable === false) {
    tell([...at, "argv", 0], `\`${own}\` is not executable`, `chmod +x ${own}`);
  }
  for (const index of argv.keys()) {
    // The program itself is literal, or told of above.
    const problem = index === 0 ? undefined : optionProblem(argv, index, parameters);
    if (problem) tell([...at, "argv", index], problem.message, problem.fix);
  }
}

/** @param conditions under which it is used at all */
function readTemplate(text: string, at: Path, conditions: readonly (string | undefined)[], work: Work): Template {
  const read = parseTemplate(text);
  if ("problem" in read) {
    work.tell(at, `\`${text}\` ${read.problem}`, read.fix);
    return [];
  }
  for (const piece of read.template) {
    if ("parameter" in piece) checkUse(piece.parameter, at, conditions, work);
  }
  checkFile(read.template, at, work);
  return read.template;
}

function checkUse(name: string, at: Path, conditions: readonly (string | undefined)[], work: Work): void {
  const { parameters, tell, used } = work;
  const parameter = parameters.get(name);
  if (!parameter) {
    tell(at, `\`{${name}}\` is no parameter`, knownNames(work));
    return;
  }
  used.add(name);
  if (isAlwaysGiven(parameter) || conditions.includes(name)) return;
  tell(
    at,
    `\`${name}\` may not be given`,
    `write \`{ arg: …, when: ${name} }\`, or make it required, or give it a default`,
  );
}

function checkCondition(name: string | undefined, at: Path, work: Work): void {
  if (name === undefined) return;
  const parameter = work.parameters.get(name);
  if (!parameter) {
    work.tell(at, `\`when\` names \`${name}\`, which is no parameter`, knownNames(work));
    return;
  }
  work.used.add(name);
  if (!isAlwaysGiven(parameter) || parameter.type.kind === "boolean") return;
  work.tell(at, `\`when\` names \`${name}\`, which is always given`, "name a boolean or an optional parameter");
}

function knownNames({ parameters }: Work): string {
  const names = [...parameters.keys()];
  return names.length === 0 ? "state it at `parameters`, or write `{{` for a brace" : `there are ${listed(names)}`;
}

function isAlwaysGiven(parameter: Parameter): boolean {
  return parameter.required || parameter.default !== undefined;
}

/** What is literally a file of the skill, or a folder, is there. */
function checkFile(template: Template, at: Path, { files, tell }: Work): void {
  const path = ownFile(template);
  if (path === undefined || [...files.keys()].some((it) => it === path || it.startsWith(`${path}/`))) return;
  tell(at, `the skill has no \`${path}\``, "correct the path, or add the file");
}

/** The path that `{skill}/…` names, when it is literal. */
function ownFile([first, second, ...more]: Template): string | undefined {
  if (!first || !("builtin" in first) || !second || !("text" in second) || more.length > 0) return undefined;
  return second.text.replace(/^\//, "");
}

function readDirectory(text: string, at: Path, when: string | undefined, work: Work): Template {
  const template = readTemplate(text, at, [when], work);
  const [only, ...more] = template;
  if (!only || (more.length === 0 && (isPath(only, work) || ("text" in only && isPlainPath(only.text)))))
    return template;
  work.tell(at, "the working directory is no path", "name one parameter of format path, or an absolute path");
  return template;
}

function readOutput(output: StatedOutput, at: Path, work: Work): OutputShape {
  switch (output.kind) {
    case "text":
    case "json":
      return output;
    case "image":
      return { kind: "image", path: readFile(output.path, [...at, "path"], work) };
    case "files":
      return { kind: "files", paths: output.paths.map((it, index) => readFile(it, [...at, "paths", index], work)) };
  }
}

/** A file that is read where policy has been told of, or that the author names: no text of the call's leads elsewhere. */
function readFile(text: string, at: Path, work: Work): Template {
  const template = readTemplate(text, at, [], work);
  const [first, ...rest] = template;
  if (!first) return template;
  // Whatever the values, it is this path with other names in it.
  const sample = template.map((it) => ("text" in it ? it.text : isPath(it, work) ? "/x" : "x")).join("");
  const foreseen = rest.every((it) => "text" in it || isForeseen(it, work));
  if (("text" in first || isPath(first, work)) && foreseen && isPlainPath(sample)) return template;
  const fix =
    "write an absolute path, or begin with a parameter of format path; enums and integers may stand within it";
  work.tell(at, "the path of an output could lead elsewhere", fix);
  return template;
}

function isPath(piece: Template[number], { parameters }: Work): boolean {
  return "parameter" in piece && parameters.get(piece.parameter)?.type.kind === "path";
}

function isForeseen(piece: Template[number], { parameters }: Work): boolean {
  const kind = "parameter" in piece ? parameters.get(piece.parameter)?.type.kind : undefined;
  return kind === "enum" || kind === "integer" || kind === "boolean";
}

function isPlainPath(text: string): boolean {
  return text === "/" || (text.startsWith("/") && !text.endsWith("/") && posix.normalize(text) === text);
}
