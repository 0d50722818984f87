import { resolve } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { grantsOf } from "../egress/gate.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { type Bundle, problemText } from "../policy/bundle.ts";
import { evaluate } from "../policy/evaluate.ts";
import { checkBundle, type LoadPorts, loadBundle } from "../policy/load.ts";
import type { Resource } from "../policy/request.ts";

export type PolicyContext = LoadPorts;

interface Options {
  readonly json?: boolean;
}

/** 1 is an answer (not valid, denied); whatever kept the question from being answered must not look like one. */
const NO_ANSWER = 2;

/** `glovebox policy check|test|explain`. */
export function policyCommand(context: PolicyContext): Command {
  const command = new Command("policy")
    .description("check, test and question policy bundles")
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : NO_ANSWER))
    .addHelpText(
      "after",
      `
A bundle is a folder of *.cedar files with bundle.yaml, profile.yaml and tests.yaml; docs/policy.md teaches it.
Exit codes: 0 valid or permitted, 1 not valid or denied, 2 the question could not be answered.

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
    .action((directory: string, options: Options) => answer(() => check(directory, options, context, false)));
  command
    .command("test")
    .argument("<bundle>", "folder of the bundle")
    .description("the same, listing every test")
    .option("--json", "print the result as JSON")
    .action((directory: string, options: Options) => answer(() => check(directory, options, context, true)));
  command
    .command("explain")
    .argument("<bundle>", "folder of the bundle")
    .argument("<tool>", "name of a tool, e.g. exec")
    .argument("[arguments]", "the call's arguments as JSON", "{}")
    .description("say what a bundle would decide of a call, and why; nothing is executed")
    .option("--json", "print the request and the decision as JSON")
    .action((directory: string, tool: string, args: string, options: Options) =>
      answer(() => explain(directory, tool, args, options, context)),
    );
  return command;
}

async function answer(work: () => Promise<boolean>): Promise<void> {
  try {
    process.exitCode = (await work()) ? 0 : 1;
  } catch (error) {
    const { code, message, fix } = asGatewayError(error);
    if (code === "INTERNAL") throw error;
    const colour = pc.createColors(process.stderr.isTTY === true);
    console.error(`${colour.red(code)}: ${printable(message, 100_000)}\n${colour.dim("What to do:")} ${fix}`);
    process.exitCode = NO_ANSWER;
  }
}

async function check(directory: string, { json }: Options, context: PolicyContext, list: boolean): Promise<boolean> {
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
    const hosts = grantsOf(checked.bundle);
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
  return { ...bundle.identity, policies: [...bundle.policies.keys()], hosts: grantsOf(bundle) };
}

async function explain(directory: string, tool: string, text: string, { json }: Options, context: PolicyContext) {
  const bundle = await loadBundle(resolve(directory), context);
  const principal = { id: "local:explain", client: { name: "glovebox policy explain", version: "1" } };
  const described = context.describe(tool, parsed(text), { ...principal, transport: "stdio" });
  if ("problem" in described) throw new GatewayError("INVALID_ARGUMENTS", described.problem);
  const { request } = described;
  const decision = evaluate(bundle, request);
  const permitted = decision.outcome === "permit";
  if (json) {
    console.log(JSON.stringify({ request, decision }, null, 2));
    return permitted;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  console.log(permitted ? colour.green("permit") : colour.red("deny"));
  for (const { id, effect, reason } of decision.policies) {
    const { file = "", line = 0 } = bundle.policies.get(id) ?? {};
    console.log(`  ${effect} by ${id} (${file}:${line})${reason ? `: ${printable(reason)}` : ""}`);
  }
  for (const problem of decision.problems) console.log(`  ${printable(problem)}`);
  if (decision.policies.length + decision.problems.length === 0) {
    console.log("  no policy permits it, and what no policy permits is denied");
  }
  const { resource } = request;
  console.log(colour.dim(`resource: ${printable(nameOf(resource))}`));
  console.log(colour.dim(`facts: ${printable(JSON.stringify(request.context))}`));
  return permitted;
}

function nameOf(resource: Resource): string {
  if (resource.type === "session") return "session";
  if (resource.type === "package") return resource.facts.purl;
  return resource.type === "path" ? resource.path : resource.host;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new GatewayError("INVALID_ARGUMENTS", `the arguments are not JSON: ${reason}`, { cause: error });
  }
}
