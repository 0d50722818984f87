import { type LockedSkill, type PinState, pinStateOf } from "./lock.ts";
import { type ReviewedFile, reviewFiles, textsOf } from "./review-files.ts";
import { type HiddenCharacter, type HiddenComment, hiddenCharacters, hiddenComments } from "./review-text.ts";
import type { Needs, OutputShape, Parameter, Skill, SkillCapability, Step, Template } from "./skill.ts";
import { packageText, templateText } from "./written.ts";

/** What somebody must look at before a skill is locked. */
export interface Review extends LockedSkill {
  readonly state: PinState;
  /** What was reviewed before under this name. */
  readonly locked?: LockedSkill;
  readonly capabilities: readonly ReviewedCapability[];
  readonly freeText: readonly FreeText[];
  readonly files: readonly ReviewedFile[];
  readonly hidden: readonly HiddenCharacter[];
  readonly comments: readonly HiddenComment[];
}

export interface ReviewedCapability {
  /** The tool, and the Cedar action. */
  readonly tool: string;
  readonly title: string;
  readonly readOnly: boolean;
  readonly destructive: boolean;
  readonly openWorld: boolean;
  readonly timeoutMs: number;
  readonly parameters: readonly Parameter[];
  readonly steps: readonly ReviewedStep[];
  readonly output: { readonly kind: OutputShape["kind"]; readonly paths: readonly string[] };
  readonly needs: Omit<Needs, "packages"> & { readonly packages: readonly string[] };
}

/** As it is written. */
export interface ReviewedStep {
  readonly argv: readonly { readonly text: string; readonly when?: string }[];
  readonly stdin?: string;
  readonly cwd?: string;
  readonly when?: string;
  readonly success: readonly number[];
}

/** Text of the caller's that becomes an argument, or a part of one. */
export interface FreeText {
  readonly tool: string;
  readonly parameter: string;
  /** Of characters: of each item, where there are several. */
  readonly maxLength: number;
  /** Nothing but the length constrains it when absent. */
  readonly pattern?: string;
  /** As they are written. */
  readonly arguments: readonly string[];
}

/** @param locked what the lock has under the skill's name */
export function reviewOf(skill: Skill, locked?: LockedSkill): Review {
  const { name, version, digest, files } = skill;
  const texts = textsOf(files);
  return {
    name,
    version,
    digest,
    state: pinStateOf(skill, locked),
    ...(locked && { locked }),
    capabilities: skill.capabilities.map((it) => reviewCapability(toolOf(skill, it), it)),
    freeText: skill.capabilities.flatMap((it) => freeTextOf(toolOf(skill, it), it)),
    files: reviewFiles(files),
    hidden: hiddenCharacters(skill, texts),
    comments: hiddenComments(texts),
  };
}

function reviewCapability(tool: string, capability: SkillCapability): ReviewedCapability {
  const { title, readOnly, destructive, openWorld, timeoutMs, parameters, needs } = capability;
  return {
    tool,
    title,
    readOnly,
    destructive,
    openWorld,
    timeoutMs,
    parameters,
    steps: capability.steps.map(reviewStep),
    output: { kind: capability.output.kind, paths: outputPaths(capability.output).map(templateText) },
    needs: { ...needs, packages: needs.packages.map(packageText) },
  };
}

function reviewStep({ argv, stdin, cwd, when, success }: Step): ReviewedStep {
  return {
    argv: argv.map((it) => ({ text: templateText(it.template), ...(it.when !== undefined && { when: it.when }) })),
    ...(stdin && { stdin: templateText(stdin) }),
    ...(cwd && { cwd: templateText(cwd) }),
    ...(when !== undefined && { when }),
    success,
  };
}

function outputPaths(output: OutputShape): readonly Template[] {
  if (output.kind === "image") return [output.path];
  return output.kind === "files" ? output.paths : [];
}

function freeTextOf(tool: string, { parameters, steps }: SkillCapability): readonly FreeText[] {
  const templates = steps.flatMap(({ argv }) => argv.map((it) => it.template));
  return parameters.flatMap(({ name, type }) => {
    if (type.kind !== "string" && type.kind !== "strings") return [];
    const reached = templates.filter((it) => it.some((part) => "parameter" in part && part.parameter === name));
    if (reached.length === 0) return [];
    const pattern = type.kind === "string" && type.pattern !== undefined ? { pattern: type.pattern } : {};
    return [{ tool, parameter: name, maxLength: type.maxLength, ...pattern, arguments: reached.map(templateText) }];
  });
}

function toolOf({ name }: Skill, capability: SkillCapability): string {
  return `${name}_${capability.name}`;
}
