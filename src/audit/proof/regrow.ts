import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { listSegments, readLines, segmentName } from "../files.ts";
import { type Position, readLine } from "../line.ts";
import { readBeginning, readStart } from "../truncate/beginning.ts";
import type { Vouched } from "../truncate/vouched.ts";
import { grown, leafHash, rootOf, sameTree, type Tree } from "./tree.ts";

const NOT_REMEMBERED = "it was signed, and `keys/signed` does not remember what was: put `keys` back from a backup";

export interface RegrowOptions {
  readonly directory: string;
  readonly chain: string;
  /** The last segment that has records. */
  readonly segment: number;
  /** The last record. */
  readonly position: Position;
  /** What was signed of this chain: nothing that contradicts it is ever signed. */
  readonly vouched: Vouched | undefined;
}

/**
 * The tree over a chain's records, from the last segment alone where that says what was before it and no checkpoint has to be compared that is
 * older; else from further back, and of a chain that was never signed from its beginning.
 * @throws GatewayError AUDIT_CORRUPT when the log is not the one that was signed, or its lines are not as many as its records
 */
export async function regrowTree(options: RegrowOptions): Promise<Tree> {
  const { directory, chain, segment, position, vouched } = options;
  const signed = vouched?.signed;
  const size = position.seq + 1;
  if (signed && signed.size > size) {
    throw corrupt(chain, `it ends at record ${position.seq}, and a checkpoint of ${signed.size} records was signed`);
  }
  let { first, tree } = await startingPoint(options);
  const compare = () => {
    if (signed?.size !== tree.size || rootOf(tree).equals(signed.root)) return;
    throw corrupt(chain, `its first ${tree.size} records are not those of which a checkpoint was signed`);
  };
  for (; first <= segment && tree.size < size; first++) {
    const claimed = await readStart(directory, first);
    if (claimed && !sameTree(claimed.tree, tree)) {
      throw corrupt(chain, `${segmentName(first)} begins with a tree that is not that of the records before it`);
    }
    for await (const lines of readLines(join(directory, segmentName(first)))) {
      for (const { bytes, terminated } of lines) {
        compare();
        // Behind the last record stands what recovery has moved aside.
        if (!terminated || tree.size === size) break;
        if (!signed && namesKey(bytes)) throw corrupt(chain, NOT_REMEMBERED);
        tree = grown(tree, leafHash(bytes));
      }
    }
  }
  compare();
  if (tree.size === size) return tree;
  throw corrupt(chain, `its segments have ${tree.size} lines and should have ${size} records`);
}

async function startingPoint({ directory, chain, segment, vouched }: RegrowOptions) {
  const signed = vouched?.signed;
  const numbers = await listSegments(directory);
  if (!signed && (numbers[0] ?? 1) > 1) throw corrupt(chain, NOT_REMEMBERED);
  const beginning = await readBeginning(directory, chain, numbers, vouched);
  // Of what was never signed, nobody vouches for the tree that a segment begins with.
  for (let first = segment; signed && first > beginning.segment; first--) {
    const { tree } = (await readStart(directory, first)) ?? {};
    if (tree && tree.size <= signed.size) return { first, tree };
  }
  return { first: beginning.segment, tree: beginning.tree };
}

/** Whether a gateway that signs has written this chain. */
function namesKey(line: Buffer): boolean {
  if (!line.includes('"event":"audit-key"')) return false;
  const read = readLine(line);
  return read.sound && read.record.body.kind === "event" && read.record.body.event === "audit-key";
}

function corrupt(chain: string, what: string): GatewayError {
  const message = `the audit log does not verify: ${chain}: ${what}`;
  return new GatewayError(
    "AUDIT_CORRUPT",
    `${message}; move the chain's directory out of the audit directory and keep it`,
  );
}
