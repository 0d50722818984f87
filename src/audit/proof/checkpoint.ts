import { isHash } from "./tree.ts";

/*
 * The text of a checkpoint (c2sp.org/tlog-checkpoint): whose log it is, how many records it has, and the root of the tree over them. Each chain is
 * a log of its own. Glovebox writes no extension lines; those of others are passed over, as the specification says of them.
 */

export interface Checkpoint {
  readonly origin: string;
  /** How many records it covers: those before its own. */
  readonly size: number;
  readonly root: Buffer;
}

const ORIGIN = /^glovebox\/[^\n]{1,200}\/(chain-[0-9a-z]{9}[0-9a-f]{16})$/;
const SIZE = /^(?:0|[1-9]\d{0,15})$/;
const ROOT = /^[A-Za-z0-9+/]{43}=$/;

/** A URL without a scheme, as the specification recommends: nothing is to be reached there. */
export function originOf(keyName: string, chain: string): string {
  return `glovebox/${keyName}/${chain}`;
}

/** The chain that an origin names; undefined for another's. */
export function chainOf(origin: string): string | undefined {
  return ORIGIN.exec(origin)?.[1];
}

export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString("base64")}\n`;
}

/** What a note's text says; undefined when it is no checkpoint. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const lines = text.split("\n");
  const [origin = "", size = "", encoded = ""] = lines;
  if (lines.length < 4 || lines.pop() !== "" || lines.includes("")) return undefined;
  const root = Buffer.from(encoded, "base64");
  if (!SIZE.test(size) || !Number.isSafeInteger(Number(size))) return undefined;
  if (!ROOT.test(encoded) || !isHash(root) || root.toString("base64") !== encoded) return undefined;
  return { origin, size: Number(size), root };
}
