import { distance } from "fastest-levenshtein";

const MIN_CHARS = 3;
/** A short word with another letter is another word; a letter that is missing, doubled or in its neighbour's place is a slip. */
const MIN_CHARS_CHANGED = 5;
const MIN_CHARS_TWO = 8;

/** The known word that a misspelt one is meant to be; undefined where there is none, or more than one. */
export function corrected(word: string, known: ReadonlySet<string>): string | undefined {
  if (word.length < MIN_CHARS || !/^\p{L}+$/u.test(word)) return undefined;
  const near = [...known].filter((it) => it[0] === word[0] && isSlip(word, it));
  const [best, second] = near
    .map((it) => ({ it, by: editsOf(word, it) }))
    .sort((a, b) => a.by - b.by || (a.it < b.it ? -1 : 1));
  return best && best.by !== second?.by ? best.it : undefined;
}

function isSlip(word: string, meant: string): boolean {
  const longer = meant.length - word.length;
  if (Math.abs(longer) > 2) return false;
  const edits = editsOf(word, meant);
  if (edits === 1 && word.length < MIN_CHARS_CHANGED) {
    return longer !== 0 ? isDoubled(word, meant) || (longer === 1 && word.length > MIN_CHARS) : isSwapped(word, meant);
  }
  return edits === 1 || (edits === 2 && word.length >= MIN_CHARS_TWO);
}

/** Two letters in each other's place are one slip. */
function editsOf(word: string, meant: string): number {
  return isSwapped(word, meant) ? 1 : distance(word, meant);
}

function isSwapped(word: string, meant: string): boolean {
  if (word.length !== meant.length) return false;
  const at = [...word].findIndex((letter, index) => letter !== meant[index]);
  return word.slice(0, at) + word.slice(at + 1, at + 2) + word.slice(at, at + 1) + word.slice(at + 2) === meant;
}

function isDoubled(word: string, meant: string): boolean {
  return word.replace(/(.)\1/gu, "$1") === meant.replace(/(.)\1/gu, "$1");
}
