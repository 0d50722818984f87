import type { Command } from "commander";
import type { ProofOptions } from "../audit/proof/chain-proof.ts";
import { readKnownKeys, readSmall } from "../audit/proof/known-keys.ts";
import { readSavedCheckpoints } from "../audit/proof/saved.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { oneLine } from "./audit-text.ts";

/** What the records are to be compared with, as it was given at the command line. */
export interface ProofArguments {
  readonly keys?: string;
  readonly checkpoints?: string;
  readonly gateway?: string;
}

const MAX_CHECKPOINTS_BYTES = 64 * 1024 * 1024;
const MAX_NAMES = 20;

/** Adds the options that `readProofOptions` reads. */
export function withProofOptions(command: Command): Command {
  return command
    .option("--keys <file>", "YAML file of the gateways' keys: finds what they did not sign")
    .option("--checkpoints <file>", "checkpoints that were kept elsewhere: finds what was removed since")
    .option(
      "--gateway <name>",
      "all chains are this gateway's, by its name in the file of keys: no other's key counts",
    );
}

/** @throws GatewayError CONFIG_INVALID when a file can't be used; INVALID_ARGUMENTS for a gateway that the keys don't name */
export async function readProofOptions({ keys, checkpoints, gateway }: ProofArguments): Promise<ProofOptions> {
  const known = keys === undefined ? undefined : await readKnownKeys(keys);
  const saved =
    checkpoints === undefined ? [] : readSavedCheckpoints(await readSmall(checkpoints, MAX_CHECKPOINTS_BYTES));
  if (gateway === undefined) return { ...(known && { keys: known }), saved };
  if (!known) throw new GatewayError("INVALID_ARGUMENTS", "--gateway needs --keys: the file says which keys are whose");
  if (known.some((it) => it.gateway === gateway)) return { keys: known, saved, gateway };
  const names = [...new Set(known.map((it) => oneLine(it.gateway, 100)))];
  const which = names.length > MAX_NAMES ? `${names.slice(0, MAX_NAMES).join(", ")}, …` : names.join(", ");
  throw new GatewayError(
    "INVALID_ARGUMENTS",
    `the file of keys names no gateway \`${printable(gateway, 100)}\`; it names: ${which}`,
  );
}
