import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createMounts } from "../../src/mounts/mounts.ts";
import { workbench } from "../support/capability-context.ts";
import { contents, filesOf, fill, scratch } from "../support/mounts.ts";

interface Setting {
  readonly mount?: object;
  readonly files?: object;
}

/** A mount `app` of these files, and a sandbox beside it. */
function stand(files: Readonly<Record<string, string | Buffer>>, { mount = {}, files: limits = {} }: Setting = {}) {
  const directory = scratch();
  const [host, box] = [join(directory, "host"), join(directory, "box")];
  fill(directory, { "host/": "", "box/": "" });
  fill(host, files);
  const bench = workbench({ profile: { mounts: [{ name: "app", host, ...mount }], files: limits } });
  const importFiles = (args: object = {}) => bench.call("importFiles", { mount: "app", to: box, ...args });
  return { host, box, bench, importFiles };
}

test("a tree is copied with its modes, its empty directories and the links that stay within it", async () => {
  const { host, box, importFiles } = stand({ "a.txt": "one", "src/run*": "#!", "src/deep/b": "two", "empty/": "" });
  symlinkSync("deep/b", join(host, "src", "inner"));
  symlinkSync("../a.txt", join(host, "src", "up"));
  for (const [name, target] of [
    ["out", "../../etc/passwd"],
    ["root", "/etc/passwd"],
    ["tricky", "deep/../../../x"],
  ] as const) {
    symlinkSync(target, join(host, "src", name));
  }
  const { result, text } = await importFiles();
  expect(contents(box)).toEqual({
    "a.txt": "one",
    "src/run*": "#!",
    "src/deep/b": "two",
    "src/inner": "-> deep/b",
    "src/up": "-> ../a.txt",
    "empty/": "",
  });
  expect(result).toMatchObject({ files: 3, bytes: 8, links: 2, skipped: { link: 3 } });
  expect(result.skippedPaths.map((it: { path: string }) => it.path)).toEqual(["src/out", "src/root", "src/tricky"]);
  expect(JSON.stringify(result) + text).not.toContain(host);
});

test("the digest is what sha256sum makes of the files, odd names too", async () => {
  const { box, importFiles } = stand({ b: "2", "a/z": "1", ü: "3", "two\nlines": "4", "back\\slash": "5" });
  const { result } = await importFiles();
  const script = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum";
  const sums = execFileSync("sh", ["-c", script], { cwd: box });
  expect(result.sha256).toBe(createHash("sha256").update(sums).digest("hex"));
});

test("a single file, and a directory further down, go where they are told or where they belong", async () => {
  const { box, importFiles } = stand({ "docs/a.md": "a", "docs/b.md": "b", c: "c" });
  expect((await importFiles({ path: "docs/a.md", to: join(box, "renamed.md") })).result).toMatchObject({ files: 1 });
  await importFiles({ path: "/docs/" });
  expect(contents(box)).toEqual({ "renamed.md": "a", "a.md": "a", "b.md": "b" });
});

const SECRETS = [
  ".env",
  ".ENV.local",
  ".ssh/known_hosts",
  ".SSH/id",
  ".aws/credentials",
  ".gnupg/x",
  "id_rsa",
  "ID_RSA",
  "key.PEM",
  "server.key",
];
const MORE_SECRETS = [
  ".git/config",
  "sub/.git/config",
  ".git/modules/x/config",
  ".npmrc",
  ".netrc",
  "a/.kube/config",
  ".ssh./x",
  ".ssh /x",
  ".s\u200dsh/x",
  "．env",
];

test("secrets stay where they are, in whatever spelling, and what only looks like one is copied [G22]", async () => {
  const innocent = [".env.example", "environment", "keys.ts", ".git/HEAD", ".gitignore", "config", "ssh/x", "monkey"];
  const all = [...SECRETS, ...MORE_SECRETS, ...innocent];
  const { box, importFiles } = stand(Object.fromEntries(all.map((it) => [it, "x"])));
  const { result } = await importFiles();
  expect(filesOf(box)).toEqual(innocent.toSorted());
  expect(result.skipped["sensitive"]).toBeGreaterThanOrEqual(15);
  for (const path of [".env", ".ssh", ".ssh/known_hosts"]) {
    await expect(importFiles({ path })).rejects.toMatchObject({ code: "PATH_EXCLUDED" });
  }
});

test("what the profile allows, excludes and includes is as it says", async () => {
  const mount = { allowSensitive: [".env"], exclude: ["node_modules", "*.LOG"], include: ["src", "*.md", ".env"] };
  const files = {
    ".env": "e",
    "a.md": "m",
    "a.txt": "t",
    "src/x.ts": "x",
    "src/y.log": "y",
    "src/node_modules/z": "z",
    "lib/x": "l",
    "lib/r.md": "r",
  };
  const { box, importFiles } = stand(files, { mount });
  const { result } = await importFiles();
  expect(Object.keys(contents(box)).toSorted()).toEqual([".env", "a.md", "lib/r.md", "src/x.ts"]);
  expect(result.skipped).toEqual({ excluded: 4 });
  for (const path of ["a.txt", "lib/x", "src/y.log", "src/node_modules/z", "src/node_modules"]) {
    await expect(importFiles({ path }), path).rejects.toMatchObject({ code: "PATH_EXCLUDED" });
  }
  expect((await importFiles({ path: "lib" })).result).toMatchObject({ files: 1, skipped: { excluded: 1 } });
  const narrow = stand(files, { mount });
  await narrow.importFiles({ include: ["*.ts", "*.log"] });
  expect(Object.keys(contents(narrow.box))).toEqual(["src/x.ts"]);
});

test(".gitignore files are respected on request, from the mount's root down", async () => {
  const files = {
    ".gitignore": "*.o\n/dist/\n!keep.o\n",
    "a.o": "",
    "keep.o": "",
    "dist/x": "",
    "sub/dist/y": "",
    "sub/.gitignore": "!b.o\nown",
    "sub/b.o": "",
    "sub/c.o": "",
    "sub/own": "",
  };
  const { box, importFiles } = stand(files);
  await importFiles({ gitignore: true });
  expect(Object.keys(contents(box)).toSorted()).toEqual([
    ".gitignore",
    "keep.o",
    "sub/.gitignore",
    "sub/b.o",
    "sub/dist/y",
  ]);
  const below = stand(files);
  await below.importFiles({ gitignore: true, path: "sub" });
  expect(Object.keys(contents(below.box)).toSorted()).toEqual([".gitignore", "b.o", "dist/y"]);
  const vast = stand({ ".gitignore": "x\n".repeat(40_000) });
  await expect(vast.importFiles({ gitignore: true })).rejects.toMatchObject({ code: "TRANSFER_TOO_LARGE" });
});

test("pipes, sockets and what may not be read are left out and said, and nobody waits for them", async () => {
  const { host, box, importFiles } = stand({ a: "a" });
  execFileSync("mkfifo", [join(host, "pipe")]);
  execFileSync("python3", [
    "-c",
    "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
    join(host, "s"),
  ]);
  const { result } = await importFiles();
  expect(result.skipped).toEqual({ special: 2 });
  expect(Object.keys(contents(box))).toEqual(["a"]);
  await expect(importFiles({ path: "pipe" })).rejects.toMatchObject({ code: "NOT_A_FILE" });
});

test("a path through a link, to nothing or through a file is refused; `..` never leaves the mount", async () => {
  const { host, importFiles } = stand({ "d/f": "f", secret: "no" });
  symlinkSync("d", join(host, "l"));
  symlinkSync("/etc/passwd", join(host, "p"));
  for (const path of ["l", "l/f", "p"])
    await expect(importFiles({ path })).rejects.toMatchObject({ code: "PATH_IS_LINK" });
  for (const path of ["nothing", "d/nothing", "../../etc/passwd", "/etc/passwd"]) {
    await expect(importFiles({ path })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  }
  await expect(importFiles({ path: "d/f/x" })).rejects.toMatchObject({ code: "NOT_A_FILE" });
});

test("limits of files, bytes and depth hold", async () => {
  const many = stand({ a: "1", b: "2", "d/c": "3" }, { files: { maxTransferFiles: 3 } });
  await expect(many.importFiles()).rejects.toMatchObject({ code: "TRANSFER_TOO_LARGE" });
  const large = stand(
    { a: Buffer.alloc(600_000), b: Buffer.alloc(600_000) },
    { files: { maxTransferBytes: 1_000_000 } },
  );
  await expect(large.importFiles()).rejects.toMatchObject({ code: "TRANSFER_TOO_LARGE" });
  const deep = stand({ [`${"d/".repeat(70)}f`]: "x" });
  await expect(deep.importFiles()).rejects.toMatchObject({ code: "TRANSFER_TOO_LARGE" });
});

test("a large file is copied piece by piece, and an aborted import stops", async () => {
  const { box, importFiles, bench } = stand({ big: Buffer.alloc(5_000_000, "x"), small: "s" });
  expect((await importFiles()).result).toMatchObject({ files: 2, bytes: 5_000_001 });
  expect(contents(box)["big"]).toHaveLength(5_000_000);
  const reason = new Error("enough");
  const aborted = bench.call("importFiles", { mount: "app", to: box }, AbortSignal.abort(reason));
  await expect(aborted).rejects.toBe(reason);
});

test("a mount that is not there, too much, or Glovebox's own is refused without naming its place", async () => {
  const directory = scratch();
  fill(directory, { "data/state/": "", file: "" });
  const mount = (host: string) => [
    { name: "m", host, mode: "ro" as const, include: [], exclude: [], allowSensitive: [] },
  ];
  const open = (host: string) => createMounts(mount(host), [join(directory, "data")]).open("m", "ro");
  symlinkSync(homedir(), join(directory, "home"));
  symlinkSync("/", join(directory, "root"));
  mkdirSync(join(directory, "beside"));
  for (const name of ["nothing", "file", "home", "root", "data", "data/state", "."]) {
    const refused = await open(join(directory, name)).catch((error: unknown) => error);
    expect(refused, name).toMatchObject({ code: "MOUNT_UNUSABLE" });
    expect(String(refused)).not.toContain(directory);
  }
  await using opened = await open(join(directory, "beside"));
  expect(opened.mount.name).toBe("m");
  const { importFiles } = stand({});
  await expect(importFiles({ mount: "other" })).rejects.toMatchObject({
    code: "MOUNT_NOT_FOUND",
    message: expect.stringContaining("app"),
  });
});

test("a folder of Glovebox's own that is not there keeps no mount from being used, and its place is kept", async () => {
  const directory = scratch();
  fill(directory, { "work/": "", "etc/": "" });
  const open = (name: string) => {
    const mount = { name: "m", host: join(directory, name), mode: "ro" as const, include: [], exclude: [] };
    return createMounts([{ ...mount, allowSensitive: [] }], [join(directory, "etc", "glovebox", "policy")]).open(
      "m",
      "ro",
    );
  };
  await using opened = await open("work");
  expect(opened.mount.name).toBe("m");
  await expect(open("etc")).rejects.toMatchObject({ code: "MOUNT_UNUSABLE", message: expect.stringContaining("own") });
});

test("neither what a link of Glovebox's own leads to can be mounted, nor the place where it lies", async () => {
  const directory = scratch();
  fill(directory, { "bundles/mine/": "", "config/": "", "work/": "" });
  symlinkSync(join(directory, "bundles", "mine"), join(directory, "config", "policy"));
  const open = (name: string) => {
    const mount = { name: "m", host: join(directory, name), mode: "ro" as const, include: [], exclude: [] };
    return createMounts([{ ...mount, allowSensitive: [] }], [join(directory, "config", "policy")]).open("m", "ro");
  };
  for (const name of ["config", "bundles", "bundles/mine"]) {
    await expect(open(name), name).rejects.toMatchObject({ code: "MOUNT_UNUSABLE" });
  }
  await using opened = await open("work");
  expect(opened.mount.name).toBe("m");
});

test("a folder that a link leads out of what another layer hands over is refused [G22]", async () => {
  const directory = scratch();
  fill(directory, { "work/app/docs/": "", "private/": "" });
  symlinkSync(join(directory, "private"), join(directory, "work", "app", "link"));
  const work = join(directory, "work");
  const rest = { name: "m", mode: "ro" as const, include: [], exclude: [], allowSensitive: [] };
  const open = (name: string, within = [work]) =>
    createMounts([{ ...rest, host: join(work, "app", name), within }], []).open("m", "ro");
  await expect(open("link")).rejects.toMatchObject({ code: "MOUNT_UNUSABLE" });
  await expect(open("docs", [work, join(directory, "private")])).rejects.toMatchObject({ code: "MOUNT_UNUSABLE" });
  await using opened = await open("docs");
  expect(opened.mount.host).toBe(join(work, "app", "docs"));
});

test("the tools are offered where there is something to copy from and to", async () => {
  const { findCapability } = await import("../../src/capability/registry.ts");
  const { profileSchema } = await import("../../src/policy/profile.ts");
  const offered = (mounts: object[]) => {
    const profile = profileSchema.parse({ mounts });
    return ["importFiles", "exportFiles"].filter((it) => findCapability(it)?.offered?.(profile));
  };
  expect(offered([])).toEqual([]);
  expect(offered([{ name: "a", host: "/srv/a" }])).toEqual(["importFiles"]);
  expect(offered([{ name: "a", host: "~/a", mode: "rw" }])).toEqual(["importFiles", "exportFiles"]);
});

test("10 000 small files are copied", async () => {
  const files = Object.fromEntries(Array.from({ length: 10_000 }, (_, it) => [`d${it % 100}/f${it}`, `${it}`]));
  const { box, importFiles } = stand(files);
  expect((await importFiles()).result).toMatchObject({ files: 10_000, skipped: {} });
  expect(contents(box)).toEqual(files);
});

test("a file that is written to meanwhile is copied as it was, or refused", async () => {
  const { host, importFiles } = stand({ log: Buffer.alloc(3_000_000) });
  const importing = importFiles();
  writeFileSync(join(host, "log"), "short");
  const result = await importing.catch((error: unknown) => error);
  if (result instanceof Error) expect(result).toMatchObject({ code: "FILE_CHANGED" });
});
