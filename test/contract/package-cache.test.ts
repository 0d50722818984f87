import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { PackageCache } from "../../src/packages/cache/cache.ts";
import { openPackageCache } from "../../src/packages/cache/disk-cache.ts";
import type { Integrity } from "../../src/packages/registry.ts";
import { scratch } from "../support/audit.ts";
import { mountTmpfs } from "../support/file-system.ts";

const WRITER = join(import.meta.dirname, "..", "support", "cache-writer.ts");
const KIB = 1024;
const MIB = 1024 * KIB;
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn("skipped: a full or read-only file system can be made by root only (mount)");

/** A cache, and what it has logged. */
async function openCache(directory: string, maxBytes = 64 * MIB) {
  const logged: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => logged.push(JSON.parse(line).msg) });
  const cache = await openPackageCache({ directory, maxBytes, log });
  return Object.assign(cache, { logged });
}

const hashOf = (algorithm: string, content: Buffer | string) => createHash(algorithm).update(content).digest("hex");

function keyOf(content: Buffer | string, algorithm: Exclude<Integrity["algorithm"], "h1"> = "sha512"): Integrity {
  return { algorithm, hex: hashOf(algorithm, content) };
}

async function keep(cache: PackageCache, key: Integrity, content: Buffer | string): Promise<Buffer> {
  await using keeping = await cache.keep(key);
  const [passed] = await Promise.all([buffer(keeping.stream), pipeline(Readable.from([content]), keeping.stream)]);
  await keeping.commit();
  return passed;
}

async function read(cache: PackageCache, key: Integrity): Promise<string | undefined> {
  const file = await cache.open(key, AbortSignal.timeout(30_000));
  return file && (await buffer(file.read())).toString();
}

function filesIn(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((it) => it.isFile()).map((it) => join(it.parentPath, it.name));
}

/** Files that are whole, by their path. */
const keptIn = (directory: string) => filesIn(directory).filter((it) => !it.startsWith(join(directory, "incoming")));

function onlyFile(directory: string): string {
  const [file = "", ...others] = keptIn(directory);
  expect(others).toEqual([]);
  return file;
}

const bytesIn = (files: readonly string[]) => files.reduce((sum, it) => sum + statSync(it).size, 0);

test("a file is kept from the commit on, by each of its digests, and read by other gateways", async () => {
  const directory = join(scratch(), "packages");
  await using one = await openCache(directory);
  await using two = await openCache(directory);
  for (const algorithm of ["sha512", "sha384", "sha256", "sha1"] as const) {
    const key = keyOf("content", algorithm);
    expect(await read(two, key)).toBeUndefined();
    expect((await keep(one, key, "content")).toString()).toBe("content");
    const file = await two.open(key, AbortSignal.timeout(30_000));
    expect(file).toMatchObject({ sizeBytes: 7, sha256: hashOf("sha256", "content") });
    await file?.close();
    expect(existsSync(join(directory, algorithm, key.hex.slice(0, 2), key.hex))).toBe(true);
  }
  const empty = keyOf("");
  await keep(one, empty, "");
  expect(await read(two, empty)).toBe("");
  for (const path of [directory, ...filesIn(directory).map(dirname)]) expect(statSync(path).mode & 0o777).toBe(0o700);
  for (const path of keptIn(directory)) expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("without a commit, before the end, or after a failure nothing is kept, and nothing is left", async () => {
  const directory = scratch();
  await using cache = await openCache(directory);
  {
    await using keeping = await cache.keep(keyOf("a"));
    await pipeline(Readable.from(["a"]), keeping.stream.resume());
  }
  {
    await using keeping = await cache.keep(keyOf("b"));
    keeping.stream.write("b");
    await keeping.commit();
  }
  {
    await using keeping = await cache.keep(keyOf("c"));
    keeping.stream.on("error", () => undefined).destroy(new Error("broken off"));
    await keeping.commit();
  }
  expect(keptIn(directory)).toEqual([]);
  expect(filesIn(directory).map((it) => basename(it))).toEqual(["lock"]);
  expect(cache.logged).toEqual([]);
});

test("what does not match its digest any more is not read, and removed", async () => {
  const directory = scratch();
  await using cache = await openCache(directory);
  const content = Buffer.alloc(MIB, "x");
  const damage: ((path: string) => void)[] = [
    (path) => writeFileSync(path, content.subarray(1)),
    (path) => writeFileSync(path, ""),
    (path) => writeFileSync(path, Buffer.concat([content, content])),
    (path) => writeSync(openSync(path, "r+"), "y", MIB - 1),
  ];
  for (const it of damage) {
    await keep(cache, keyOf(content), content);
    it(onlyFile(directory));
    expect(await read(cache, keyOf(content))).toBeUndefined();
    expect(keptIn(directory)).toEqual([]);
  }
});

test("a link, a folder, a pipe, another user's file, or one that others may write is no file of the cache", async () => {
  const directory = scratch();
  await using cache = await openCache(directory);
  const key = keyOf("content");
  const elsewhere = join(scratch(), "file");
  writeFileSync(elsewhere, "content", { mode: 0o600 });
  await keep(cache, key, "content");
  const place = onlyFile(directory);
  const put: (() => void)[] = [
    () => symlinkSync(elsewhere, place),
    () => mkdirSync(place),
    () => execFileSync("mkfifo", [place]),
    () => {
      linkSync(elsewhere, place);
      chmodSync(place, 0o666);
    },
  ];
  for (const [number, it] of put.entries()) {
    renameSync(place, join(scratch(), String(number)));
    it();
    expect(await read(cache, key)).toBeUndefined();
    expect(statSync(elsewhere).isFile()).toBe(true);
  }
  for (const hex of ["", "../../etc", key.hex.toUpperCase(), key.hex.slice(1)])
    await expect(cache.open({ algorithm: "sha512", hex }, AbortSignal.timeout(1_000))).rejects.toThrow("spelling");
});

test("a file that is written into after its check breaks off before its last piece", async () => {
  const directory = scratch();
  await using cache = await openCache(directory);
  for (const size of [10, 3 * MIB]) {
    const content = Buffer.alloc(size, "x");
    await keep(cache, keyOf(content), content);
    const place = onlyFile(directory);
    const file = await cache.open(keyOf(content), AbortSignal.timeout(30_000));
    if (!file) throw new Error("not kept");
    writeSync(openSync(place, "r+"), "evil", size - 4);
    const pieces: Buffer[] = [];
    const reading = file.read().on("data", (it: Buffer) => pieces.push(it));
    await expect(once(reading, "end")).rejects.toThrow("changed while it was read");
    expect(Buffer.concat(pieces).toString()).toMatch(/^x*$/);
    expect(bytesIn([place])).toBeGreaterThan(Buffer.concat(pieces).length);
    expect(await read(cache, keyOf(content))).toBeUndefined();
  }
});

test("a reader keeps what it has open, whatever happens to the file's name", async () => {
  const directory = scratch();
  await using cache = await openCache(directory, 100 * KIB);
  const content = "x".repeat(40 * KIB);
  await keep(cache, keyOf(content), content);
  const place = onlyFile(directory);
  const open = await cache.open(keyOf(content), AbortSignal.timeout(30_000));
  let n = 0;
  const oneMore = () => keep(cache, keyOf(`${++n}`), Buffer.alloc(30 * KIB, `${n}`));
  await expect.poll(() => oneMore().then(() => existsSync(place))).toBe(false);
  expect((await buffer(open?.read() ?? Readable.from([]))).toString()).toBe(content);
});

test("a stream that is given up, and a question that is, close the file", async () => {
  const directory = scratch();
  await using cache = await openCache(directory);
  await keep(cache, keyOf("content"), "content");
  const before = readdirSync("/proc/self/fd").length;
  const given = await cache.open(keyOf("content"), AbortSignal.timeout(30_000));
  expect(readdirSync("/proc/self/fd")).toHaveLength(before + 1);
  given?.read().destroy();
  await expect.poll(() => readdirSync("/proc/self/fd").length).toBe(before);
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(cache.open(keyOf("content"), signal)).rejects.toThrow("enough");
  expect(readdirSync("/proc/self/fd")).toHaveLength(before);
});

test("documents come back as they were put; a damaged one, or one in another's place, is none", async () => {
  const directory = scratch();
  await using cache = await openCache(directory);
  const document = { fetchedMs: 1_767_225_600_000.5, head: '{"status":200}', body: Buffer.from([0, 10, 255, 13]) };
  await cache.putDocument("a\nb", document);
  expect(await cache.document("a\nb")).toEqual(document);
  await cache.putDocument("a\nb", { ...document, fetchedMs: 2 });
  expect(await cache.document("a\nb")).toMatchObject({ fetchedMs: 2 });
  expect(await cache.document("a")).toBeUndefined();
  const place = onlyFile(directory);

  const bytes = readFileSync(place);
  for (const at of [0, 70, bytes.length - 1]) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    writeFileSync(place, changed, { mode: 0o600 });
    expect(await cache.document("a\nb")).toBeUndefined();
    expect(existsSync(place)).toBe(false);
  }
  await cache.putDocument("other", document);
  renameSync(onlyFile(directory), place);
  expect(await cache.document("a\nb")).toBeUndefined();
});

test("the least recently used files go, whatever the clock was; what is used stays", async () => {
  const directory = scratch();
  const contents = Array.from({ length: 20 }, (_, n) => Buffer.alloc(50 * KIB, `${n} `));
  const keys = contents.map((it) => keyOf(it));
  {
    await using cache = await openCache(directory);
    for (const content of contents) await keep(cache, keyOf(content), content);
    const now = Date.now() / 1_000;
    const place = (n: number) => join(directory, "sha512", keys[n]?.hex.slice(0, 2) ?? "", keys[n]?.hex ?? "");
    for (const n of keys.keys()) utimesSync(place(n), now - 1_000 + n, now - 1_000 + n);
    // Two were used when the clock was a year ahead: nobody knows when that was.
    for (const n of [18, 19]) utimesSync(place(n), now + 31_536_000, now + 31_536_000);
    expect(await read(cache, keyOf(contents[0] ?? ""))).toBeDefined();
  }
  await using cache = await openCache(directory, 500 * KIB);
  await expect.poll(() => keptIn(directory).length).toBe(8);
  const left = await Promise.all(keys.map((key) => read(cache, key)));
  expect([...left.entries()].filter(([, it]) => it !== undefined).map(([n]) => n)).toEqual([
    0, 11, 12, 13, 14, 15, 16, 17,
  ]);
});

test("what is larger than may be on its way passes, and is not kept", async () => {
  const directory = scratch();
  await using cache = await openCache(directory, 100 * KIB);
  const content = Buffer.alloc(60 * KIB, "x");
  expect((await keep(cache, keyOf(content), content)).equals(content)).toBe(true);
  expect(keptIn(directory)).toEqual([]);
  await keep(cache, keyOf("small"), "small");
  expect(await read(cache, keyOf("small"))).toBe("small");
  expect(cache.logged).toHaveLength(1);
});

function startWriter(directory: string, maxBytes: number, files: number) {
  const args = [WRITER, directory, String(maxBytes), String(files)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const said: string[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => said.push(line));
  const ended = Promise.all([once(child, "exit"), once(reader, "close")]);
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  return { said, kill, [Symbol.asyncDispose]: kill };
}

const says = (writer: { said: string[] }, lines: number) =>
  expect.poll(() => writer.said.length, { timeout: 30_000, interval: 5 }).toBeGreaterThanOrEqual(lines);

/** Every file is what its name says. */
async function verifyAll(directory: string): Promise<void> {
  for (const path of keptIn(directory).filter((it) => it.includes("/sha256/")))
    expect(hashOf("sha256", readFileSync(path))).toBe(basename(path));
}

test("thirty kills at random points: what was kept is whole, and what the dead left goes at the next start", async () => {
  const directory = scratch();
  for (let round = 0; round < 30; round++) {
    await using writer = startWriter(directory, 200 * MIB, 1_000);
    await says(writer, 1 + (round % 4) * 3);
    await sleep(Math.random() * 30);
    await writer.kill();
    for (const hex of writer.said.slice(1)) expect(hex).toMatch(/^[0-9a-f]{64}$/);
    const kept = writer.said.slice(1).map((hex) => join(directory, "sha256", hex.slice(0, 2), hex));
    expect(kept.filter((it) => !existsSync(it))).toEqual([]);
  }
  await verifyAll(directory);
  expect(keptIn(directory).length).toBeGreaterThan(60);
  await using _cache = await openCache(directory);
  expect(readdirSync(join(directory, "incoming"))).toHaveLength(1);
  expect(filesIn(join(directory, "incoming")).map((it) => basename(it))).toEqual(["lock"]);
});

test("four processes write and evict in one directory: it stays within its size, nobody reads anything wrong", async () => {
  const directory = scratch();
  const maxBytes = 6 * MIB;
  await using writers = new AsyncDisposableStack();
  const four = Array.from({ length: 4 }, () => writers.use(startWriter(directory, maxBytes, 200)));
  for (const it of four) await says(it, 20);
  let largest = 0;
  for (let look = 0; look < 20; look++) {
    await sleep(50);
    const sizes = keptIn(directory).map((it) => statSync(it, { throwIfNoEntry: false })?.size ?? 0);
    largest = Math.max(
      largest,
      sizes.reduce((sum, it) => sum + it, 0),
    );
  }
  for (const it of four) await it.kill();
  expect(four.flatMap((it) => it.said).filter((it) => it === "wrong")).toEqual([]);
  expect(largest).toBeLessThan(maxBytes * (1 + 4 / 8) + 4 * 300_000);
  await verifyAll(directory);
});

test.runIf(isRoot)("a full disk: all passes, what fits is kept, the log says so once", async () => {
  const directory = mountTmpfs(scratch(), "size=2m,mode=0700");
  await using cache = await openCache(directory);
  for (let n = 0; n < 8; n++) {
    const content = Buffer.alloc(500 * KIB, `${n}`);
    expect((await keep(cache, keyOf(content), content)).equals(content)).toBe(true);
    await cache.putDocument(`${n}`, { fetchedMs: 0, head: "", body: content });
  }
  expect(keptIn(directory).length).toBeGreaterThan(0);
  expect(cache.logged).toHaveLength(1);
  for (const path of keptIn(directory).filter((it) => it.includes("/sha512/")))
    expect(hashOf("sha512", readFileSync(path))).toBe(basename(path));
});

test.runIf(isRoot)(
  "a file system that is read-only, or a folder of somebody else's: nothing is kept, all passes",
  async () => {
    const directory = mountTmpfs(scratch(), "size=2m,mode=0700");
    const key = keyOf("content");
    {
      await using cache = await openCache(directory);
      await keep(cache, key, "content");
    }
    execFileSync("mount", ["-o", "remount,ro", directory]);
    const foreign = scratch();
    execFileSync("chown", ["65534", foreign]);
    const file = join(scratch(), "file");
    writeFileSync(file, "");
    for (const [place, found] of [
      [directory, "content"],
      [foreign, undefined],
      [file, undefined],
    ] as const) {
      await using cache = await openCache(place);
      expect(await read(cache, key)).toBe(found);
      const others = ["a", "b"].map((it) => keep(cache, keyOf(it), it));
      expect(String(await Promise.all(others))).toBe("a,b");
      await cache.putDocument("a", { fetchedMs: 0, head: "", body: Buffer.from("a") });
      expect(await cache.document("a")).toBeUndefined();
      expect(cache.logged).toHaveLength(1);
    }
  },
);

test.runIf(isRoot)("the last of a disk is left to others", async () => {
  const directory = mountTmpfs(scratch(), "size=64m,mode=0700");
  await using cache = await openCache(directory, 512 * MIB);
  await keep(cache, keyOf("early"), "early");
  writeFileSync(join(directory, "ballast"), Buffer.alloc(61 * MIB));
  await keep(cache, keyOf("late"), "late");
  expect([await read(cache, keyOf("early")), await read(cache, keyOf("late"))]).toEqual(["early", undefined]);
  writeFileSync(join(directory, "ballast"), Buffer.alloc(20 * MIB));
  // It begins while there is room, and sees on its way that there is none any more.
  const large = Buffer.alloc(43 * MIB, "x");
  await using keeping = await cache.keep(keyOf(large));
  const pieces = Array.from({ length: 43 }, (_, n) => {
    if (n === 30) writeFileSync(join(directory, "more"), Buffer.alloc(11 * MIB));
    return large.subarray(n * MIB, (n + 1) * MIB);
  });
  await pipeline(Readable.from(pieces), keeping.stream.resume());
  await keeping.commit();
  expect(await read(cache, keyOf(large))).toBeUndefined();
  expect(bytesIn(filesIn(join(directory, "incoming")))).toBe(0);
  expect(cache.logged).toHaveLength(1);
});

test("what the dead left goes at the next start; what the living have does not", async () => {
  const directory = scratch();
  await using _living = await openCache(directory);
  const incoming = join(directory, "incoming");
  const [own = ""] = readdirSync(incoming);
  for (const name of ["dead", ".unborn", ".just-being-born"]) mkdirSync(join(incoming, name));
  writeFileSync(join(incoming, "dead", "0"), "half a file");
  utimesSync(join(incoming, ".unborn"), 1, 1);
  {
    await using _next = await openCache(directory);
    const names = readdirSync(incoming);
    expect(names).toHaveLength(3);
    expect(names).toEqual(expect.arrayContaining([own, ".just-being-born"]));
  }
  expect(readdirSync(incoming).sort()).toEqual([".just-being-born", own].sort());
});
