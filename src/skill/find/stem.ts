import { stopwords } from "@orama/stopwords/english";
import { stemmer } from "stemmer";

/** `off` and the like make another verb of one ("slack off"); they mean something. */
const PARTICLES = new Set(["off", "out", "up", "down", "over", "against"]);
/** What people say to a machine around what they mean. */
const COURTESIES = [
  "a",
  "please",
  "pls",
  "plz",
  "thanks",
  "thank",
  "hey",
  "hi",
  "want",
  "need",
  "like",
  "let",
  "lets",
  "just",
  "now",
  "help",
];
const STOP = new Set([...stopwords, ...COURTESIES].filter((it) => !PARTICLES.has(it)));

/** The words of a text, in order and in lower case: `createBranch` has two, a proper name as `JavaScript` one. */
export function wordsOf(text: string): string[] {
  return text
    .replace(/(?<![\p{L}\p{N}])\p{Ll}[\p{L}\p{N}]*/gu, (name) => name.replace(/(?<=[\p{Ll}\p{N}])(?=\p{Lu})/gu, " "))
    .toLowerCase()
    .replaceAll("’", "'")
    .split(/[^\p{L}\p{M}\p{N}']+/u)
    .map((it) => it.replace(/^'+|'+$|'s$/g, ""))
    .filter((it) => it !== "");
}

export function isStopWord(word: string): boolean {
  return STOP.has(word);
}

/** What is the same of a word's forms: `installs`, `installed` and `installing` have one. */
export function stem(word: string): string {
  // The stemmer knows English; of anything else it would only cut off ends.
  return /^[a-z]+$/.test(word) ? stemmer(word) : word;
}

export function stemsOf(text: string): string[] {
  return wordsOf(text).map(stem);
}
