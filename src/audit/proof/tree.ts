import { hash } from "node:crypto";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";

const HASH_BYTES = 32;
const NODE = Buffer.from([1]);

/**
 * The Merkle tree over a chain's lines (RFC 6962 §2.1) as far as it takes to go on: a compact range, the roots of its perfect subtrees, largest
 * first. Their number is that of the bits that are set in `size`.
 */
export interface Tree {
  /** How many leaves it has. */
  readonly size: number;
  readonly hashes: readonly Buffer[];
}

export const EMPTY_TREE: Tree = { size: 0, hashes: [] };

/** @param line without its newline */
export function leafHash(line: Buffer): Buffer {
  const leaf = Buffer.allocUnsafe(line.length + 1);
  leaf[0] = 0;
  leaf.set(line, 1);
  return hash("sha256", leaf, "buffer");
}

export function nodeHash(left: Buffer, right: Buffer): Buffer {
  return hash("sha256", Buffer.concat([NODE, left, right]), "buffer");
}

/** The tree with one more leaf. */
export function grown({ size, hashes }: Tree, leaf: Buffer): Tree {
  const kept = [...hashes];
  let last = leaf;
  // As a binary counter: each subtree of the same size is joined with the new one.
  for (let rest = size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
    const left = kept.pop();
    if (!left) throw new GatewayError("INTERNAL", "a tree with fewer hashes than its size says");
    last = nodeHash(left, last);
  }
  kept.push(last);
  return { size: size + 1, hashes: kept };
}

/** MTH of RFC 6962 §2.1; of no leaves, the hash of nothing. */
export function rootOf({ hashes }: Tree): Buffer {
  if (hashes.length === 0) return hash("sha256", "", "buffer");
  return hashes.reduceRight((root, left) => nodeHash(left, root));
}

export function sameTree(a: Tree, b: Tree): boolean {
  return a.size === b.size && a.hashes.length === b.hashes.length && rootOf(a).equals(rootOf(b));
}

/** As a record has it. */
export function treeFacts({ size, hashes }: Tree): { readonly size: number; readonly hashes: readonly string[] } {
  return { size, hashes: hashes.map((it) => it.toString("hex")) };
}

const treeSchema = z
  .strictObject({ size: z.int().min(0), hashes: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(53) })
  .refine(({ size, hashes }) => bitsSet(size) === hashes.length);

/** What `treeFacts` made; undefined for anything else. */
export function readTree(facts: unknown): Tree | undefined {
  const { data } = treeSchema.safeParse(facts);
  return data && { size: data.size, hashes: data.hashes.map((it) => Buffer.from(it, "hex")) };
}

/** Of the facts of `segment-started`. */
export function treeOf(facts: unknown): Tree | undefined {
  return typeof facts === "object" && facts !== null && "tree" in facts ? readTree(facts.tree) : undefined;
}

export function isHash(bytes: Buffer): boolean {
  return bytes.length === HASH_BYTES;
}

function bitsSet(size: number): number {
  let bits = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2;
  return bits;
}
