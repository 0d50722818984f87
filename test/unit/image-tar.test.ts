import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { extract, type Header, pack } from "tar-stream";
import { expect, onTestFinished, test } from "vitest";
import { contentOf, plainPath, readTar, tarFile, tarStream } from "../../src/image/tar.ts";
import { encodeTar, plainHeader, type TarInput, TYPES } from "../../src/lib/tar-write.ts";

function scratchFile(content: Buffer): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-tar-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, "x.tar"), content);
  return join(directory, "x.tar");
}

/** Every entry with its content, read from a stream that comes in pieces. */
async function readAll(archive: Buffer, pieceBytes = 777) {
  const pieces = Array.from({ length: Math.ceil(archive.length / pieceBytes) }, (_, index) =>
    archive.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  );
  const source = tarStream(Readable.from(pieces));
  const entries = [];
  for await (const entry of readTar(source)) {
    const { offset: _, ...header } = entry;
    entries.push({ ...header, content: await buffer(Readable.from(contentOf(source, entry))) });
  }
  return entries;
}

const name = fc
  .array(fc.stringMatching(/^[a-zA-Z0-9 äß字=.+-]{1,60}$/), { minLength: 1, maxLength: 8 })
  .map((parts) => parts.join("/"))
  .filter((it) => it === plainPath(it));
// From 1 and before 2038: what the other writer can say.
const numbers = {
  mode: fc.integer({ min: 1, max: 0o7777 }),
  uid: fc.nat(65_535),
  gid: fc.nat(65_535),
  mtime: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
};
const file = fc.record({
  ...numbers,
  path: name,
  content: fc.uint8Array({ maxLength: 2_000 }).map((it) => Buffer.from(it)),
});
const other = fc.record({
  ...numbers,
  path: name,
  linkname: name,
  type: fc.constantFrom("symlink" as const, "link" as const, "directory" as const),
});
const entry = fc.oneof(
  file.map((it) => ({ ...it, type: "file" as const, linkname: "", size: it.content.length })),
  other.map((it) => ({
    ...it,
    linkname: it.type === "directory" ? "" : it.linkname,
    size: 0,
    content: Buffer.alloc(0),
  })),
);

test("what is written reads back, by us and by others", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 6 }), async (entries) => {
      const inputs = entries.map((it): TarInput => ({ ...it, content: [it.content] }));
      const archive = await buffer(Readable.from(encodeTar(inputs)));
      expect(await readAll(archive)).toEqual(entries);

      const theirs: Header[] = [];
      for await (const it of Readable.from([archive]).pipe(extract())) {
        theirs.push(it.header);
        it.resume();
      }
      expect(theirs.map((it) => [it.name, it.type, it.size, it.mode, it.uid, it.linkname ?? ""])).toEqual(
        entries.map((it) => [it.path, it.type, it.size, it.mode, it.uid, it.linkname]),
      );
    }),
  );
});

test("what others write is read", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 6 }), async (entries) => {
      const archive = pack();
      for (const { path, content, mtime, linkname, ...header } of entries) {
        const common = { ...header, name: path, mtime: new Date(mtime * 1000) };
        archive.entry(linkname ? { ...common, linkname } : common, content);
      }
      archive.finalize();
      expect(await readAll(await buffer(archive))).toEqual(entries);
    }),
  );
});

test("bytes at random, and archives with bytes changed, are entries or an error of ours, and never hang", async () => {
  const whole = await buffer(
    Readable.from(encodeTar([{ ...plainHeader("x".repeat(150), { size: 3 }), content: [Buffer.from("abc")] }])),
  );
  const changed = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 5 }).map((changes) => {
    const copy = Buffer.from(whole);
    for (const [at, value] of changes) copy[at] = value;
    return copy;
  });
  const random = fc.uint8Array({ maxLength: 2_000 }).map((it) => Buffer.from(it));
  const cut = fc.nat(whole.length).map((length) => whole.subarray(0, length));
  await fc.assert(
    fc.asyncProperty(fc.oneof(changed, random, cut), async (archive) => {
      const result = await readAll(archive).catch((error: unknown) => error);
      if (!Array.isArray(result)) expect(result).toMatchObject({ code: "IMAGE_INVALID" });
      const path = scratchFile(archive);
      await using handle = await open(path);
      const read = async () => {
        for await (const it of readTar(tarFile(handle))) expect(TYPES).toContain(it.type);
      };
      await read().catch((error: unknown) => expect(error).toMatchObject({ code: "IMAGE_INVALID" }));
    }),
    { numRuns: 300 },
  );
});

test("an entry may claim to be larger than memory: nothing is allocated for it", async () => {
  const header = Buffer.from(await buffer(Readable.from(encodeTar([{ ...plainHeader("x"), content: [] }])))).subarray(
    0,
    512,
  );
  header.write("77777777777", 124, "latin1");
  header.write("        ", 148, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  await expect(readAll(header)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
});

test("a content that is not as long as it was said to be fails the archive", async () => {
  const short = encodeTar([{ ...plainHeader("x", { size: 4 }), content: [Buffer.from("abc")] }]);
  await expect(buffer(Readable.from(short))).rejects.toMatchObject({ code: "INTERNAL" });
});

test("paths lose what only looks different", () => {
  expect(["./usr/bin/", "/usr/bin", "././usr/bin", "usr/bin"].map(plainPath)).toEqual(Array(4).fill("usr/bin"));
  expect([".", "./", "/"].map(plainPath)).toEqual(["", "", ""]);
});

test("an archive in a file is read by position", async () => {
  const archive = await buffer(
    Readable.from(
      encodeTar([
        { ...plainHeader("a", { size: 3 }), content: [Buffer.from("one")] },
        { ...plainHeader("b", { size: 3 }), content: [Buffer.from("two")] },
      ]),
    ),
  );
  const path = scratchFile(archive);
  await using handle = await open(path);
  const found = [];
  for await (const it of readTar(tarFile(handle)))
    found.push(
      readFileSync(path)
        .subarray(it.offset, it.offset + it.size)
        .toString(),
    );
  expect(found).toEqual(["one", "two"]);
});
