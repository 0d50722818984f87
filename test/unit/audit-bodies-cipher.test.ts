import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openSealed, SEAL_BYTES, sealBody } from "../../src/audit/bodies/cipher.ts";
import { contentOf, MAX_CONTENT_BYTES } from "../../src/audit/bodies/content.ts";
import { makeKey, overwriteKey, readKey } from "../../src/audit/bodies/key-file.ts";
import { redactLong } from "../../src/audit/bodies/long-text.ts";
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
  expect(cut.bytes.toString()).not.toContain("not kept");
  const escaped = await contentOf({ text: "\u0001".repeat(MAX_CONTENT_BYTES / 2) });
  expect([escaped.isCut, escaped.bytes.length]).toEqual([true, MAX_CONTENT_BYTES]);
});

test("secrets of a long text are found where its pieces meet, too", async () => {
  const known = createKnownSecrets();
  known.add("DB", "correct horse battery staple");
  const key = `-----BEGIN PRIVATE KEY-----\n${"QUJD".repeat(16).concat("\n").repeat(25)}-----END PRIVATE KEY-----\n`;
  const secrets = [`ghp_${"a1".repeat(18)}`, "correct horse battery staple", key];
  for (const secret of secrets) {
    for (const filler of ["x", "a word ", "line\n", "\u{1f600}"]) {
      for (const before of [1, 2, 10, 36, 100, 1_000]) {
        const begin = filler.repeat(Math.ceil((256 * 1024 - before) / filler.length)).slice(0, 256 * 1024 - before);
        const text = `${begin.toWellFormed()} ${secret} ${filler.repeat(20_000)}`;
        const kept = await redactLong(text, { hide: known.hide });
        // Not `toBe`: what is a quarter of a megabyte long is not to be printed.
        expect(kept === text.replace(secret.trim(), /\[redacted:[\w-]+\]/.exec(kept)?.[0] ?? "none")).toBe(true);
      }
    }
  }
});
