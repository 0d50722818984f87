import type { SkillCapability } from "../skill.ts";
import { readingsOf } from "./piece.ts";
import { isStopWord, stem, wordsOf } from "./stem.ts";
import { isKind, phrasesOf, termsOf } from "./terms.ts";

/** A capability that a request can mean. */
export interface Candidate {
  /** The tool's name. */
  readonly id: string;
  readonly skill: string;
  readonly capability: SkillCapability;
}

/** What is indexed of a capability: its terms by where they are, with a space between. */
export interface CapabilityDocument {
  readonly id: string;
  readonly skill: string;
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly examples: string;
  readonly parameters: string;
  /** What examples and description begin with: what is done. */
  readonly verbs: string;
  readonly phrases: string;
  /** Endings of files that are named as words: `CSV or Parquet file`. */
  readonly endings: string;
}

const MAX_ENDING_CHARS = 8;
/** A short word with another letter is another word (`send`, `spend`): it is taken for a slip only of what matters. */
const MIN_LONG_CHARS = 6;

export function documentOf({ id, skill, capability }: Candidate): CapabilityDocument {
  const { name, title, description, examples, parameters } = capability;
  const said = parameters.flatMap((it) => [...stemsOf(it.name), ...termsIn(it.description)]);
  const terms = {
    skill: stemsOf(skill),
    name: stemsOf(name),
    title: termsIn(title),
    description: termsIn(description),
    // Which file an example is about says nothing.
    examples: examples.flatMap(termsIn).filter((it) => !isFileName(it)),
    parameters: said,
    verbs: [description, ...examples].flatMap((it) => termsIn(it).slice(0, 1)).filter((it) => !isKind(it)),
    phrases: [title, ...examples].flatMap((it) => phrasesOf(lastReading(it), stemOf)),
  };
  const endings = [...terms.title, ...terms.description, ...said].filter(
    (it) => !isKind(it) && it.length <= MAX_ENDING_CHARS,
  );
  const texts = Object.fromEntries(Object.entries(terms).map(([field, it]) => [field, it.join(" ")])) as Record<
    keyof typeof terms,
    string
  >;
  return { id, ...texts, endings: endings.map((it) => `<.${it}>`).join(" ") };
}

/** Its words as they are written: all that say what it does, and the longer ones of the others. */
export function vocabularyOf({ skill, capability }: Candidate): string[] {
  const { name, title, description, examples, parameters } = capability;
  const essential = [skill, name, title, ...[description, ...examples].map((it) => wordsOf(it)[0] ?? "")];
  const others = [description, ...examples, ...parameters.flatMap((it) => [it.name, it.description])];
  const long = others.flatMap(wordsOf).filter((it) => it.length >= MIN_LONG_CHARS);
  return [...essential.flatMap(wordsOf), ...long].filter((it) => !isStopWord(it));
}

function stemsOf(text: string): string[] {
  return wordsOf(text)
    .filter((it) => !isStopWord(it))
    .map(stem);
}

function termsIn(text: string): string[] {
  return lastReading(text).flatMap(termsOf).map(stemOf);
}

/** The one in which each word is by itself. */
function lastReading(text: string) {
  return readingsOf(text).at(-1) ?? [];
}

function stemOf(term: string): string {
  return isKind(term) ? term : stem(term);
}

function isFileName(term: string): boolean {
  return /^<[^.].*\./.test(term);
}
