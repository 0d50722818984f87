import { EMPTY_TREE, grown, isHash, nodeHash, rootOf, type Tree } from "./tree.ts";

/*
 * Proofs about a tree of which nobody has to have all leaves at hand (RFC 9162 §2.1.3 and §2.1.4). A proof is a list of roots of subtrees, each over a
 * span of leaves, so that a proof is made by reading the leaves once, in order, in memory of the size of the proof.
 */

/** Leaves `from` to before `to`. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Whose hashes prove that a leaf is in a tree: PATH of RFC 9162 §2.1.3.1, in its order. `index` is below `size`. */
export function inclusionSpans(index: number, size: number, from = 0): Span[] {
  if (size <= 1) return [];
  const left = largestPowerBelow(size);
  const split = from + left;
  if (index < left) return [...inclusionSpans(index, left, from), { from: split, to: from + size }];
  return [...inclusionSpans(index - left, size - left, split), { from, to: split }];
}

/** Whose hashes prove that a tree is the beginning of a larger one: PROOF of RFC 9162 §2.1.4.1. `first` is from 1 to `second`. */
export function consistencySpans(first: number, second: number): Span[] {
  return subproof(first, second, 0, true);
}

function subproof(first: number, size: number, from: number, whole: boolean): Span[] {
  // The smaller tree as a whole is known to whoever checks the proof.
  if (first === size) return whole ? [] : [{ from, to: from + size }];
  const left = largestPowerBelow(size);
  const split = from + left;
  if (first <= left) return [...subproof(first, left, from, whole), { from: split, to: from + size }];
  return [...subproof(first - left, size - left, split, false), { from, to: split }];
}

/**
 * Is given every leaf hash in order, and makes the roots of the spans, which do not overlap.
 * @param before the tree over the leaves that are not given: those before the first one
 * @returns undefined when a span takes more of these to be known
 */
export function spanRoots(
  spans: readonly Span[],
  before: Tree = EMPTY_TREE,
): { add(leaf: Buffer): void; roots(): Buffer[] } | undefined {
  const trees = new Map<Span, Tree>();
  for (const span of spans) {
    const begun = within(before, span);
    if (!begun) return undefined;
    trees.set(span, begun);
  }
  const inOrder = spans.toSorted((a, b) => a.from - b.from);
  let index = before.size;
  let at = 0;
  return {
    add: (leaf) => {
      while ((inOrder[at]?.to ?? Number.POSITIVE_INFINITY) <= index) at += 1;
      const span = inOrder[at];
      if (span && index >= span.from) trees.set(span, grown(trees.get(span) ?? EMPTY_TREE, leaf));
      index += 1;
    },
    roots: () => spans.map((it) => rootOf(trees.get(it) ?? EMPTY_TREE)),
  };
}

/** What a span has of the leaves of a tree; undefined when these are not whole subtrees of it. */
function within({ size, hashes }: Tree, { from, to }: Span): Tree | undefined {
  const end = Math.min(to, size);
  if (from >= end) return EMPTY_TREE;
  let at = 0;
  let known = 0;
  const own: Buffer[] = [];
  for (const hash of hashes) {
    // The largest power of two that is left: each subtree is the largest that fits.
    const leaves = largestPowerBelow(size - at + 1);
    if (at >= from && at + leaves <= end) {
      own.push(hash);
      known += leaves;
    }
    at += leaves;
  }
  return known === end - from ? { size: known, hashes: own } : undefined;
}

export interface Inclusion {
  readonly leaf: Buffer;
  readonly index: number;
  readonly size: number;
  readonly hashes: readonly Buffer[];
  readonly root: Buffer;
}

/** Whether the leaf is the one at `index` of the tree: RFC 9162 §2.1.3.2. */
export function includes({ leaf, index, size, hashes, root }: Inclusion): boolean {
  if (!isIndex(index) || !isIndex(size) || index >= size || ![leaf, root, ...hashes].every(isHash)) return false;
  let place = index;
  let last = size - 1;
  let computed = leaf;
  for (const hash of hashes) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      computed = nodeHash(hash, computed);
      for (; !isOdd(place) && place !== 0; last = half(last)) place = half(place);
    } else {
      computed = nodeHash(computed, hash);
    }
    place = half(place);
    last = half(last);
  }
  return last === 0 && computed.equals(root);
}

export interface Growth {
  readonly first: { readonly size: number; readonly root: Buffer };
  readonly second: { readonly size: number; readonly root: Buffer };
  readonly hashes: readonly Buffer[];
}

/** Whether the first tree is the beginning of the second: RFC 9162 §2.1.4.2. The empty tree is the beginning of every tree. */
export function extendsTree({ first, second, hashes }: Growth): boolean {
  if (!isIndex(first.size) || !isIndex(second.size) || first.size > second.size) return false;
  if (first.size === second.size) return hashes.length === 0 && first.root.equals(second.root);
  if (first.size === 0) return hashes.length === 0;
  if (hashes.length === 0 || ![first.root, second.root, ...hashes].every(isHash)) return false;
  const [begin = first.root, ...rest] = isPowerOfTwo(first.size) ? [first.root, ...hashes] : hashes;
  let place = first.size - 1;
  let last = second.size - 1;
  for (; isOdd(place); last = half(last)) place = half(place);
  let older = begin;
  let newer = begin;
  for (const hash of rest) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      older = nodeHash(hash, older);
      newer = nodeHash(hash, newer);
      for (; !isOdd(place) && place !== 0; last = half(last)) place = half(place);
    } else {
      newer = nodeHash(newer, hash);
    }
    place = half(place);
    last = half(last);
  }
  return last === 0 && older.equals(first.root) && newer.equals(second.root);
}

function largestPowerBelow(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

function isPowerOfTwo(size: number): boolean {
  let power = 1;
  while (power < size) power *= 2;
  return power === size;
}

// Not bit operators: they cut numbers to 32 bits.
function isOdd(value: number): boolean {
  return value % 2 === 1;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
