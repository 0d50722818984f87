import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openSealed, SEAL_BYTES, sealBody } from "../../src/audit/bodies/cipher.ts";
import { contentOf, MAX_CONTENT_BYTES } from "../../src/audit/bodies/content.ts";
import { makeKey, overwriteKey, readKey } from "../../src/audit/bodies/key-file.ts";
import { PIECE_CHARS, redactLong } from "../../src/audit/bodies/long-text.ts";
import { redactText } from "../../src/audit/redact-text.ts";
import { nameHolds } from "../../src/audit/secrets.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { scratch } from "../support/audit.ts";

const KEY = randomBytes(32);
const PLACE = { keyId: "ses-1/2026-11-21-00000000", callId: "call-1", name: "arguments" } as const;
const bytes = fc.uint8Array({ maxLength: 5_000 });

test("what is sealed opens again, whatever it is, and is longer by a constant", () => {
  fc.assert(
    fc.property(bytes, (content) => {
      const sealed = sealBody(KEY, PLACE, content);
      expect(sealed).toHaveLength(content.length + SEAL_BYTES);
      expect(openSealed(KEY, PLACE, sealed)?.equals(content)).toBe(true);
    }),
  );
});

test("no bit of a sealed body, and none of its key, can be another one", () => {
  const flipped = (of: Uint8Array, bit: number) => {
    const copy = Buffer.from(of);
    const at = Math.floor(bit / 8) % of.length;
    copy.writeUInt8(copy.readUInt8(at) ^ (1 << (bit % 8)), at);
    return copy;
  };
  fc.assert(
    fc.property(bytes, fc.nat({ max: 5_000 * 8 }), (content, bit) => {
      const sealed = sealBody(KEY, PLACE, content);
      expect(openSealed(KEY, PLACE, flipped(sealed, bit))).toBeUndefined();
      expect(openSealed(flipped(KEY, bit), PLACE, sealed)).toBeUndefined();
    }),
  );
  const sealed = sealBody(KEY, PLACE, Buffer.from("x"));
  for (let bit = 0; bit < sealed.length * 8; bit++)
    expect(openSealed(KEY, PLACE, flipped(sealed, bit))).toBeUndefined();
});

test("a sealed body opens in no other place, and no part of it opens", () => {
  const sealed = sealBody(KEY, PLACE, Buffer.from("what was written"));
  for (const other of [{ keyId: "ses-2/2026-11-21-00000000" }, { callId: "call-2" }, { name: "result" } as const])
    expect(openSealed(KEY, { ...PLACE, ...other }, sealed)).toBeUndefined();
  for (let length = 0; length < sealed.length; length++)
    expect(openSealed(KEY, PLACE, sealed.subarray(0, length))).toBeUndefined();
  expect(openSealed(KEY, PLACE, Buffer.concat([sealed, Buffer.alloc(1)]))).toBeUndefined();
});

test("the same content is sealed differently each time", () => {
  const all = Array.from({ length: 100 }, () => sealBody(KEY, PLACE, Buffer.from("x")).toString("hex"));
  expect(new Set(all).size).toBe(100);
});

test("a key is the owner's alone, and is refused when it is not", async () => {
  const file = join(scratch(), "keys", "bodies", "ses-1", "2026-11-21-00000000");
  await makeKey(file);
  expect([statSync(file).mode & 0o777, statSync(dirname(file)).mode & 0o777]).toEqual([0o600, 0o700]);
  expect(await readKey(file)).toHaveLength(32);
  await expect(makeKey(file)).rejects.toMatchObject({ code: "EEXIST" });

  chmodSync(file, 0o640);
  await expect(readKey(file)).rejects.toMatchObject({
    code: "AUDIT_UNWRITABLE",
    message: expect.stringContaining("600"),
  });
  chmodSync(file, 0o600);
  chmodSync(dirname(file), 0o750);
  await expect(readKey(file)).rejects.toMatchObject({ message: expect.stringContaining("700") });
  chmodSync(dirname(file), 0o700);

  symlinkSync(file, `${file}-link`);
  await expect(readKey(`${file}-link`)).rejects.toMatchObject({ code: "ELOOP" });
  const whole = readFileSync(file);
  for (const damaged of [
    whole.subarray(1),
    Buffer.alloc(64),
    Buffer.concat([whole.subarray(0, 63), Buffer.alloc(1)]),
  ]) {
    writeFileSync(file, damaged);
    if (!damaged.equals(whole)) await expect(readKey(file)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  }
  mkdirSync(`${file}-directory`, { mode: 0o700 });
  await expect(readKey(`${file}-directory`)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
});

test("an overwritten key has nothing left of it, and can be overwritten again", async () => {
  const file = join(scratch(), "ses-1", "2026-11-21-00000000");
  await makeKey(file);
  for (let round = 0; round < 2; round++) {
    await overwriteKey(file);
    expect(readFileSync(`${file}.erasing`).equals(Buffer.alloc(64))).toBe(true);
    await expect(readKey(file)).rejects.toMatchObject({ code: "ENOENT" });
  }
});

test("what is kept has long texts whole, and the secrets of none", async () => {
  const known = createKnownSecrets();
  known.add("DB", "correct horse battery staple");
  const long = `${"line of a file\n".repeat(5_000)}export GITHUB_TOKEN=ghp_${"a1".repeat(18)}\n`;
  const file = Buffer.from(`password: hunter2\nuser: ada\n${long}`).toString("base64");
  const binary = Buffer.concat([randomBytes(1_000), Buffer.from("correct horse battery staple"), randomBytes(1_000)]);
  const args = {
    path: "/workspace/a.txt",
    content: long,
    password: long,
    file,
    binary: binary.toString("base64"),
    stdin: "the phrase is correct horse battery staple",
    marks: ["\ue0000", "\ue000", long, "--password", long],
  };
  const { bytes: kept, isCut } = await contentOf(args, { hide: known.hide });
  const clean = JSON.parse(kept.toString());
  expect(isCut).toBe(false);
  expect(clean.path).toBe(args.path);
  expect(clean.content).toBe(long.replace(/ghp_\w+/, "[redacted:github]"));
  expect(clean.password).toBe("[redacted:name]");
  expect(Buffer.from(clean.file, "base64").toString()).toMatch(
    /^password: \[redacted:name\]\nuser: ada\nline of a file\n/,
  );
  expect(clean.binary).toContain("[redacted:DB]");
  expect(clean.stdin).toBe("the phrase is [redacted:DB]");
  expect(clean.marks).toEqual(["\ue0000", "\ue000", clean.content, "--password", "[redacted:flag]"]);
});

test("what has no secrets is kept as it is, whatever it is", async () => {
  const contents = fc.asyncProperty(fc.jsonValue({ noUnicodeString: false }), async (value) => {
    const { bytes: kept } = await contentOf(value);
    const again = await contentOf(JSON.parse(kept.toString()));
    expect(again.bytes.equals(kept)).toBe(true);
  });
  await fc.assert(contents);
  const pixels = randomBytes(100_000).toString("base64");
  const file = { content: "x\n".repeat(100_000), pixels, binary: true, none: undefined };
  expect(JSON.parse((await contentOf(file)).bytes.toString())).toEqual({ content: file.content, pixels, binary: true });
});

test("what is too long is cut, between words, and says so", async () => {
  const text = "word ".repeat(MAX_CONTENT_BYTES / 5 + 1_000);
  const cut = await contentOf({ text, more: "not kept" });
  expect(cut.isCut).toBe(true);
  expect(cut.bytes.length).toBeLessThanOrEqual(MAX_CONTENT_BYTES);
  expect(cut.bytes.length).toBeGreaterThan(MAX_CONTENT_BYTES - 1_000);
  expect(cut.bytes.includes("not kept")).toBe(false);
  const escaped = await contentOf({ text: "\u0001".repeat(MAX_CONTENT_BYTES / 2) });
  expect([escaped.isCut, escaped.bytes.length]).toEqual([true, MAX_CONTENT_BYTES]);
  const word = await contentOf({ text: "x".repeat(PIECE_CHARS + 1), more: "kept" });
  expect([word.isCut, JSON.parse(word.bytes.toString())]).toEqual([true, { text: "", more: "kept" }]);
});

test("of many short texts none is kept unredacted, and the words behind a flag go where they can't be told", async () => {
  const lines = Array.from({ length: 9_000 }, (_, line) => ({
    line,
    text: `${"a word ".repeat(20)}password=hunter2pw`,
  }));
  const found = await contentOf({ lines });
  expect(found.isCut).toBe(false);
  expect(JSON.parse(found.bytes.toString()).lines).toEqual(
    lines.map((it) => ({ ...it, text: it.text.replace("hunter2pw", "[redacted:name]") })),
  );
  const argv = await contentOf({ argv: lines.flatMap(() => ["-u", "ada:hunter2pw"]) });
  expect([argv.isCut, argv.bytes.includes("hunter2pw"), argv.bytes.includes("[redacted:flag]")]).toEqual([
    true,
    false,
    true,
  ]);
  const names = await contentOf(
    Object.fromEntries(lines.map((_, at) => [`password=hunter2pw ${at} ${"x".repeat(50)}`, 1])),
  );
  expect([names.isCut, names.bytes.includes("hunter2pw")]).toEqual([true, false]);
});

const LINE_OF_KEY = `${"QUJD".repeat(16)}\n`;
/** What must not be kept, and what it stands in. */
const SECRETS: readonly (readonly [string, string])[] = [
  ["a1a1a1a1a1a1a1a1a1", `ghp_${"a1".repeat(18)}`],
  ["horse", "correct horse battery staple"],
  ["QUJDQUJD", `-----BEGIN PRIVATE KEY-----\n${LINE_OF_KEY.repeat(25)}-----END PRIVATE KEY-----\n`],
  [
    "QUJDQUJD",
    `-----BEGIN PGP PRIVATE KEY BLOCK-----\n${LINE_OF_KEY.repeat(400)}-----END PGP PRIVATE KEY BLOCK-----\n`,
  ],
  ["hunter2pw", '"password":"some words, hunter2pw",'],
  ["hunter2pw", "Authorization: Basic hunter2pw\n"],
  ["hunter2pw", "--password hunter2pw "],
  ["hunter2pw", "https://user:hunter2pw@host/"],
  ["hunter2pw", `password='${"a line, ".repeat(2_000)}hunter2pw'\n`],
  ["hunter2pw", `eyJ${"a".repeat(200)}.hunter2pw.${"b".repeat(50)} `],
];
const FILLERS = ["x", "a word ", "line\n", "\u{1f600}", '{"a":1},', "QUJD+"];

test("nothing is kept of a long text that is found in the whole of it, wherever its pieces meet and it is cut", async () => {
  const known = createKnownSecrets();
  known.add("DB", "correct horse battery staple");
  const places = [PIECE_CHARS, PIECE_CHARS - 65_536, PIECE_CHARS - 131_072, 70_000];
  const texts = fc.asyncProperty(
    fc.constantFrom(...SECRETS),
    fc.constantFrom(...FILLERS),
    fc.constantFrom(...FILLERS),
    fc.constantFrom(...places),
    fc.oneof(fc.integer({ min: -40, max: 100 }), fc.integer({ min: -100, max: 30_000 })),
    fc.boolean(),
    async ([secret, within], filler, after, place, before, isCut) => {
      const begin = filler.repeat(Math.ceil(place / filler.length)).slice(0, place - before);
      const text = `${begin.toWellFormed()} ${within}${after.repeat(PIECE_CHARS / after.length)}`;
      expect(redactText(text, known.hide, nameHolds).includes(secret)).toBe(false);
      const kept = await redactLong(text, { hide: known.hide }, isCut ? place : text.length);
      // Not the text: what is half a megabyte long is not to be printed.
      expect([kept.text.includes(secret), kept.text.isWellFormed()]).toEqual([false, true]);
      if (!isCut && !kept.isCut) expect(kept.text === redactText(text, known.hide, nameHolds)).toBe(true);
      if (isCut) expect(kept.text.length).toBeLessThan(place + 1_000);
    },
  );
  await fc.assert(texts, { numRuns: 30 });
});

test("a long text of words or lines is kept whole", async () => {
  for (const filler of ["a word ", "line\n", "\u{1f600}", '{"a":1},', `${LINE_OF_KEY}-----BEGIN CERTIFICATE-----\n`]) {
    const text = filler.repeat(Math.ceil((PIECE_CHARS * 3) / filler.length));
    const kept = await redactLong(text, {}, text.length);
    expect([kept.isCut, kept.text === text]).toEqual([false, true]);
  }
});
