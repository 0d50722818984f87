import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { Container, TreeEntry, TreeFile, TreeLimits } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";
import { forever, python, runToEnd, spec } from "./container-suite.ts";

const LIMITS: TreeLimits = { maxEntries: 20_000, maxBytes: 100_000_000, prune: [] };

function file(name: string, content: string | Buffer, executable = false): TreeFile {
  const bytes = Buffer.from(content);
  return { kind: "file", name, executable, sizeBytes: bytes.length, content: [bytes] };
}

const directory = (name: string): TreeEntry => ({ kind: "directory", name });
const link = (name: string, target: string): TreeEntry => ({ kind: "link", name, target });

async function* given(entries: Iterable<TreeEntry>): AsyncGenerator<TreeEntry> {
  yield* entries;
}

/** What every container must do with whole trees. `get` is called in tests only. */
export function treesSuite(get: () => Container): void {
  const importTree = (path: string, entries: Iterable<TreeEntry>) => get().importTree(path, given(entries), forever);
  const shell = async (script: string) => (await runToEnd(get(), ["sh", "-c", script])).stdout;
  /** By name: a file's mode and content, a link's target, or the kind. */
  const exported = async (path: string, limits: Partial<TreeLimits> = {}) => {
    const found: Record<string, string> = {};
    for await (const entry of get().exportTree(path, { ...LIMITS, ...limits }, forever)) {
      if (entry.kind === "file") {
        const content = await buffer(Readable.from(entry.content));
        expect(content).toHaveLength(entry.sizeBytes);
        found[entry.name] = `${entry.executable ? "x" : "-"}${content.toString()}`;
      } else found[entry.name] = entry.kind === "link" ? `-> ${entry.target}` : entry.kind;
    }
    return found;
  };

  test("a tree comes back as it went in, and belongs to the agent", async () => {
    const tree = [
      file("a.txt", "one"),
      file("run.sh", "#!/bin/sh\n", true),
      directory("empty"),
      directory("deep"),
      directory("deep/er"),
      file("deep/er/b", ""),
      link("deep/up", "../a.txt"),
      file("z", Buffer.alloc(300_000, "z")),
    ];
    await importTree("/workspace/trees/one", tree);
    expect(await exported("/workspace/trees/one")).toEqual({
      "": "directory",
      "a.txt": "-one",
      "run.sh": "x#!/bin/sh\n",
      empty: "directory",
      deep: "directory",
      "deep/er": "directory",
      "deep/er/b": "-",
      "deep/up": "-> ../a.txt",
      z: `-${"z".repeat(300_000)}`,
    });
    const seen = await shell("cd /workspace/trees; find . | sort | xargs stat -c '%n %u:%g %a' | grep -v :one/z");
    expect(seen.split("\n")).toEqual(
      expect.arrayContaining([". 1000:1000 755", "./one/a.txt 1000:1000 644", "./one/run.sh 1000:1000 755"]),
    );
    expect(seen).toContain("./one/deep/up 1000:1000 777");
  });

  test("names may hold anything, and be long", async () => {
    const names = [
      "with space",
      "two\nlines",
      "-rf",
      "...",
      ".wh.x",
      "a\\b",
      "Grüße 🧊",
      "\u202egnp.exe",
      "n".repeat(255),
    ];
    const long = Array.from({ length: 12 }, (_, it) => `${it}${"ü".repeat(100)}`);
    const above = long.map((_, it) => directory(long.slice(0, it + 1).join("/")));
    const tree = [
      ...names.map((it) => file(it, it)),
      link("far", "t".repeat(300)),
      ...above,
      file(`${long.join("/")}/f`, "f"),
    ];
    await importTree("/workspace/trees/names", tree);
    const found = await exported("/workspace/trees/names");
    for (const it of names) expect(found[it]).toBe(`-${it}`);
    expect(found["far"]).toBe(`-> ${"t".repeat(300)}`);
    expect(found[`${long.join("/")}/f`]).toBe("-f");
    const made = await python(
      get(),
      "import os, json; print(json.dumps(sorted(os.listdir('/workspace/trees/names'))))",
    );
    expect(JSON.parse(made.stdout)).toEqual(expect.arrayContaining(names));
  });

  test("one file is a tree of its own", async () => {
    await importTree("/workspace/trees", [file("alone", "me")]);
    expect(await exported("/workspace/trees/alone")).toEqual({ "": "-me" });
  });

  test("files and links are replaced by what comes, directories are kept, and nothing else goes", async () => {
    await shell(
      "mkdir -p /workspace/trees/old/d; cd /workspace/trees/old; echo a > f; echo o > d/other; ln -s /etc/passwd l",
    );
    const tree = [file("f", "new"), directory("d"), file("d/g", "g"), file("l", "no link"), link("f2", "f")];
    await importTree("/workspace/trees/old", tree);
    await importTree("/workspace/trees/old", tree);
    expect(await exported("/workspace/trees/old")).toEqual({
      "": "directory",
      f: "-new",
      f2: "-> f",
      l: "-no link",
      d: "directory",
      "d/g": "-g",
      "d/other": "-o\n",
    });
    const onto = importTree("/workspace/trees/old", [file("d", "a directory's place")]);
    await expect(onto).rejects.toMatchObject({ code: expect.stringMatching(/NOT_A_FILE|CONTAINER_FAILED/) });
    const below = importTree("/workspace/trees/old/f/x", [file("y", "")]);
    await expect(below).rejects.toMatchObject({ code: "NOT_A_DIRECTORY" });
  });

  test("a link in a directory's place is not followed [G12]", async () => {
    await shell("mkdir -p /workspace/trees/trap /tmp/elsewhere; ln -sfn /tmp/elsewhere /workspace/trees/trap/d");
    const through = importTree("/workspace/trees/trap", [directory("d"), file("d/f", "x")]);
    await expect(through).rejects.toMatchObject({ code: expect.stringMatching(/PATH_IS_LINK|CONTAINER_FAILED/) });
    const refused = { code: "PATH_IS_LINK", message: expect.stringContaining("/tmp/elsewhere") };
    await expect(importTree("/workspace/trees/trap/d", [file("f", "x")])).rejects.toMatchObject(refused);
    await expect(importTree("/workspace/trees/trap/d/e", [file("f", "x")])).rejects.toMatchObject(refused);
    await expect(exported("/workspace/trees/trap/d")).rejects.toMatchObject(refused);
    expect(await exported("/workspace/trees/trap")).toEqual({ "": "directory", d: "-> /tmp/elsewhere" });
    expect(await shell("ls -A /tmp/elsewhere")).toBe("");
  });

  test("pipes, sockets and devices are told of, and nobody waits for them", async () => {
    const make =
      "import os, socket; os.makedirs('/workspace/trees/odd'); os.chdir('/workspace/trees/odd'); os.mkfifo('pipe')";
    await python(get(), make);
    expect(await exported("/workspace/trees/odd")).toEqual({ "": "directory", pipe: "other" });
    await expect(exported("/workspace/trees/odd/pipe")).rejects.toMatchObject({ code: "NOT_A_FILE" });
  });

  test("what is not there, or the kernel's, is refused", async () => {
    await expect(exported("/workspace/trees/nothing")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    for (const path of ["/", "/proc", "/proc/1", "/sys/kernel", "/dev"]) {
      await expect(exported(path), path).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    }
    for (const path of ["/etc/new", "/proc/1", "/new"]) {
      const writing = importTree(path, [file("x", "x")]);
      await expect(writing, path).rejects.toMatchObject({ code: "PATH_NOT_WRITABLE" });
    }
    for (const path of ["workspace", "/workspace/../etc", "/workspace/x\0y", "/workspace/"]) {
      await expect(importTree(path, []), path).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
      await expect(exported(path), path).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
    }
  });

  test("limits hold, and a pruned directory's content stays where it is", async () => {
    await shell(
      "mkdir -p /workspace/trees/many/.git/x; cd /workspace/trees/many; touch 1 2 3 .git/x/y; truncate -s 1M big",
    );
    await expect(exported("/workspace/trees/many", { maxEntries: 4 })).rejects.toMatchObject({
      code: "TRANSFER_TOO_LARGE",
    });
    await expect(exported("/workspace/trees/many", { maxBytes: 1_000_000 })).rejects.toMatchObject({
      code: "TRANSFER_TOO_LARGE",
    });
    const found = await exported("/workspace/trees/many", { prune: [".git"] });
    expect(Object.keys(found).toSorted()).toEqual(["", ".git", "1", "2", "3", "big"]);
  });

  test("2 000 small files go in and come out, the same", async () => {
    const names = Array.from({ length: 2_000 }, (_, it) => `d${Math.floor(it / 100)}/f${it}`);
    const tree = names.flatMap((name, it) => {
      const above = it % 100 === 0 ? [directory(name.slice(0, name.indexOf("/")))] : [];
      return [...above, file(name, `${name}\n`)];
    });
    await importTree("/workspace/trees/big", tree);
    const hash = createHash("sha256");
    let files = 0;
    for await (const entry of get().exportTree("/workspace/trees/big", LIMITS, forever)) {
      if (entry.kind !== "file") continue;
      files += 1;
      expect((await buffer(Readable.from(entry.content))).toString()).toBe(`${entry.name}\n`);
      hash.update(entry.name);
    }
    expect(files).toBe(2_000);
    expect(await shell("rm -r /workspace/trees/big; echo $?")).toBe("0\n");
  });

  test("an aborted transfer rejects with the reason, and the sandbox is as good as before", async () => {
    const reason = new Error("enough");
    const importing = new AbortController();
    async function* endless(): AsyncGenerator<TreeEntry> {
      for (let index = 0; ; index += 1) {
        if (index === 20) importing.abort(reason);
        yield file(`f${index}`, randomBytes(100_000));
      }
    }
    await expect(get().importTree("/workspace/trees/aborted", endless(), importing.signal)).rejects.toBe(reason);
    await shell("truncate -s 90M /workspace/trees/large");
    const exporting = new AbortController();
    const reading = async () => {
      for await (const entry of get().exportTree("/workspace/trees/large", LIMITS, exporting.signal)) {
        if (entry.kind !== "file") continue;
        for await (const _ of entry.content) exporting.abort(reason);
      }
    };
    await expect(reading()).rejects.toBe(reason);
    for await (const _ of get().exportTree("/workspace/trees", LIMITS, forever)) break;
    expect(await shell("rm -r /workspace/trees; echo fine")).toBe("fine\n");
  });

  test("what the source of an import throws is thrown", async () => {
    const own = new GatewayError("FILE_CHANGED", "no more");
    async function* broken(): AsyncGenerator<TreeEntry> {
      yield file("a", "a");
      throw own;
    }
    const importing = get().importTree("/workspace/trees/broken", broken(), forever);
    await expect(importing).rejects.toBe(own);
  });

  test("a program that swaps directories for links meanwhile leads nothing astray [G12]", async () => {
    await shell("mkdir -p /workspace/trees/swap /tmp/astray; cd /workspace/trees/swap; mkdir d; ln -s /tmp/astray l");
    const swap = `
import os, ctypes
libc = ctypes.CDLL(None)
os.chdir("/workspace/trees/swap")
while True: libc.renameat2(-100, b"d", -100, b"l", 2)`;
    const run = await get().run(spec(["python3", "-c", swap]), forever);
    run.stdout.resume();
    run.stderr.resume();
    for (let attempt = 0; attempt < 30; attempt += 1) {
      const tree = [directory("d"), ...Array.from({ length: 20 }, (_, it) => file(`d/f${it}`, "x"))];
      await importTree("/workspace/trees/swap", tree).catch((error: unknown) => {
        expect(error).toMatchObject({ code: expect.stringMatching(/PATH_IS_LINK|NOT_A_DIRECTORY|CONTAINER_FAILED/) });
      });
    }
    await run.signal("SIGKILL");
    await run.exit;
    expect(await shell("ls -A /tmp/astray")).toBe("");
  });
}
