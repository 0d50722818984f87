import { resolve } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { readPublicKey } from "../policy/distribution/keys.ts";
import { type VerifiedBundle, verifyFiles } from "../policy/distribution/manifest.ts";
import { openSource } from "../policy/distribution/reader.ts";
import { answer } from "./policy-answer.ts";
import { several } from "./several.ts";

interface Options {
  readonly key: readonly string[];
  readonly json?: boolean;
}

/** `glovebox policy verify`: whether a bundle is what somebody signed. */
export function addVerify(command: Command): void {
  command
    .command("verify")
    .argument("<bundle>", "folder of the bundle")
    .requiredOption("--key <key>", "a public key that is trusted, or its file; of several, any one is enough", several)
    .option("--json", "print the result as JSON")
    .description("say whether a bundle is what a trusted key signed: every file, and no other")
    .addHelpText(
      "after",
      `
Exit codes: 0 it is, 1 it is not, 2 the question could not be answered.

Examples:
  $ glovebox policy verify ./acme-policy --key acme-policy.key.pub
  $ glovebox policy verify ./acme-policy --key ed25519:… --json`,
    )
    .action((directory: string, options: Options) => answer(() => verify(resolve(directory), options)));
}

async function verify(directory: string, { key, json }: Options): Promise<boolean> {
  const keys = await Promise.all(key.map(readPublicKey));
  const found = await openSource({ directory }, NO_NETWORK)(new AbortController().signal);
  const checked = asked(() => verifyFiles(found, keys));
  if ("files" in checked) {
    const { files, ...known } = checked;
    if (json) console.log(JSON.stringify({ verified: true, ...known, files: [...files.keys()] }, null, 2));
    else printVerified(checked);
    return true;
  }
  const { code, message } = checked;
  if (json) console.log(JSON.stringify({ verified: false, code, message }, null, 2));
  else console.log(`${pc.createColors(process.stdout.isTTY === true).red(code)}: ${printable(message, 100_000)}`);
  return false;
}

/** What a bundle in a folder needs of the network. */
const NO_NETWORK = { authorities: async () => [], scratchDirectory: "/nonexistent" };

function asked(question: () => VerifiedBundle): VerifiedBundle | GatewayError {
  try {
    return question();
  } catch (error) {
    if (error instanceof GatewayError && ["POLICY_UNSIGNED", "POLICY_SIGNATURE"].includes(error.code)) return error;
    throw error;
  }
}

/** Also what `fetch` says of what it brought. */
export function printVerified({ name, version, digest, signedBy }: VerifiedBundle): void {
  const colour = pc.createColors(process.stdout.isTTY === true);
  console.log(`${name} ${version} is as it was signed`);
  console.log(colour.dim(digest));
  for (const id of signedBy) console.log(colour.dim(`signed by ${id}`));
}
