import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { onTestFinished } from "vitest";
import { parse } from "yaml";

const SKILLS = resolve(import.meta.dirname, "../../skills");

/** How a program of a skill ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Argument = string | { readonly arg: string; readonly when: string };
type Value = string | number | boolean | readonly string[];
interface Stated {
  readonly capabilities: readonly {
    readonly name: string;
    readonly parameters: {
      readonly properties: Readonly<Record<string, { readonly format?: string; readonly default?: Value }>>;
    };
    readonly steps: readonly [{ readonly argv: readonly Argument[]; readonly stdin?: string; readonly cwd?: string }];
  }[];
}

export interface Place {
  /** What /workspace is here. */
  readonly workspace: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Other text for an argument as it is stated. */
  readonly replace?: Readonly<Record<string, string>>;
}

/** A directory of the test's own. */
export function scratch(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "glovebox-skill-")));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A capability of one step as `capabilities.yaml` states it, run on this computer. */
export function callCapability(
  skill: string,
  name: string,
  given: Readonly<Record<string, Value>>,
  { workspace, env = {}, replace = {} }: Place,
): Promise<Ended> {
  const stated = parse(readFileSync(join(SKILLS, skill, "capabilities.yaml"), "utf8")) as Stated;
  const capability = stated.capabilities.find((it) => it.name === name);
  if (capability === undefined) throw new Error(`${skill} has no ${name}`);
  const { properties } = capability.parameters;
  const unknown = Object.keys(given).filter((it) => !(it in properties));
  if (unknown.length > 0) throw new Error(`${name} has no ${unknown}`);
  const values = new Map<string, string>([["skill", join(SKILLS, skill)]]);
  for (const [parameter, { format, default: otherwise }] of Object.entries(properties)) {
    const value = given[parameter] ?? otherwise;
    if (value === undefined) continue;
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    values.set(parameter, format === "path" ? inside(workspace, text) : text);
  }
  const fill = (template: string) =>
    template.replace(/\{(\w+)\}/g, (_, it: string) => {
      const value = values.get(it);
      if (value === undefined) throw new Error(`${it} is used without when`);
      return value;
    });
  const [step] = capability.steps;
  const argv = step.argv.flatMap((it) => {
    if (typeof it === "string") return [fill(replace[it] ?? it)];
    return ["false", undefined].includes(values.get(it.when)) ? [] : [fill(it.arg)];
  });
  const cwd = step.cwd === undefined ? workspace : fill(step.cwd);
  return run(argv, { cwd, env, ...(step.stdin === undefined ? {} : { stdin: fill(step.stdin) }) });
}

/** A script with any arguments, past what `capabilities.yaml` lets through. */
export function runScript(skill: string, script: string, args: readonly string[], { workspace, env = {} }: Place) {
  return run(["python3", join(SKILLS, skill, "scripts", script), ...args], { cwd: workspace, env });
}

function inside(workspace: string, path: string): string {
  if (path === "/workspace" || path.startsWith("/workspace/")) return join(workspace, path.slice("/workspace".length));
  return isAbsolute(path) ? path : join(workspace, path);
}

async function run(
  argv: readonly string[],
  { cwd, env, stdin = "" }: { cwd: string; env: NodeJS.ProcessEnv; stdin?: string },
): Promise<Ended> {
  const [program = "", ...rest] = argv;
  const { PATH, TMPDIR } = process.env;
  const usual = { PATH, ...(TMPDIR ? { TMPDIR } : {}), LC_ALL: "C.UTF-8", PYTHONDONTWRITEBYTECODE: "1" };
  const child = spawn(program, rest, { cwd, env: { ...usual, ...env } });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  // It may end without reading.
  child.stdin.on("error", () => undefined).end(stdin);
  const { promise, resolve: ended, reject } = Promise.withResolvers<number | null>();
  child.on("error", reject).on("close", ended);
  return { code: await promise, ...output };
}
