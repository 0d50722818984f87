import { basename, join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { listChains } from "../audit/files.ts";
import { readKnownKeys, readSmall } from "../audit/proof/known-keys.ts";
import {
  checkpointsOf,
  type Proof,
  type Proved,
  proofSchema,
  proveConsistency,
  proveInclusion,
  verifyProof,
} from "../audit/proof/prove.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { jsonText, recordLine } from "./audit-text.ts";

interface ProveContext {
  readonly directory: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly latest?: boolean;
  readonly size?: number;
  readonly from?: number;
  readonly keys: string;
}

const MAX_PROOF_BYTES = 4 * 1024 * 1024;
const DATA_DIR = ["--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)"] as const;

/** `glovebox audit checkpoints`: what gateways signed, to be kept elsewhere. */
export function checkpointsCommand({ directory }: ProveContext): Command {
  return new Command("checkpoints")
    .description("print the signed checkpoints of all chains, to be kept where nobody can change them with the log")
    .option("--latest", "the newest of each chain only")
    .option(...DATA_DIR)
    .addHelpText(
      "after",
      `
They are signed notes (c2sp.org/tlog-checkpoint), one behind the other. What they cover cannot be changed or removed unnoticed from
then on, also not by somebody who has the gateway's key.

Example:
  $ glovebox audit checkpoints --latest >> /mnt/elsewhere/checkpoints.txt`,
    )
    .action(async ({ dataDir, latest }: Options) => {
      const log = await logIn(directory(dataDir));
      await readable(log, printCheckpoints(log, latest));
    });
}

async function printCheckpoints(directory: string, latest = false): Promise<void> {
  for (const chain of await listChains(directory)) {
    const { checkpoints } = await checkpointsOf(join(directory, chain));
    // They are printed as they are, so one that a terminal would act on, which no gateway writes, is not.
    const notes = checkpoints.map((it) => it.note).filter((it) => printable(it, it.length) === it);
    if (!(await print(latest ? notes.slice(-1) : notes))) return;
  }
}

/** `glovebox audit prove`: a proof for somebody who does not have the log. */
export function proveCommand({ directory }: ProveContext): Command {
  return new Command("prove")
    .argument("<chain/seq>", "a record, as `audit show` names it; or only the chain, with --from")
    .description("print a proof that a record is among those that a checkpoint covers")
    .option("--size <n>", "of the checkpoint that covers n records (default: the newest)", parseSize)
    .option("--from <n>", "prove instead that the checkpoint of n records was only added to since", parseSize)
    .option(...DATA_DIR)
    .addHelpText(
      "after",
      `
The proof is JSON: the record's line, the checkpoint, and the hashes between them (RFC 9162). It tells nothing of other records.

Examples:
  $ glovebox audit prove chain-0mwplkhc8c2b36263ab4f8dbd/17 > proof.json
  $ glovebox audit verify-proof proof.json --keys gateways.yaml
  $ glovebox audit prove chain-0mwplkhc8c2b36263ab4f8dbd --from 1000`,
    )
    .action((what: string, { dataDir, size, from }: Options) =>
      readable(directory(dataDir), prove(directory(dataDir), what, { size, from })),
    );
}

async function prove(
  directory: string,
  what: string,
  { size, from }: { readonly size: number | undefined; readonly from: number | undefined },
): Promise<void> {
  const [chain = "", seq, ...more] = what.split("/");
  if (!(await listChains(directory)).includes(chain)) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `there is no chain \`${printable(chain, 100)}\`; \`audit tail --json\` names them`,
    );
  }
  const place = join(directory, basename(chain));
  const isRecord = seq !== undefined && /^(?:0|[1-9]\d{0,14})$/.test(seq) && more.length === 0;
  if (isRecord === (from !== undefined) || (seq !== undefined && !isRecord)) {
    throw new GatewayError("INVALID_ARGUMENTS", "give a record, <chain>/<seq>, or a chain with --from");
  }
  const proof =
    from === undefined ? await proveInclusion(place, Number(seq), size) : await proveConsistency(place, from, size);
  await print([jsonText(proof)]);
}

/** `glovebox audit verify-proof`: without the log. */
export function verifyProofCommand(): Command {
  return new Command("verify-proof")
    .argument("<file>", "what `audit prove` printed")
    .description("check a proof without the log; exit code 1 when it proves nothing")
    .requiredOption("--keys <file>", "YAML file of the gateways' keys: see `glovebox audit verify --help`")
    .option("--json", "print what is proved as JSON")
    .addHelpText("after", "\nExample:\n  $ glovebox audit verify-proof proof.json --keys gateways.yaml")
    .action(async (file: string, { keys, json }: Options) => {
      const proved = verifyProof(readProof(file, await readSmall(file, MAX_PROOF_BYTES)), await readKnownKeys(keys));
      await print(json ? [jsonText(proved)] : provedLines(proved));
    });
}

function readProof(file: string, text: string): Proof {
  try {
    return proofSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new GatewayError("INVALID_ARGUMENTS", `\`${printable(file)}\` is no proof that \`audit prove\` printed`, {
      cause,
    });
  }
}

function provedLines({ chain, size, gateway, record, olderSize }: Proved): string[] {
  const by = `signed by ${printable(gateway, 200)}`;
  if (olderSize !== undefined) {
    return [`the first ${olderSize} of the ${size} records of ${chain} are what they were, ${by}`];
  }
  const line = record === undefined ? [] : [recordLine({ record })];
  return [...line, `this is record ${record?.seq} of the first ${size} of ${chain}, ${by}`];
}

function parseSize(text: string): number {
  const size = Number(text);
  if (Number.isSafeInteger(size) && size >= 1) return size;
  throw new InvalidArgumentError("give a number of records, from 1");
}
