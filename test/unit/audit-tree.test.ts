import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import {
  consistencySpans,
  extendsTree,
  includes,
  inclusionSpans,
  type Span,
  spanRoots,
} from "../../src/audit/proof/paths.ts";
import {
  EMPTY_TREE,
  grown,
  leafHash,
  nodeHash,
  readTree,
  rootOf,
  sameTree,
  type Tree,
  treeFacts,
} from "../../src/audit/proof/tree.ts";

const hex = (text: string) => Buffer.from(text, "hex");

/** The leaves and roots by which the implementations of RFC 6962 are tested (transparency-dev/merkle, proof/verify_test.go). */
const LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const EMPTY_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/** Leaf (from 1), size, proof. */
const INCLUSIONS: readonly [number, number, readonly string[]][] = [
  [1, 1, []],
  [
    1,
    8,
    [
      "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
  ],
  [
    6,
    8,
    [
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
  ],
  [3, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]],
  [
    2,
    5,
    [
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
  ],
];
const CONSISTENCIES: readonly [number, number, readonly string[]][] = [
  [1, 1, []],
  [
    1,
    8,
    [
      "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
  ],
  [
    6,
    8,
    [
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
  ],
  [
    2,
    5,
    [
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
  ],
  [
    6,
    7,
    [
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
  ],
];

const treeOf = (leaves: readonly Buffer[]): Tree => leaves.reduce(grown, EMPTY_TREE);
function proof(spans: readonly Span[], leaves: readonly Buffer[]): Buffer[] {
  const collected = spanRoots(spans);
  for (const leaf of leaves) collected?.add(leaf);
  return collected?.roots() ?? [];
}

test("hashes and roots are those of RFC 6962's reference vectors", () => {
  expect(rootOf(EMPTY_TREE).toString("hex")).toBe(EMPTY_ROOT);
  expect(leafHash(Buffer.alloc(0)).toString("hex")).toBe(ROOTS[0]);
  expect(leafHash(Buffer.from("L123456")).toString("hex")).toBe(
    "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56",
  );
  expect(nodeHash(Buffer.from("N123"), Buffer.from("N456")).toString("hex")).toBe(
    "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb",
  );
  const leaves = LEAVES.map((it) => leafHash(hex(it)));
  expect(leaves.map((_, at) => rootOf(treeOf(leaves.slice(0, at + 1))).toString("hex"))).toEqual(ROOTS);
});

test.each(INCLUSIONS)(
  "the published proof that leaf %i is in the tree of %i is made, and holds",
  (leaf, size, hashes) => {
    const leaves = LEAVES.map((it) => leafHash(hex(it)));
    const made = proof(inclusionSpans(leaf - 1, size), leaves);
    expect(made.map((it) => it.toString("hex"))).toEqual(hashes);
    const claim = {
      leaf: leafHash(hex(LEAVES[leaf - 1] ?? "")),
      index: leaf - 1,
      size,
      root: hex(ROOTS[size - 1] ?? ""),
    };
    expect(includes({ ...claim, hashes: made })).toBe(true);
  },
);

test.each(CONSISTENCIES)(
  "the published proof that the tree of %i begins that of %i is made, and holds",
  (a, b, hashes) => {
    const leaves = LEAVES.map((it) => leafHash(hex(it)));
    const made = proof(consistencySpans(a, b), leaves);
    expect(made.map((it) => it.toString("hex"))).toEqual(hashes);
    const first = { size: a, root: hex(ROOTS[a - 1] ?? "") };
    expect(extendsTree({ first, second: { size: b, root: hex(ROOTS[b - 1] ?? "") }, hashes: made })).toBe(true);
  },
);

/** The recursive definition of RFC 6962 §2.1, apart from what is tested. */
function definedRoot(leaves: readonly Buffer[]): Buffer {
  const sha256 = (...parts: Buffer[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
  if (leaves.length === 0) return sha256();
  const [only] = leaves;
  if (leaves.length === 1 && only) return only;
  let left = 1;
  while (left * 2 < leaves.length) left *= 2;
  return sha256(Buffer.from([1]), definedRoot(leaves.slice(0, left)), definedRoot(leaves.slice(left)));
}

const SIZES = 130;
/** Sizes whose proofs are altered in every way. */
const isAltered = (size: number) => size <= 20 || size % 32 === 1;
const many = Array.from({ length: SIZES }, (_, at) => leafHash(Buffer.from(`leaf ${at}`)));
const roots = Array.from({ length: SIZES + 1 }, (_, size) => definedRoot(many.slice(0, size)));
const rootAt = (size: number) => roots[size] ?? Buffer.alloc(0);

test("the root of every size to 130 is the defined one, and a tree goes on from its facts", () => {
  let tree = EMPTY_TREE;
  for (const [at, leaf] of many.entries()) {
    const again = readTree(JSON.parse(JSON.stringify(treeFacts(tree))));
    expect(again && sameTree(again, tree)).toBe(true);
    tree = grown(tree, leaf);
    expect([at, rootOf(tree).equals(rootAt(at + 1))]).toEqual([at, true]);
  }
  expect(readTree({ size: 3, hashes: ["0".repeat(64)] })).toBeUndefined();
  expect(readTree({ size: 1, hashes: ["0".repeat(63)] })).toBeUndefined();
  expect(readTree({ size: 1, hashes: ["0".repeat(64)], more: 1 })).toBeUndefined();
  expect(readTree(undefined)).toBeUndefined();
});

test("every leaf of every size to 130 has a proof, which holds for nothing else", () => {
  for (let size = 1; size <= SIZES; size++) {
    const leaves = many.slice(0, size);
    for (let index = 0; index < size; index++) {
      const hashes = proof(inclusionSpans(index, size), leaves);
      const claim = { leaf: many[index] ?? Buffer.alloc(0), index, size, hashes, root: rootAt(size) };
      if (!includes(claim)) expect.fail(`the proof of ${index} in ${size} does not hold`);
      if (!isAltered(size)) continue;
      const others = [
        { ...claim, index: index + 1 },
        { ...claim, index: index - 1 },
        { ...claim, index: index + 0.5 },
        { ...claim, size: size * 2 },
        { ...claim, size: index },
        { ...claim, leaf: leafHash(Buffer.from("other")) },
        { ...claim, root: leafHash(Buffer.from("other")) },
        { ...claim, hashes: [...hashes, claim.root] },
        { ...claim, hashes: [claim.root, ...hashes] },
        { ...claim, hashes: [...hashes, Buffer.alloc(0)] },
        ...hashes.map((_, at) => ({ ...claim, hashes: hashes.toSpliced(at, 1) })),
        ...hashes.map((hash, at) => ({ ...claim, hashes: hashes.with(at, flipped(hash)) })),
      ];
      const wrong = others.findIndex(includes);
      if (wrong !== -1) expect.fail(`a proof of ${index} in ${size} that was altered (${wrong}) holds`);
    }
  }
});

test("every size to 130 is proved to begin every larger one, and an altered proof is refused", () => {
  for (let size = 1; size <= SIZES; size += 1) {
    for (let first = 1; first <= size; first++) {
      const hashes = proof(consistencySpans(first, size), many.slice(0, size));
      const claim = {
        first: { size: first, root: rootAt(first) },
        second: { size, root: rootAt(size) },
        hashes,
      };
      if (!extendsTree(claim)) expect.fail(`the proof of ${first} in ${size} does not hold`);
      if (first === size || !isAltered(size)) continue;
      const others = [
        { ...claim, hashes: [] },
        { ...claim, first: { ...claim.first, root: rootAt(first - 1) } },
        { ...claim, second: { ...claim.second, root: rootAt(size - 1) } },
        { ...claim, first: claim.second, second: claim.first },
        { ...claim, hashes: [...hashes, claim.first.root] },
        { ...claim, hashes: [claim.second.root, ...hashes] },
        ...hashes.map((_, at) => ({ ...claim, hashes: hashes.toSpliced(at, 1) })),
        ...hashes.map((hash, at) => ({ ...claim, hashes: hashes.with(at, flipped(hash)) })),
      ];
      const wrong = others.findIndex(extendsTree);
      if (wrong !== -1) expect.fail(`a proof of ${first} in ${size} that was altered (${wrong}) holds`);
    }
  }
});

test("the empty tree begins every tree, and no tree begins a smaller one", () => {
  const [a, b] = [rootAt(1), rootAt(2)];
  expect(extendsTree({ first: { size: 0, root: a }, second: { size: 0, root: a }, hashes: [] })).toBe(true);
  expect(extendsTree({ first: { size: 0, root: a }, second: { size: 1, root: b }, hashes: [] })).toBe(true);
  expect(extendsTree({ first: { size: 0, root: a }, second: { size: 0, root: b }, hashes: [] })).toBe(false);
  expect(extendsTree({ first: { size: 0, root: a }, second: { size: 1, root: b }, hashes: [a] })).toBe(false);
  expect(extendsTree({ first: { size: 1, root: a }, second: { size: 0, root: b }, hashes: [] })).toBe(false);
  expect(extendsTree({ first: { size: 1, root: a }, second: { size: 1, root: b }, hashes: [] })).toBe(false);
  expect(extendsTree({ first: { size: 1, root: a }, second: { size: 1, root: a }, hashes: [b] })).toBe(false);
});

function flipped(hash: Buffer): Buffer {
  const other = Buffer.from(hash);
  other.writeUInt8(hash.readUInt8(0) ^ 8, 0);
  return other;
}
