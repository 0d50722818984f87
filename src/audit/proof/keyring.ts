import type { KnownKey, KnownKeys } from "./known-keys.ts";
import { type Note, signedBy } from "./note.ts";
import { readRotation } from "./rotation.ts";

interface Trusted extends KnownKey {
  /** How many records it may cover at most: behind them, another key took its place. */
  mostRecords?: number;
  /** Whether a signature of it was believed in this chain. */
  hasSigned: boolean;
}

/** What a note is said to sign. */
export interface SignedPlace {
  readonly chain: string | undefined;
  /** How many records it covers. */
  readonly size: number;
  /** When it was signed, as the record says. */
  readonly timeMs: number;
}

/** Whose signatures count in one chain: keys of the inventory, and those that took their places by their own word. */
export interface Keyring {
  /**
   * The key that signed the note, or why that is not to be believed.
   */
  signer(note: Note, what: SignedPlace): KnownKey | { readonly problem: string };
  /**
   * Follows a change of keys when the old key is one of these. @param size how many records the old key may cover from then on
   * @returns what is the matter with it
   */
  rotate(note: string, size: number): string | undefined;
}

const REPLACED = "it is signed by a key that another one had replaced";

/** @param gateway whose the chain is; undefined: whoever's the inventory says, or else the first's that signed */
export function keyring(known: KnownKeys, gateway?: string): Keyring {
  const keys: Trusted[] = known.map((it) => ({ ...it, hasSigned: false }));
  /** Whose chain it is: the gateway of the first signature that is believed. */
  let owner: string | undefined;

  const signer: Keyring["signer"] = (note, { chain, size, timeMs }) => {
    const named = keys.filter(({ verifier: { name, id } }) =>
      note.signatures.some((it) => it.name === name && it.id === id),
    );
    if (named.length === 0) {
      const by = note.signatures.map(({ name, id }) => `${name}+${id}`).join(", ");
      return { problem: `it is signed by a key that is not known: ${by}` };
    }
    // A key that is named twice is looked at once; two that share name and id are two.
    const verifiers = new Map(named.map(({ verifier }) => [verifier.line, verifier]));
    const good = new Set([...verifiers.values()].filter((it) => signedBy(note, it) === "good").map((it) => it.line));
    if (good.size < verifiers.size) return { problem: "its signature is not one of the key that it names" };
    const inUse = named.filter(({ sinceMs, untilMs }) => isWithin(timeMs, sinceMs, untilMs));
    if (inUse.length === 0) return { problem: "its key was not in use at that time" };
    const inPlace = inUse.filter(({ mostRecords }) => mostRecords === undefined || size <= mostRecords);
    if (inPlace.length === 0) return { problem: REPLACED };
    const by = `it is signed by a key of \`${inPlace[0]?.gateway}\``;
    const stated = [gateway, known.find(({ chains }) => chain !== undefined && chains?.includes(chain))?.gateway];
    const notIts = stated.find((it) => it !== undefined && !inPlace.some((key) => key.gateway === it));
    if (notIts !== undefined) return { problem: `${by}, and the chain is \`${notIts}\`'s` };
    const fitting = inPlace.filter((key) => stated.every((it) => it === undefined || it === key.gateway));
    const own = fitting.find((key) => owner === undefined || key.gateway === owner);
    if (!own) return { problem: `${by}, and those before it by one of \`${owner}\`` };
    owner = own.gateway;
    for (const it of inPlace) it.hasSigned = true;
    return own;
  };

  const rotate: Keyring["rotate"] = (note, size) => {
    const rotation = readRotation(note);
    if (!rotation) return "it is no change of keys that both of them signed";
    const { from, to } = rotation;
    const old = keys.filter(({ verifier }) => verifier.line === from.line);
    if (old.length === 0) return `it is signed by a key that is not known: ${from.name}+${from.id}`;
    for (const it of old) {
      const { gateway, mostRecords } = it;
      const next = keys.find(({ verifier, ...other }) => verifier.line === to.line && other.gateway === gateway);
      if (mostRecords !== undefined && !next) return REPLACED;
      // A change that was interrupted is recorded again, as long as the new key has signed nothing.
      if (mostRecords === undefined || !next?.hasSigned) it.mostRecords = size;
      if (!next) {
        const { mostRecords: _, ...same } = it;
        keys.push({ ...same, verifier: to, hasSigned: false });
      }
    }
    return undefined;
  };
  return { signer, rotate };
}

function isWithin(timeMs: number, sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY): boolean {
  return timeMs >= sinceMs && timeMs < untilMs;
}
