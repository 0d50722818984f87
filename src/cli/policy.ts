import { resolve } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { evaluate } from "../policy/evaluate.ts";
import { loadBundle } from "../policy/load.ts";
import type { Describe } from "../policy/tests.ts";

export interface PolicyContext {
  readonly describe: Describe;
}

interface Options {
  readonly json?: boolean;
}

/** `glovebox policy check|test|explain`. */
export function policyCommand(context: PolicyContext): Command {
  const command = new Command("policy").description("check, test and question policy bundles").addHelpText(
    "after",
    `
A bundle is a folder of *.cedar files with bundle.yaml, profile.yaml and tests.yaml; docs/policy.md teaches it.

Examples:
  $ glovebox policy check policies/default
  $ glovebox policy explain policies/locked-down exec '{"argv": ["git", "push"]}'`,
  );
  command
    .command("check")
    .argument("<bundle>", "folder of the bundle")
    .description("validate a bundle and run its tests; exit code 1 names every problem with file and line")
    .option("--json", "print the result as JSON")
    .action((directory: string, options: Options) => check(directory, options, context, false));
  command
    .command("test")
    .argument("<bundle>", "folder of the bundle")
    .description("the same, listing every test")
    .option("--json", "print the result as JSON")
    .action((directory: string, options: Options) => check(directory, options, context, true));
  command
    .command("explain")
    .argument("<bundle>", "folder of the bundle")
    .argument("<tool>", "name of a tool, e.g. exec")
    .argument("[arguments]", "the call's arguments as JSON", "{}")
    .description("say what a bundle would decide of a call, and why; exit code 0 permits, 1 denies")
    .option("--json", "print the decision as JSON")
    .action((directory: string, tool: string, args: string, options: Options) =>
      explain(directory, tool, args, options, context),
    );
  return command;
}

async function check(directory: string, { json }: Options, { describe }: PolicyContext, list: boolean): Promise<void> {
  const { identity, policies, tests } = await loadBundle(resolve(directory), { describe });
  if (json) {
    console.log(JSON.stringify({ ...identity, policies: [...policies.keys()], tests }, null, 2));
    return;
  }
  const colour = pc.createColors(process.stdout.isTTY);
  if (list) for (const test of tests) console.log(`${colour.green("passed")} ${test.name}`);
  console.log(`${identity.name} ${identity.version} is valid: ${policies.size} policies, ${tests.length} tests passed`);
  console.log(colour.dim(identity.digest));
}

async function explain(directory: string, tool: string, text: string, { json }: Options, { describe }: PolicyContext) {
  const bundle = await loadBundle(resolve(directory), { describe });
  const principal = { id: "local:explain", client: { name: "glovebox policy explain", version: "1" } };
  const described = describe(tool, parsed(text), { ...principal, transport: "stdio" });
  if ("problem" in described) throw new GatewayError("INVALID_ARGUMENTS", described.problem);
  const decision = evaluate(bundle, described.request);
  if (decision.outcome !== "permit") process.exitCode = 1;
  if (json) {
    console.log(JSON.stringify({ request: described.request, decision }, null, 2));
    return;
  }
  const colour = pc.createColors(process.stdout.isTTY);
  console.log(decision.outcome === "permit" ? colour.green("permit") : colour.red("deny"));
  for (const { id, effect, reason } of decision.policies) {
    const { file = "", line = 0 } = bundle.policies.get(id) ?? {};
    console.log(`  ${effect} by ${id} (${file}:${line})${reason ? `: ${reason}` : ""}`);
  }
  if (decision.policies.length === 0) console.log("  no policy permits it, and what no policy permits is denied");
  for (const problem of decision.problems) console.log(`  ${problem}`);
  console.log(colour.dim(`facts: ${JSON.stringify(described.request.context)}`));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new GatewayError("INVALID_ARGUMENTS", `the arguments are not JSON: ${reason}`, { cause: error });
  }
}
