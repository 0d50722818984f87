import { resolve } from "node:path";
import type { Command } from "commander";
import { writeNewKey } from "../policy/distribution/keys.ts";
import { answer } from "./policy-answer.ts";

/** `glovebox policy keygen`: a pair of keys for signing bundles. */
export function addKeygen(command: Command): void {
  command
    .command("keygen")
    .argument("<file>", "where the private key goes; the public one goes beside it, as <file>.pub")
    .description("make a pair of keys for signing bundles; a file that exists is never written over")
    .option("--json", "print the public key as JSON")
    .addHelpText(
      "after",
      `
The private key belongs to whoever publishes bundles, and to no computer that runs agents. The public one is a line for \`keys\`.

Example:
  $ glovebox policy keygen acme-policy.key`,
    )
    .action((file: string, { json }: { readonly json?: boolean }) =>
      answer(async () => {
        const { line, id } = await writeNewKey(resolve(file));
        console.log(json ? JSON.stringify({ publicKey: line, keyId: id }, null, 2) : line);
        return true;
      }),
    );
}
