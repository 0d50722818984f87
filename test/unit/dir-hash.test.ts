import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { dirHash } from "../../src/packages/cache/dir-hash.ts";
import { scratch } from "../support/audit.ts";
import { makeZip, type ZipItem } from "../support/zip.ts";

async function hashOf(bytes: Buffer): Promise<string> {
  const path = join(scratch(), "m.zip");
  writeFileSync(path, bytes);
  await using file = await open(path);
  return await dirHash(file, AbortSignal.timeout(20_000));
}

const MODULE = "example.test/hands";
const at = (path: string) => `${MODULE}@v1.2.3/${path}`;
const ITEMS: readonly ZipItem[] = [
  { name: at("go.mod"), content: `module ${MODULE}\n` },
  { name: at("a/b.go"), content: "package a\n", stored: true },
  { name: at("a.go"), content: "package hands\n" },
  { name: at("a-b/ü-é-漢.txt"), content: "names are ordered by bytes" },
  { name: at("Z.txt"), content: "" },
  { name: at("big.bin"), content: Buffer.alloc(3 * 1024 ** 2, "some text ") },
];

/** What `go mod download` answers for the zip, from a proxy that is a folder. */
function goSum(zip: Buffer): string | undefined {
  const proxy = scratch();
  const versions = join(proxy, MODULE, "@v");
  mkdirSync(versions, { recursive: true });
  writeFileSync(join(versions, "list"), "v1.2.3\n");
  writeFileSync(join(versions, "v1.2.3.info"), '{"Version":"v1.2.3","Time":"2026-01-01T00:00:00Z"}');
  writeFileSync(join(versions, "v1.2.3.mod"), `module ${MODULE}\n`);
  writeFileSync(join(versions, "v1.2.3.zip"), zip);
  const home = scratch();
  const go = (...args: string[]) =>
    execFileSync("go", args, {
      cwd: home,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        HOME: home,
        GOPROXY: `file://${proxy}`,
        GONOSUMDB: "*",
        GOFLAGS: "-modcacherw",
        GOTOOLCHAIN: "local",
        GOMODCACHE: join(home, "modules"),
      },
    });
  try {
    go("version");
  } catch {
    return undefined;
  }
  return JSON.parse(go("mod", "download", "-json", `${MODULE}@v1.2.3`)).Sum;
}

test("a module's zip has the digest that go gives it", async () => {
  const zip = makeZip(ITEMS);
  const hex = await hashOf(zip);
  // What go 1.26 says.
  expect(hex).toBe("7f7e82c0520cdeed871628b19c861e83fd0051e24ce90bc352bd8e736bc9130b");
  const sum = goSum(zip);
  if (sum === undefined) console.warn("skipped: go is not installed");
  else expect(`h1:${Buffer.from(hex, "hex").toString("base64")}`).toBe(sum);
});

test("the order of files in the zip, and how they are packed, do not matter; names and contents do", async () => {
  const hex = await hashOf(makeZip(ITEMS));
  const other = ITEMS.toReversed().map((it) => ({ ...it, stored: !it.stored, flags: 0 }));
  expect(await hashOf(makeZip(other))).toBe(hex);
  const [first, ...rest] = ITEMS;
  expect(await hashOf(makeZip(rest))).not.toBe(hex);
  expect(await hashOf(makeZip([{ name: at("go.mod"), content: "module x" }, ...rest]))).not.toBe(hex);
  expect(await hashOf(makeZip([{ name: at("go.Mod"), content: first?.content ?? "" }, ...rest]))).not.toBe(hex);
});

test("what go would not take, and what unpacks to too much, is refused", async () => {
  const file = (changes: Partial<ZipItem> = {}): ZipItem => ({ name: at("a"), content: "content", ...changes });
  const bomb = { content: Buffer.alloc(1024 ** 2), claimedCrc: 1 };
  const refused: [Buffer, string][] = [
    [Buffer.from("no zip at all"), "cannot be read"],
    [Buffer.alloc(0), "cannot be read"],
    [makeZip(ITEMS).subarray(0, -30), "cannot be read"],
    [makeZip([file(), file()]), "two files of one name"],
    [makeZip([file({ name: "a\nb" })]), "newline"],
    [makeZip([file({ flags: 1 })]), "encrypted"],
    [makeZip([file({ claimedCrc: 1 })]), "damaged"],
    [makeZip([file({ claimedSize: 3 })]), "damaged"],
    [makeZip([file({ claimedSize: 30 })]), "damaged"],
    [makeZip([file({ claimedSize: 2_000_000 })]), "damaged"],
    [makeZip([file({ content: Buffer.alloc(5_000_000, 1), claimedSize: 1_500_000 })]), "damaged"],
    [makeZip([file({ claimedSize: 0xffff_0000 })]), "more than it may"],
    [makeZip(Array.from({ length: 20 }, (_, n) => file({ ...bomb, name: `${n}`, claimedSize: 1024 ** 2 }))), "damaged"],
    [makeZip(Array.from({ length: 2 }, (_, n) => file({ name: `${n}`, claimedSize: 2 ** 29 }))), "more than it may"],
    [makeZip(Array.from({ length: 600 }, (_, n) => file({ name: `${n}`.padEnd(65_000), content: "" }))), "too many"],
  ];
  for (const [bytes, why] of refused) {
    const failure = hashOf(bytes);
    await expect(failure).rejects.toMatchObject({ code: "REGISTRY_MALFORMED", message: expect.stringContaining(why) });
  }
});

test("any byte changed is refused, or another digest, and ends nothing else", async () => {
  const zip = makeZip(ITEMS.slice(0, 5));
  const hex = await hashOf(zip);
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on("uncaughtException", note);
  onTestFinished(() => void process.off("uncaughtException", note));
  for (let byte = 0; byte < zip.length; byte++) {
    const changed = Buffer.from(zip);
    changed[byte] = (changed[byte] ?? 0) ^ (1 << (byte % 8));
    const digest = await hashOf(changed).catch((error: { code?: string }) => error.code);
    // Times, versions, attributes and the local header's copy of names are in no digest.
    expect([hex, "REGISTRY_MALFORMED"].includes(digest ?? "") || digest?.length === 64).toBe(true);
  }
  expect(unhandled).toEqual([]);
});
