import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { readLines, segmentName } from "../files.ts";
import { type Position, readLine } from "../line.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { EMPTY_TREE, grown, leafHash, readTree, rootOf, sameTree, type Tree } from "./tree.ts";

export interface RegrowOptions {
  readonly directory: string;
  readonly chain: string;
  /** The last segment that has records. */
  readonly segment: number;
  /** The last record. */
  readonly position: Position;
  /** What was signed of this chain: nothing that contradicts it is ever signed. */
  readonly signed: Checkpoint | undefined;
}

/**
 * The tree over a chain's records, from the last segment alone where that says what was before it and no checkpoint has to be compared that is
 * older; else from further back, and of a chain that was never signed from its beginning.
 * @throws GatewayError AUDIT_CORRUPT when the log is not the one that was signed, or its lines are not as many as its records
 */
export async function regrowTree(options: RegrowOptions): Promise<Tree> {
  const { directory, chain, segment, position, signed } = options;
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
    const claimed = await treeBefore(directory, first);
    if (claimed && !sameTree(claimed, tree)) {
      throw corrupt(chain, `${segmentName(first)} begins with a tree that is not that of the records before it`);
    }
    for await (const lines of readLines(join(directory, segmentName(first)))) {
      for (const { bytes, terminated } of lines) {
        compare();
        // Behind the last record stands what recovery has moved aside.
        if (!terminated || tree.size === size) break;
        if (!signed && namesKey(bytes))
          throw corrupt(
            chain,
            "it was signed, and `keys/signed` does not remember what was: put `keys` back from a backup",
          );
        tree = grown(tree, leafHash(bytes));
      }
    }
  }
  compare();
  if (tree.size === size) return tree;
  throw corrupt(chain, `its segments have ${tree.size} lines and should have ${size} records`);
}

async function startingPoint({ directory, segment, signed }: RegrowOptions): Promise<{ first: number; tree: Tree }> {
  // Of what was never signed, nobody vouches for the tree that a segment begins with.
  for (let first = segment; signed && first > 1; first--) {
    const tree = await treeBefore(directory, first);
    if (tree && tree.size <= signed.size) return { first, tree };
  }
  return { first: 1, tree: EMPTY_TREE };
}

/** Whether a gateway that signs has written this chain. */
function namesKey(line: Buffer): boolean {
  if (!line.includes('"event":"audit-key"')) return false;
  const read = readLine(line);
  return read.sound && read.record.body.kind === "event" && read.record.body.event === "audit-key";
}

/** The tree that a segment's first record carries, over the records before it. */
async function treeBefore(directory: string, segment: number): Promise<Tree | undefined> {
  for await (const [line] of readLines(join(directory, segmentName(segment)))) {
    const read = line && readLine(line.bytes);
    if (!read?.sound) return undefined;
    const { body, seq } = read.record;
    const tree = body.kind === "event" && body.event === "segment-started" ? treeOf(body.facts) : undefined;
    return tree?.size === seq ? tree : undefined;
  }
  return undefined;
}

/** Of the facts of `segment-started`. */
export function treeOf(facts: unknown): Tree | undefined {
  return typeof facts === "object" && facts !== null && "tree" in facts ? readTree(facts.tree) : undefined;
}

function corrupt(chain: string, what: string): GatewayError {
  const message = `the audit log does not verify: ${chain}: ${what}`;
  return new GatewayError(
    "AUDIT_CORRUPT",
    `${message}; move the chain's directory out of the audit directory and keep it`,
  );
}
