import { resolve } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { grantsOf } from "../egress/gate.ts";
import { printable } from "../lib/text.ts";
import { type Bundle, problemText } from "../policy/bundle.ts";

import { alone } from "../policy/decide.ts";
import type { LoadPorts } from "../policy/load.ts";
import { checkBundle } from "../policy/load.ts";
import { answer, NO_ANSWER } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";
import { addDiff } from "./policy-diff.ts";
import { addEffective } from "./policy-effective.ts";
import { addExplain } from "./policy-explain.ts";
import { addFetch } from "./policy-fetch.ts";
import { addKeygen } from "./policy-keygen.ts";
import { addLearn } from "./policy-learn.ts";
import { addNew } from "./policy-new.ts";
import { addSign } from "./policy-sign.ts";
import { addSimulate } from "./policy-simulate.ts";
import { addUnenrol } from "./policy-unenrol.ts";
import { addVerify } from "./policy-verify.ts";

interface Options {
  readonly json?: boolean;
}

/** `glovebox policy …`. */
export function policyCommand(context: PolicyContext): Command {
  const command = new Command("policy")
    .description("check, test and question policy bundles")
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : NO_ANSWER))
    .addHelpText(
      "after",
      `
A bundle is a folder of *.cedar files with bundle.yaml, profile.yaml and tests.yaml; docs/policy.md teaches it.
Exit codes: 0 valid or permitted, 1 not valid, denied or to be asked, 2 the question could not be answered.

Examples:
  $ glovebox policy check policies/default
  $ glovebox policy test policies/default --json
  $ glovebox policy explain policies/locked-down exec '{"argv": ["git", "push"]}'
  $ glovebox policy explain policies/default writeFile '{"path": "/etc/hosts", "content": ""}'`,
    );
  command
    .command("check")
    .argument("<bundle>", "folder of the bundle")
    .description("validate a bundle and run its tests; every problem is named with file, line and column")
    .option("--json", "print the result as JSON")
    .action((directory: string, options: Options) =>
      answer(async () => check(directory, options, await context.load(), false)),
    );
  command
    .command("test")
    .argument("<bundle>", "folder of the bundle")
    .description("the same, listing every test")
    .option("--json", "print the result as JSON")
    .action((directory: string, options: Options) =>
      answer(async () => check(directory, options, await context.load(), true)),
    );
  addExplain(command, context);
  addSimulate(command, context);
  addKeygen(command);
  addSign(command, context);
  addVerify(command);
  addFetch(command, context);
  addLearn(command, context);
  addDiff(command, context);
  addNew(command, context);
  addEffective(command, context);
  addUnenrol(command, context);
  return command;
}

async function check(directory: string, { json }: Options, context: LoadPorts, list: boolean): Promise<boolean> {
  const checked = await checkBundle(resolve(directory), context);
  const { tests } = checked.valid ? checked.bundle : checked;
  const problems = checked.valid ? [] : checked.problems;
  if (json) {
    const known = checked.valid ? knownOf(checked.bundle) : {};
    console.log(JSON.stringify({ valid: checked.valid, ...known, problems, tests }, null, 2));
    return checked.valid;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  for (const { name, passed } of list ? tests : []) {
    console.log(`${passed ? colour.green("passed") : colour.red("failed")} ${printable(name)}`);
  }
  if (checked.valid) {
    const { identity, policies } = checked.bundle;
    const { name, version, digest } = identity;
    console.log(`${name} ${version} is valid: ${policies.size} policies, ${tests.length} tests passed`);
    console.log(colour.dim(digest));
    const hosts = grantsOf(alone(checked.bundle, directory));
    console.log(`the sandbox may reach ${hosts.length === 0 ? "nothing" : printable(hosts.join(", "), 4_096)}`);
    const allowed = checked.bundle.profile.packages?.allow.map((it) => it.text) ?? [];
    if (allowed.length > 0)
      console.log(`packages: ${printable(allowed.join(", "), 4_096)}, as far as the other rules go`);
    return true;
  }
  for (const problem of problems) console.log(printable(problemText(problem)));
  console.log(colour.red(problems.length === 1 ? "not valid: 1 problem" : `not valid: ${problems.length} problems`));
  return false;
}

function knownOf(bundle: Bundle) {
  return { ...bundle.identity, policies: [...bundle.policies.keys()], hosts: grantsOf(alone(bundle, "")) };
}
