import { expect, test } from "vitest";
import { chainOf, originOf, parseCheckpoint } from "../../src/audit/proof/checkpoint.ts";
import { parseSigningKey } from "../../src/audit/proof/keys.ts";
import { parseNote, parseVerifierKey, signedBy, type VerifierKey } from "../../src/audit/proof/note.ts";
import { readSavedCheckpoints } from "../../src/audit/proof/saved.ts";

// The vectors of golang.org/x/mod/sumdb/note.
const PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETERS = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const BY_PETER =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const BY_ENOCH =
  "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/** Every part of a text but the whole, and every text with one character replaced by the next. */
function* mangled(text: string): Generator<string> {
  for (let from = 0; from <= text.length; from++) {
    for (let to = from + 1; to <= text.length; to++) {
      if (from !== 0 || to !== text.length) yield text.slice(from, to);
    }
  }
  for (let at = 0; at < text.length; at++) {
    yield text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) + 1) + text.slice(at + 1);
  }
}

function keyOf(line: string): VerifierKey {
  const key = parseVerifierKey(line);
  if (!key) return expect.fail(`no key: ${line}`);
  return key;
}

function opened(note: string, key: string): string {
  const parsed = parseNote(note);
  return parsed ? signedBy(parsed, keyOf(key)) : "malformed";
}

test("a verifier key is read in its one spelling, and nothing near it", () => {
  expect(keyOf(PETER)).toMatchObject({ name: "PeterNeumann", id: "c74f20a3", line: PETER });
  for (const other of mangled(PETER)) expect([other, parseVerifierKey(other)]).toEqual([other, undefined]);
  // A key of another length, and one of an unknown algorithm, with ids that fit.
  expect(parseVerifierKey(`${PETER.replace("c74f20a3", "cc469956")}BADKEY==`)).toBeUndefined();
  expect(parseVerifierKey("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")).toBeUndefined();
});

test("a signing key is read in its one spelling, and signs as others do", () => {
  const key = parseSigningKey(PETERS);
  expect(key?.verifier.line).toBe(PETER);
  expect(key?.sign(TEXT)).toBe(`${TEXT}\n${BY_PETER}`);
  for (const other of mangled(PETERS)) expect(parseSigningKey(other)).toBeUndefined();
});

test("signatures are told apart: good, bad, and those of others, which say nothing", () => {
  expect(opened(`${TEXT}\n${BY_PETER}${BY_ENOCH}`, PETER)).toBe("good");
  expect(opened(`${TEXT}\n${BY_PETER}${BY_ENOCH}`, ENOCH)).toBe("good");
  expect(opened(`${TEXT}\n${BY_ENOCH}`, PETER)).toBe("not");
  expect(opened(`${TEXT.replace("answer", "Answer")}\n${BY_PETER}`, PETER)).toBe("bad");
  // A second one of the same key that is wrong makes the note a bad one.
  const wrong = BY_PETER.replace("x08go/ZJ", "x08go/ZK");
  expect(opened(`${TEXT}\n${BY_PETER}${wrong}`, PETER)).toBe("bad");
  expect(opened(`${TEXT}\n${BY_PETER.slice(0, 60)}ABCD${BY_PETER.slice(60)}`, PETER)).toBe("bad");
  // Of another name with the same id, or the other way round: another key.
  expect(opened(`${TEXT}\n${BY_PETER.replace("PeterNeumann", "CarmenSandiego")}`, PETER)).toBe("not");
  expect(opened(`${TEXT}\n${BY_PETER.replace("x08g", "xxxx")}`, PETER)).toBe("not");
  // What the specification asks for: room for sixteen, of an algorithm that is not known here.
  const large = `— other.example/${"x".repeat(20)} ${Buffer.alloc(4_900, 1).toString("base64")}\n`;
  expect(opened(`${TEXT}\n${large.repeat(15)}${BY_PETER}`, PETER)).toBe("good");
  expect(opened(`Empty lines\n\nmay stand\n\nin it.\n\n${BY_PETER}`, PETER)).toBe("bad");
});

test.each([
  ["without signatures", TEXT],
  ["with an empty block of them", `${TEXT}\n`],
  ["without the last newline", `${TEXT}\n${BY_PETER.slice(0, -1)}`],
  ["with a control character", `\u0001${TEXT}\n${BY_PETER}`],
  ["with a carriage return", `${TEXT}\r\n${BY_PETER}`],
  ["with a lone surrogate", `\ud800${TEXT}\n${BY_PETER}`],
  ["with a space in a name", `${TEXT}\n${BY_PETER.replace("Peter", "Peter ")}`],
  ["with a no-break space in a name", `${TEXT}\n${BY_PETER.replace("Peter", "Peter\u00a0")}`],
  ["with a plus in a name", `${TEXT}\n${BY_PETER.replace("Peter", "Peter+")}`],
  ["with another line behind them", `${TEXT}\n${BY_PETER}Unexpected line.\n`],
  ["with a signature in another spelling of base64", `${TEXT}\n${BY_PETER.replace("nAM=", "nAN=")}`],
  ["with a signature that is no more than an id", `${TEXT}\n— PeterNeumann x08gow==\n`],
  ["with over a hundred signatures", `${TEXT}\n${BY_PETER.repeat(101)}`],
  ["that is too large", `${"x".repeat(140_000)}\n\n${BY_PETER}`],
])("a note %s is none", (_, note) => {
  expect(parseNote(note)).toBeUndefined();
});

const ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

test("a checkpoint's text is read as its specification says, and nothing near it", () => {
  const read = parseCheckpoint(`example.com/behind-the-sofa\n20852163\n${ROOT}\n`);
  expect(read).toMatchObject({ origin: "example.com/behind-the-sofa", size: 20852163 });
  expect(read?.root.toString("base64")).toBe(ROOT);
  expect(parseCheckpoint(`o\n0\n${ROOT}\nan extension\nand another\n`)).toMatchObject({ size: 0 });
  for (const wrong of [
    `\n1\n${ROOT}\n`,
    `o\n01\n${ROOT}\n`,
    `o\n+1\n${ROOT}\n`,
    `o\n1e3\n${ROOT}\n`,
    `o\n-1\n${ROOT}\n`,
    `o\n9007199254740992\n${ROOT}\n`,
    `o\n\n${ROOT}\n`,
    `o\n1\n${ROOT}`,
    `o\n1\n${ROOT}\n\n`,
    `o\n1\n${ROOT}\n\nx\n`,
    `o\n1\n${ROOT.replace("q2I=", "q2J=")}\n`,
    `o\n1\n${ROOT.slice(0, 40)}\n`,
    "o\n1\n",
    "",
  ]) {
    expect([wrong, parseCheckpoint(wrong)]).toEqual([wrong, undefined]);
  }
});

test("an origin names its chain, and only one of this kind does", () => {
  const chain = "chain-0mwplkhc8c2b36263ab4f8dbd";
  expect(originOf("laptop-1f0c9a3e", chain)).toBe(`glovebox/laptop-1f0c9a3e/${chain}`);
  expect(chainOf(originOf("laptop-1f0c9a3e", chain))).toBe(chain);
  expect(chainOf(`other/laptop/${chain}`)).toBeUndefined();
  expect(chainOf(`glovebox/laptop/${chain}x`)).toBeUndefined();
  expect(chainOf("glovebox/laptop/chain-../../../../etc/passwd0000")).toBeUndefined();
});

test("saved checkpoints stand one behind the other, and anything else is named with its line", () => {
  const key = parseSigningKey(PETERS);
  const note = (size: number) =>
    key?.sign(`${originOf("PeterNeumann", "chain-0mwplkhc8c2b36263ab4f8dbd")}\n${size}\n${ROOT}\n`) ?? "";
  expect(readSavedCheckpoints("")).toEqual([]);
  expect(readSavedCheckpoints(`${note(1)}${note(2)}\n\n${note(3)}`).map((it) => it.size)).toEqual([1, 2, 3]);
  expect(readSavedCheckpoints(note(1).replaceAll("\n", "\r\n")).map((it) => it.size)).toEqual([1]);
  expect(() => readSavedCheckpoints(`${note(1)}something else\n`)).toThrow(/line 6 of the saved checkpoints/);
  expect(() => readSavedCheckpoints(`${TEXT}\n${BY_PETER}`)).toThrow(/line 1 /);
});
