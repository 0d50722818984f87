import type { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { messageOf } from "../lib/error.ts";
import { decide, policyOf } from "../policy/decide.ts";
import { explanationOf } from "../policy/explain/explanation.ts";
import { nearestPermitted } from "../policy/explain/nearest.ts";
import { LAYERS } from "../policy/layer.ts";
import { isNode } from "../policy/literals.ts";
import type { LoadPorts } from "../policy/load.ts";
import { profileSchema } from "../policy/profile.ts";
import type { PolicyRequest } from "../policy/request.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";
import { explanationText } from "./policy-explain-text.ts";
import { layersOfOptions } from "./policy-layers.ts";

interface Options {
  readonly json?: boolean;
  readonly layer: readonly string[];
}

/** `glovebox policy explain`. */
export function addExplain(command: Command, context: PolicyContext): void {
  command
    .command("explain")
    .argument("<bundle>", "folder of the bundle")
    .argument("<tool>", "name of a tool, e.g. exec; or connect, or package")
    .argument("[arguments]", "the call's arguments as JSON", "{}")
    .description("say what a bundle would decide of a call, why, and what it would permit instead; nothing is executed")
    .option("--layer <name=folder>", `another layer beside the bundle: ${LAYERS.join(", ")}; can be repeated`, more, [])
    .option("--json", "print the request and the decision as JSON")
    .addHelpText(
      "after",
      `
The bundle stands where its bundle.yaml says (\`layer\`), or is the user's. All layers have to permit.
Exit codes: 0 permitted, 1 denied or to be asked, 2 the question could not be answered.

Examples:
  $ glovebox policy explain policies/locked-down exec '{"argv": ["/usr/bin/git", "log"], "terminal": true}'
  $ glovebox policy explain my-policy connect '{"host": "api.example.org"}' --layer organisation=/etc/glovebox/policy
  $ glovebox policy explain policies/default package '{"ecosystem": "npm", "name": "left-pad", "ageHours": 2}'`,
    )
    .action((directory: string, tool: string, args: string, options: Options) =>
      answer(async () => explain({ directory, tool, args: parsed(args), options }, await context.load())),
    );
}

function more(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

interface Asked {
  readonly directory: string;
  readonly tool: string;
  readonly args: unknown;
  readonly options: Options;
}

async function explain({ directory, tool, args, options }: Asked, context: LoadPorts): Promise<boolean> {
  const layers = await layersOfOptions({ bundle: [directory], layer: options.layer }, context);
  // A call is decided by what the layers say; none of it depends on the sandbox's shape.
  const policy = policyOf(layers, profileSchema.parse({}));
  const client = { name: "glovebox policy explain", version: "1" };
  const principal = { id: "local:explain", client, transport: "stdio" as const };
  const described = context.describe(tool, args, principal);
  if ("problem" in described) throw new GatewayError("INVALID_ARGUMENTS", described.problem);
  const explained = explanationOf(policy, described.request);
  const { decision } = explained;
  const ports = { policy, describe: context.describe, decide: (it: PolicyRequest) => decide(policy, it) };
  const nearest = nearestPermitted({ tool, args: isNode(args) ? args : {} }, principal, ports);
  if (options.json) console.log(JSON.stringify({ ...explained, nearest }, null, 2));
  else {
    const colour = pc.createColors(process.stdout.isTTY === true);
    console.log(explanationText({ ...explained, ...(nearest && { nearest }) }, colour));
  }
  return decision.outcome === "permit";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = messageOf(error);
    throw new GatewayError("INVALID_ARGUMENTS", `the arguments are not JSON: ${reason}`, { cause: error });
  }
}
