import type { CallContext } from "../capability/capability.ts";
import { WORKSPACE } from "../capability/fields.ts";
import { runToEnd } from "../capability/run-to-end.ts";
import type { Process } from "../session/process.ts";
import type { Session } from "../session/session.ts";
import type { Values } from "./parameters.ts";
import type { Place } from "./place.ts";
import type { SkillCapability, Step } from "./skill.ts";
import { argvOf, fill } from "./template.ts";

/** The last step that was run, and whether it is the last of all and has succeeded. */
export interface Ran {
  readonly process: Process | undefined;
  /** Of the step that failed, from 1. */
  readonly failed?: number;
}

/**
 * Runs a capability's steps until one fails; all of them within `timeoutMs`. When the call is cancelled, so is the step that runs.
 * @throws GatewayError PROGRAM_NOT_FOUND, INVALID_ARGUMENTS, and what starting a program throws
 */
export async function runSteps(
  { steps }: Pick<SkillCapability, "steps">,
  values: Values,
  { place, session, timeoutMs, context }: { place: Place; session: Session; timeoutMs: number; context: CallContext },
): Promise<Ran> {
  const dueMs = performance.now() + timeoutMs;
  let process: Process | undefined;
  for (const [index, step] of steps.entries()) {
    const leftMs = Math.max(1, Math.ceil(dueMs - performance.now()));
    const next = await runStep(step, values, { place, session, timeoutMs: leftMs, context });
    if (!next) continue;
    process = next;
    const { endedBy, exitCode } = process.end ?? {};
    const succeeded = endedBy === "exit" && exitCode !== undefined && step.success.includes(exitCode);
    if (!succeeded) return { process, failed: index + 1 };
  }
  return { process };
}

async function runStep(
  step: Step,
  values: Values,
  { place, session, timeoutMs, context }: { place: Place; session: Session; timeoutMs: number; context: CallContext },
): Promise<Process | undefined> {
  const builtins = { skill: place.directory };
  const [program, ...rest] = argvOf(step, values, builtins) ?? [];
  if (program === undefined) return undefined;
  const argv = [program === "python3" && place.python !== undefined ? place.python : program, ...rest] as const;
  const spec = {
    argv,
    cwd: step.cwd ? fill(step.cwd, values, builtins) : WORKSPACE,
    env: {},
    ...(step.stdin && { stdin: Buffer.from(fill(step.stdin, values, builtins)) }),
    keepStdinOpen: false,
    timeoutMs,
  };
  return await runToEnd(spec, "the skill names it", session, context);
}
