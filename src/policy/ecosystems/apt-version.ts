/** The order of deb-version(7): epoch, upstream's version, Debian's revision. */
export function compareDebian(a: string, b: string): number {
  const [left, right] = [parts(a), parts(b)];
  return (
    left.epoch - right.epoch || compareText(left.upstream, right.upstream) || compareText(left.revision, right.revision)
  );
}

function parts(version: string): { epoch: number; upstream: string; revision: string } {
  const [, epoch = "0", rest = ""] = /^(?:(\d+):)?(.*)$/.exec(version) ?? [];
  const dash = rest.lastIndexOf("-");
  if (dash < 0) return { epoch: Number(epoch), upstream: rest, revision: "" };
  return { epoch: Number(epoch), upstream: rest.slice(0, dash), revision: rest.slice(dash + 1) };
}

/** By turns what is no digit, character by character, and what is a number. */
function compareText(a: string, b: string): number {
  const [left, right] = [[...a.matchAll(/(\D*)(\d*)/g)], [...b.matchAll(/(\D*)(\d*)/g)]];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const [, words = "", digits = ""] = left[index] ?? [];
    const [, otherWords = "", otherDigits = ""] = right[index] ?? [];
    const order = compareWords(words, otherWords) || compareDigits(digits, otherDigits);
    if (order !== 0) return order;
  }
  return 0;
}

function compareWords(a: string, b: string): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const order = weight(a[index]) - weight(b[index]);
    if (order !== 0) return order;
  }
  return 0;
}

/** `~` is below the end, letters are above it, and everything else is above letters. */
function weight(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === "~") return -1;
  const code = character.charCodeAt(0);
  return /[A-Za-z]/.test(character) ? code : code + 256;
}

/** Numbers of any length. */
function compareDigits(a: string, b: string): number {
  const [left, right] = [a.replace(/^0+/, ""), b.replace(/^0+/, "")];
  if (left.length !== right.length) return left.length - right.length;
  return left < right ? -1 : Number(left > right);
}
