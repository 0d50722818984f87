import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { extract, type Header, pack } from "tar-stream";
import { expect, test } from "vitest";
import { archiveOf, fileInArchive, readStat } from "../../src/container/archive.ts";

type Hostile = Partial<Header> & { readonly content?: Buffer };

function archive(...entries: readonly Hostile[]): Readable {
  const tar = pack();
  for (const { content, ...header } of entries) {
    tar.entry({ name: "file", mtime: new Date(0), ...header }, content ?? Buffer.alloc(0));
  }
  tar.finalize();
  return Readable.from(tar, { objectMode: false });
}

/** The same bytes in other pieces. */
async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("a file's content comes out, whatever its name and however the archive is cut", async () => {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }).filter((it) => !/[/\0]/.test(it));
  await fc.assert(
    fc.asyncProperty(
      name,
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 1, max: 4096 }),
      async (name, content, size) => {
        const bytes = await buffer(archiveOf([{ name, mode: 0o644, owner: 1000, content: Buffer.from(content) }]));
        const read = await fileInArchive(Readable.from(cut(bytes, size)), name, 3000);
        expect(read.equals(content)).toBe(true);
      },
    ),
    { numRuns: 50 },
  );
});

test("what is packed belongs to its owner and has its mode", async () => {
  const tar = archiveOf([
    { name: "new dir/", mode: 0o755, owner: 1000 },
    { name: `new dir/${"long".repeat(40)}.txt`, mode: 0o600, owner: 1000, content: Buffer.from("x") },
  ]);
  const seen: Partial<Header>[] = [];
  for await (const entry of tar.pipe(
    extract() as unknown as NodeJS.WritableStream,
  ) as unknown as AsyncIterable<Entry>) {
    const { name, mode, uid, gid, type, size } = entry.header;
    seen.push({ name, mode, uid, gid, type, size });
    entry.resume();
  }
  expect(seen).toEqual([
    { name: "new dir/", mode: 0o755, uid: 1000, gid: 1000, type: "directory", size: 0 },
    { name: `new dir/${"long".repeat(40)}.txt`, mode: 0o600, uid: 1000, gid: 1000, type: "file", size: 1 },
  ]);
});

interface Entry {
  readonly header: Header;
  resume(): void;
}

test.each<[string, Hostile, string]>([
  ["a link", { type: "symlink", linkname: "/etc/shadow" }, "PATH_IS_LINK"],
  ["a hard link to nothing", { type: "link", linkname: "/etc/shadow" }, "NOT_A_FILE"],
  ["a pipe", { type: "fifo" }, "NOT_A_FILE"],
  ["a device", { type: "character-device", devmajor: 1, devminor: 3 }, "NOT_A_FILE"],
  ["a directory", { type: "directory" }, "NOT_A_FILE"],
  ["another file", { name: "other", content: Buffer.from("x") }, "CHANNEL_VIOLATION"],
  ["the same name elsewhere", { name: "../file", content: Buffer.from("x") }, "CHANNEL_VIOLATION"],
  ["a file over the cap", { content: Buffer.alloc(101) }, "FILE_TOO_LARGE"],
])("%s is refused", async (_name, entry, code) => {
  await expect(fileInArchive(archive(entry), "file", 100)).rejects.toMatchObject({ code });
});

test("an archive of two files, of none, or cut short is refused", async () => {
  const file = { content: Buffer.from("x") };
  await expect(fileInArchive(archive(file, file), "file", 100)).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
  await expect(fileInArchive(archive(), "file", 100)).rejects.toMatchObject({ code: "CONTAINER_FAILED" });
  const bytes = await buffer(archive({ content: Buffer.alloc(5000) }));
  const short = Readable.from(cut(bytes.subarray(0, 3000), 700));
  await expect(fileInArchive(short, "file", 10_000)).rejects.toMatchObject({ code: "CONTAINER_FAILED" });
  const noise = Readable.from(cut(Buffer.alloc(4096, 7), 512));
  await expect(fileInArchive(noise, "file", 100)).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
});

test("a size header of 8 GiB is refused before any of it is read", async () => {
  const header = (await buffer(archive({ content: Buffer.from("x") }))).subarray(0, 512);
  header.write("77777777777\0", 124);
  header.write(`${checksum(header).toString(8).padStart(6, "0")}\0 `, 148);
  let sent = 0;
  const endless = async function* () {
    yield header;
    for (;;) {
      sent += 1;
      yield Buffer.alloc(65_536);
    }
  };
  await expect(fileInArchive(Readable.from(endless()), "file", 1_000_000)).rejects.toMatchObject({
    code: "FILE_TOO_LARGE",
  });
  expect(sent).toBeLessThan(10);
});

test.each([
  ["zeros", Buffer.alloc(65_536)],
  ["extended headers", await extendedHeader()],
])("an endless archive of %s is cut off [G13]", async (_name, piece) => {
  let sent = 0;
  const endless = async function* () {
    for (;;) {
      sent += 1;
      yield piece;
    }
  };
  await expect(fileInArchive(Readable.from(endless()), "file", 1_000_000)).rejects.toMatchObject({
    code: "CHANNEL_VIOLATION",
  });
  expect(sent * piece.length).toBeLessThan(300_000);
});

/** What a long name needs before its own header. */
async function extendedHeader(): Promise<Buffer> {
  return (await buffer(archive({ name: "n".repeat(30_000) }))).subarray(0, 512 + 30_208);
}

function checksum(header: Buffer): number {
  return header.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0);
}

function stat(fields: Record<string, unknown>): string {
  const whole = { name: "x", size: 5, mode: 0o644, mtime: "2026-01-02T03:04:05.678901234Z", linkTarget: "", ...fields };
  return Buffer.from(JSON.stringify(whole)).toString("base64");
}

test.each([
  [0o644, "file", 0o644],
  [0x8000_0000 + 0o755, "directory", 0o755],
  [0x8010_0000 + 0o777, "directory", 0o777],
  [0x0800_0000 + 0o777, "link", 0o777],
  [0x0200_0000 + 0o600, "other", 0o600],
  [0x0100_0000 + 0o600, "other", 0o600],
  [0x0420_0000 + 0o666, "other", 0o666],
  [0x0008_0000, "other", 0],
  [0x0080_0000 + 0o755, "file", 0o755],
])("mode %i is a %s", (mode, kind, permissions) => {
  const entry = readStat("/x", stat({ mode, linkTarget: "/y" }));
  expect(entry).toEqual({
    path: "/x",
    kind,
    mode: permissions,
    sizeBytes: 5,
    modifiedMs: Date.parse("2026-01-02T03:04:05.678Z"),
    ...(kind === "link" && { target: "/y" }),
  });
});

test("a link's target is made printable", () => {
  expect(readStat("/x", stat({ mode: 0x0800_0000, linkTarget: "/\u001b[2J" })).target).toBe("/\ufffd[2J");
});

test.each([
  "",
  "AAAA",
  stat({ size: -1 }),
  stat({ size: 1e300 }),
  stat({ mode: "0644" }),
  stat({ mtime: "yesterday" }),
])("%j is a violation", (header) => {
  expect(() => readStat("/x", header)).toThrow(expect.objectContaining({ code: "CHANNEL_VIOLATION" }));
});
