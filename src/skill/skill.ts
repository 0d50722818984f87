import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";

/** A skill as its folder says it, read once and never again: what was looked at is what runs. */
export interface Skill {
  /** As the Agent Skills format has it: a-z, 0-9 and single hyphens, at most 64; the folder's name. */
  readonly name: string;
  /** At most 1,024 characters. */
  readonly description: string;
  /** Semantic version. */
  readonly version: string;
  readonly license?: string;
  readonly compatibility?: string;
  /** The body of SKILL.md, for the model. */
  readonly instructions: string;
  /** `sha256:` and 64 hexadecimal digits, over all its files: `digestOf`. */
  readonly digest: string;
  /** All of it, SKILL.md and capabilities.yaml too, by path relative to the folder, `/`-separated, sorted. */
  readonly files: ReadonlyMap<string, SkillFile>;
  readonly capabilities: readonly SkillCapability[];
}

export interface SkillFile {
  readonly content: Buffer;
  readonly executable: boolean;
}

/** One typed action of a skill. */
export interface SkillCapability {
  /** camelCase; with the skill's name it makes the tool's and the Cedar action's: `git-repo_clone`. */
  readonly name: string;
  readonly title: string;
  /** For a model. */
  readonly description: string;
  /** Requests in plain words that mean this. */
  readonly examples: readonly string[];
  readonly readOnly: boolean;
  readonly destructive: boolean;
  /** Whether it reaches beyond the sandbox. */
  readonly openWorld: boolean;
  readonly parameters: readonly Parameter[];
  readonly steps: readonly Step[];
  readonly output: OutputShape;
  readonly needs: Needs;
  /** Of all steps together; the profile may say less. */
  readonly timeoutMs: number;
}

/** What a parameter may be. Each has one form as text, which is what an argument gets (`fill`). */
export type ParameterType =
  /** Text without NUL and lone surrogates. */
  | {
      readonly kind: "string";
      readonly minLength: number;
      readonly maxLength: number;
      /** ECMAScript, with the flag `u`; matched against the whole text. */
      readonly pattern?: string;
    }
  | { readonly kind: "enum"; readonly values: readonly string[] }
  /** A path in the sandbox; relative ones are below /workspace. Its text, and its fact, is the normalised absolute path. */
  | { readonly kind: "path" }
  /** A host's name or address in its one spelling, with a port where the text has one. */
  | { readonly kind: "host" }
  /** `https:` or `http:`, without user, password and fragment, as WHATWG's parser writes it. */
  | { readonly kind: "url" }
  | { readonly kind: "integer"; readonly minimum: number; readonly maximum: number }
  | { readonly kind: "boolean" }
  /** Its text is JSON: `["a","b"]`. */
  | { readonly kind: "strings"; readonly maxItems: number; readonly maxLength: number };

export interface Parameter {
  /** camelCase. */
  readonly name: string;
  readonly description: string;
  readonly type: ParameterType;
  readonly required: boolean;
  readonly default?: string | number | boolean | readonly string[];
}

/** A program that is run without a shell. What is in an argument's place stays one argument, whatever its value. */
export interface Step {
  readonly argv: readonly Argument[];
  /** Of the standard input; nothing when absent. */
  readonly stdin?: Template;
  /** A parameter: the step is left out where it is not given, or is false. */
  readonly when?: string;
  /** The working directory; /workspace when absent. */
  readonly cwd?: Template;
  /** Exit codes that are no failure. */
  readonly success: readonly number[];
}

export interface Argument {
  readonly template: Template;
  /** A parameter: the argument is left out where it is not given, or is false. */
  readonly when?: string;
}

/** Literal text and places for values. */
export type Template = readonly (
  | { readonly text: string }
  | { readonly parameter: string }
  /** Where the skill's files are in the sandbox. */
  | { readonly builtin: "skill" }
)[];

export type OutputShape =
  /** What the last step writes to its standard output. */
  | { readonly kind: "text" }
  /** The same, which must be JSON. */
  | { readonly kind: "json" }
  /** A picture that a step has written. */
  | { readonly kind: "image"; readonly path: Template }
  /** Files that a step has written. */
  | { readonly kind: "files"; readonly paths: readonly Template[] };

/** What it can't work without, or not fully. Policy gives it, or it is missing; a skill never adds to what policy gives. */
export interface Needs {
  /** Programs of the guest image. */
  readonly programs: readonly string[];
  /** Installed before the first use, from where policy permits. */
  readonly packages: readonly { readonly ecosystem: EcosystemName; readonly name: string; readonly version?: string }[];
  /** As `egress.allow` of a profile has them: `api.example.org`, `api.example.org:8443`. */
  readonly hosts: readonly string[];
  /** Whose host a parameter names: `git-repo` can only say which when it is called. */
  readonly hostsOf: readonly string[];
  /** Names of secrets of the profile. */
  readonly secrets: readonly string[];
  readonly memoryMiB?: number;
}
