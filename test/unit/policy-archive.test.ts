import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { pack } from "tar-stream";
import { expect, test } from "vitest";
import { filesInArchive } from "../../src/policy/distribution/archive.ts";
import { bundleSourceSchema, sourceText } from "../../src/policy/distribution/source.ts";
import { MAX_FILE_BYTES } from "../../src/policy/read-files.ts";
import { filesOf, RULES, scratch, writeFolder } from "../support/signed-bundle.ts";

type Entry = readonly [header: Parameters<ReturnType<typeof pack>["entry"]>[0], content?: string];

async function tar(...entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const [header, content = ""] of entries) archive.entry(header, content);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const GOOD: Entry = [{ name: "bundle.yaml" }, "name: a\nversion: 1.0.0\n"];

test.each([
  ["-cf", ["bundle.yaml", "rules.cedar"]],
  ["-czf", ["."]],
  ["-czf", ["./bundle.yaml", "rules.cedar"]],
])("what `tar %s … %j` makes is read", async (how, what) => {
  const directory = writeFolder(join(scratch(), "acme"), filesOf());
  const file = join(directory, "..", "acme.tar");
  execFileSync("tar", [how, file, "-C", directory, ...what]);
  expect([...(await filesInArchive(readFileSync(file)))]).toEqual([...filesOf()]);
});

test.each<[string, readonly Entry[], RegExp]>([
  ["a link", [GOOD, [{ name: "rules.cedar", type: "symlink", linkname: "/etc/passwd" }]], /not a regular file/],
  ["a hard link", [GOOD, [{ name: "rules.cedar", type: "link", linkname: "bundle.yaml" }]], /not a regular file/],
  ["a device", [[{ name: "rules.cedar", type: "character-device" }]], /not a regular file/],
  ["a pipe", [[{ name: "rules.cedar", type: "fifo" }]], /not a regular file/],
  ["a folder with the name of a file", [[{ name: "rules.cedar", type: "directory" }]], /not a regular file/],
  ["a folder", [GOOD, [{ name: "more", type: "directory" }]], /`more` does not belong/],
  ["a file in a folder", [[{ name: "acme/bundle.yaml" }]], /`acme\/bundle.yaml` does not belong/],
  ["an absolute path", [[{ name: "/bundle.yaml" }]], /does not belong/],
  ["a way out", [[{ name: "../rules.cedar" }]], /does not belong/],
  ["a way out behind a dot", [[{ name: "./../rules.cedar" }]], /does not belong/],
  ["a second name", [[{ name: "././rules.cedar" }]], /does not belong/],
  ["a name with NUL", [[{ name: "rules.cedar", pax: { path: "rules.cedar\0x" } }]], /does not belong/],
  ["a long name by PAX", [[{ name: "x", pax: { path: `${"a".repeat(500)}.cedar` } }]], /does not belong/],
  ["a terminal's escape", [[{ name: "\u001b[2J.cedar" }]], /`\ufffd\[2J.cedar` does not belong/],
  ["a file twice", [GOOD, GOOD], /`bundle.yaml` is in it twice/],
  ["a file twice, once behind a dot", [GOOD, [{ name: "./bundle.yaml" }, "x"]], /is in it twice/],
  ["too large a file", [[{ name: "rules.cedar" }, " ".repeat(MAX_FILE_BYTES + 1)]], /larger than 1048576 bytes/],
  [
    "too many files",
    Array.from({ length: 300 }, (_, index): Entry => [{ name: `r${index}.cedar` }, RULES]),
    /more than 256 files/,
  ],
  ["nothing", [], /it is empty/],
])("%s is refused", async (_, entries, message) => {
  const archive = await tar(...entries);
  for (const it of [archive, gzipSync(archive)]) {
    await expect(filesInArchive(it)).rejects.toMatchObject({
      code: "POLICY_FETCH_FAILED",
      message: expect.stringMatching(message),
    });
  }
});

test("an archive that is broken off, or unpacks to far more than it is, is refused", async () => {
  const archive = await tar([{ name: "rules.cedar" }, "x".repeat(5_000)]);
  for (const it of [archive.subarray(0, 1_000), gzipSync(archive).subarray(0, 60), Buffer.from("no archive")]) {
    await expect(filesInArchive(it)).rejects.toMatchObject({ code: "POLICY_FETCH_FAILED" });
  }
  await expect(filesInArchive(gzipSync(Buffer.alloc(64 * 1024 * 1024)))).rejects.toThrow(/larger than 16777216 bytes/);
  const large: readonly Entry[] = Array.from({ length: 20 }, (_, it) => [
    { name: `r${it}.cedar` },
    "x".repeat(MAX_FILE_BYTES),
  ]);
  await expect(filesInArchive(await tar(...large))).rejects.toThrow(/larger than 16777216 bytes/);
});

test("a header that promises more than there is is refused", async () => {
  const archive = await tar([{ name: "rules.cedar" }, "x"]);
  archive.write("77777777777", 124, "latin1");
  await expect(filesInArchive(archive)).rejects.toMatchObject({ code: "POLICY_FETCH_FAILED" });
});

test("whatever an archive is, it is read or refused, and nothing else happens", async () => {
  const archive = await tar(GOOD, [{ name: "rules.cedar" }, RULES]);
  const changes = fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(changes, fc.nat(archive.length), async (changed, length) => {
      const copy = Buffer.from(archive);
      for (const [at, value] of changed) copy[at] = value;
      const read = await filesInArchive(copy.subarray(0, length)).catch((error: unknown) => error);
      if (!(read instanceof Map)) expect(read).toMatchObject({ code: "POLICY_FETCH_FAILED" });
    }),
    { numRuns: 200 },
  );
});

test.each([
  [{ directory: "/etc/glovebox/policy" }, "/etc/glovebox/policy"],
  [{ git: "https://git.example.org/policy.git" }, "https://git.example.org/policy.git"],
  [
    { git: "ssh://git@git.example.org:2222/policy.git", ref: "release/1.x", path: "bundles/acme" },
    "ssh://git@git.example.org:2222/policy.git at release/1.x, bundles/acme",
  ],
  [{ git: "file:///srv/policy.git", commit: "0".repeat(40) }, `file:///srv/policy.git at ${"0".repeat(40)}`],
  [{ url: "https://policy.example.org/acme.tar.gz?token=secret" }, "https://policy.example.org/acme.tar.gz"],
])("%j is a source", (source, text) => {
  expect(bundleSourceSchema.parse(source)).toEqual(source);
  expect(sourceText(bundleSourceSchema.parse(source))).toBe(text);
});

test.each<[unknown, RegExp]>([
  [{}, /one of `directory`, `git` and `url`/],
  ["/etc", /expected object/],
  [{ directory: "/a", url: "https://example.org/a" }, /one of `directory`, `git` and `url`/],
  [{ directory: "a" }, /absolute/],
  [{ directory: "/a", ref: "main" }, /belong to `git`/],
  [{ directory: "/a", branch: "main" }, /Unrecognized key/],
  [{ url: "http://example.org/a.tar" }, /https/],
  [{ url: "https://user:word@example.org/a.tar" }, /https/],
  [{ url: "https://example.org/a\nb" }, /https/],
  [{ git: "http://example.org/a" }, /URL such as/],
  [{ git: "git://example.org/a" }, /URL such as/],
  [{ git: "ext::sh -c id" }, /URL such as/],
  [{ git: "--upload-pack=id" }, /URL such as/],
  [{ git: "git@example.org:policy.git" }, /URL such as/],
  [{ git: "ssh://-oProxyCommand=id/x" }, /URL such as/],
  [{ git: "ssh://-oProxyCommand=id@example.org/x" }, /URL such as/],
  [{ git: "https://user:word@example.org/x" }, /URL such as/],
  [{ git: "file://host/x" }, /URL such as/],
  [{ git: "https://example.org\\@evil.example/x" }, /URL such as/],
  [{ git: "ht\ttps://example.org/x" }, /URL such as/],
  [{ git: "https:example.org/x" }, /URL such as/],
  [{ git: "https://example.org/x", commit: "abc" }, /40 hexadecimal/],
  [{ git: "https://example.org/x", commit: "0".repeat(40), ref: "main" }, /both/],
  ...["-x", "a..b", "a b", "+a", "a:b", "refs/heads/*", "a~1", "a^", "@{u}", "a.lock", "/a", "a/", "a//b", ""].map(
    (ref): [unknown, RegExp] => [{ git: "https://example.org/x", ref }, /branch or a tag/],
  ),
  ...["../a", "/a", "a/../b", ".", "a//b", ":x", "a\0b", ""].map((path): [unknown, RegExp] => [
    { git: "https://example.org/x", path },
    /inside the repository/,
  ]),
])("%j is no source", (source, message) => {
  const { success, error } = bundleSourceSchema.safeParse(source);
  expect(success).toBe(false);
  expect(error?.message).toMatch(message);
});
