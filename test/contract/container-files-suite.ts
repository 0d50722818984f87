import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import type { Container } from "../../src/container/container.ts";
import { forever, python, runToEnd, spec } from "./container-suite.ts";

const MAX = 20_000_000;
const plain = { mode: 0o644, createParents: false };

/** What every container must do with files. `get` is called in tests only. */
export function filesSuite(get: () => Container): void {
  const read = (path: string, maxBytes = MAX) => get().readFile(path, maxBytes, forever);
  const write = (path: string, content: string | Buffer, options = plain) =>
    get().writeFile(path, Buffer.from(content), options, forever);
  const stat = (path: string) => get().stat(path, forever);
  const shell = (script: string) => runToEnd(get(), ["sh", "-c", script]);

  test.each([
    ["no bytes", Buffer.alloc(0)],
    ["every byte", Buffer.from(Array.from({ length: 256 }, (_, it) => it))],
    ["10 MB", randomBytes(10_000_000)],
  ])("%s come back as they went in", async (_name, content) => {
    await write("/workspace/round", content);
    expect((await read("/workspace/round")).equals(content)).toBe(true);
    expect(await stat("/workspace/round")).toMatchObject({ kind: "file", sizeBytes: content.length, mode: 0o644 });
  });

  test.each([
    "with space",
    "two\nlines",
    "-rf",
    "--",
    "...",
    "..twice..",
    ".hidden",
    ".wh.whiteout",
    "a\\b",
    "quote'\"",
    "$HOME",
    "*?[x]",
    "%2e%2e%2f",
    "tab\tbell\u0007",
    "Grüße 🧊",
    "e\u0301",
    "\u202egnp.exe",
    "n".repeat(255),
    "ü".repeat(127),
    "PaxHeader",
    "trailing ",
    "CON",
  ])("a file may be called %j", async (name) => {
    const path = `/workspace/names/${name}`;
    await write(path, name, { mode: 0o600, createParents: true });
    expect((await read(path)).toString()).toBe(name);
    expect(await stat(path)).toMatchObject({ path, kind: "file", mode: 0o600 });
    const inside = await python(get(), "import sys; sys.stdout.write(open(sys.argv[1]).read())", path);
    expect(inside.stdout).toBe(name);
  });

  test("a deep path with long names round-trips", async () => {
    const path = `/workspace/${Array.from({ length: 12 }, (_, it) => `${it}${"d".repeat(200)}`).join("/")}/file`;
    await write(path, "deep", { mode: 0o644, createParents: true });
    expect((await read(path)).toString()).toBe("deep");
  });

  test("what is written is the agent's, with its mode and no more", async () => {
    await write("/workspace/owned", "x", { mode: 0o6755, createParents: false });
    expect((await shell("stat -c '%u:%g %a' /workspace/owned")).stdout).toBe("1000:1000 755\n");
  });

  test("missing directories are made when asked for, and those that exist stay as they are", async () => {
    await shell("mkdir -m 700 /workspace/kept");
    await write("/workspace/kept/new/newer/file", "x", { mode: 0o644, createParents: true });
    const { stdout } = await shell("cd /workspace/kept; stat -c '%n %u %a' . new new/newer");
    expect(stdout).toBe(". 1000 700\nnew 1000 755\nnew/newer 1000 755\n");
    await expect(write("/workspace/not/there", "x")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  test.each(["/workspace", "/home/agent", "/tmp"])(
    "the agent and the gateway can write below %s",
    async (directory) => {
      await write(`${directory}/by-gateway`, "x");
      const { exit } = await shell(`echo y > ${directory}/by-agent && echo z >> ${directory}/by-gateway`);
      expect(exit).toEqual({ by: "exit", exitCode: 0 });
      expect((await read(`${directory}/by-gateway`)).toString()).toBe("xz\n");
    },
  );

  test("/tmp has its sticky bit", async () => {
    expect((await shell("stat -c %a /tmp")).stdout).toBe("1777\n");
  });

  test("what is not there is FILE_NOT_FOUND", async () => {
    for (const path of ["/workspace/nothing", "/no/such/place", "/proc/self/environ-nothing"]) {
      await expect(stat(path)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    }
    await expect(read("/workspace/nothing")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  test("what lies below a file is refused", async () => {
    for (const act of [stat, read, (path: string) => write(path, "x", { mode: 0o644, createParents: true })]) {
      await expect(act("/etc/passwd/below")).rejects.toMatchObject({ code: "NOT_A_DIRECTORY" });
    }
  });

  test.each([
    ["above the file", "/workspace/links/directory/passwd", "/etc/passwd"],
    ["above a file that is not there", "/workspace/links/directory/nothing", "/etc/nothing"],
    ["far above the file", "/workspace/links/directory/a/b/c", "/etc/a/b/c"],
    ["in the path's place", "/workspace/links/file", "/etc/passwd"],
    ["to a link", "/workspace/links/chain", "passwd"],
    ["to nothing", "/workspace/links/dangling", "nothing"],
    ["to itself", "/workspace/links/loop", "circle"],
    ["out of the root", "/workspace/links/up", "etc/passwd"],
    ["into another writable place", "/workspace/links/tmp/x", "/tmp/x"],
  ])("a link %s is refused, and where it leads is said [G12]", async (_name, path, leads) => {
    await shell(`
      mkdir -p /workspace/links; cd /workspace/links
      ln -sf /etc directory; ln -sf /etc/passwd file; ln -sf file chain; ln -sf /workspace/nothing dangling
      ln -sfn loop loop; ln -sf ../../../../../../etc/passwd up; ln -sf /tmp tmp`);
    const refused = { code: "PATH_IS_LINK", message: expect.stringContaining(leads) };
    await expect(read(path)).rejects.toMatchObject(refused);
    await expect(write(path, "x", { mode: 0o644, createParents: true })).rejects.toMatchObject(refused);
    expect((await shell("cat /workspace/nothing /tmp/x 2>/dev/null; ls -d /etc/a 2>/dev/null")).stdout).toBe("");
  });

  test("the image's own links are links as well", async () => {
    await expect(read("/bin/sh")).rejects.toMatchObject({ code: "PATH_IS_LINK" });
    expect(await stat("/bin")).toMatchObject({ kind: "link", target: "/usr/bin" });
  });

  test("writing to one of two hard links leaves the other", async () => {
    await shell("cd /workspace; echo old > first; ln -f first second");
    await write("/workspace/first", "new");
    expect((await read("/workspace/second")).toString()).toBe("old\n");
    expect((await read("/workspace/first")).toString()).toBe("new");
  });

  test("pipes, sockets and directories are not files, and nobody waits for them", async () => {
    await python(
      get(),
      "import os, socket; os.chdir('/workspace'); os.mkfifo('pipe'); socket.socket(socket.AF_UNIX).bind('socket')",
    );
    for (const path of ["/workspace/pipe", "/workspace/socket", "/workspace", "/"]) {
      await expect(read(path)).rejects.toMatchObject({ code: "NOT_A_FILE" });
      await expect(write(path, "x")).rejects.toMatchObject({ code: "NOT_A_FILE" });
    }
    expect(await stat("/workspace/pipe")).toMatchObject({ kind: "other" });
    expect(await stat("/")).toMatchObject({ kind: "directory", path: "/" });
  });

  test("a file over the cap is refused without being read", async () => {
    await shell("cd /workspace; head -c 1000001 /dev/zero > big; truncate -s 500G vast");
    await expect(read("/workspace/big", 1_000_000)).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
    expect(await read("/workspace/big", 1_000_001)).toHaveLength(1_000_001);
    await expect(read("/workspace/vast")).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
    await shell("rm /workspace/big /workspace/vast");
  });

  test("modes keep nobody out who may use the file tools", async () => {
    await shell("cd /workspace; mkdir -p closed; echo secret > closed/file; chmod 000 closed/file closed");
    expect((await read("/workspace/closed/file")).toString()).toBe("secret\n");
    await shell("chmod 755 /workspace/closed");
  });

  test.each(["/etc/passwd", "/usr/bin/new", "/new", "/opt/new/file", "/.glovebox/inside", "/home/other"])(
    "%s can't be written",
    async (path) => {
      const writing = write(path, "x", { mode: 0o644, createParents: true });
      await expect(writing).rejects.toMatchObject({ code: "PATH_NOT_WRITABLE" });
    },
  );

  test("what the kernel makes up is out of reach", async () => {
    for (const path of ["/proc/self/environ", "/proc/1/root/etc/passwd", "/sys/kernel/notes", "/dev/zero"]) {
      await expect(read(path)).rejects.toMatchObject({ code: "NOT_A_FILE" });
      await expect(write(path, "x")).rejects.toMatchObject({ code: "PATH_NOT_WRITABLE" });
    }
  });

  test.each([
    "workspace/x",
    "/workspace/../etc/passwd",
    "/workspace//x",
    "/workspace/./x",
    "/workspace/x\0y",
    "/workspace/x/",
  ])("the path %j is refused", async (path) => {
    for (const act of [stat, read, (it: string) => write(it, "x")]) {
      await expect(act(path)).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
    }
  });

  test("a file that changes while it is read is read or refused, and nobody waits", async () => {
    const script = "while :; do head -c 3000000 /dev/zero > /workspace/moving; : > /workspace/moving; done";
    const run = await get().run(spec(["sh", "-c", script]), forever);
    run.stdout.resume();
    run.stderr.resume();
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const result = await read("/workspace/moving").catch((error: unknown) => error);
      if (result instanceof Buffer) expect(result.length).toBeLessThanOrEqual(3_000_000);
      else expect(result).toMatchObject({ code: expect.stringMatching(/CONTAINER_FAILED|FILE_NOT_FOUND/) });
    }
    await run.signal("SIGKILL");
    await run.exit;
    expect((await runToEnd(get(), ["echo", "fine"])).stdout).toBe("fine\n");
  });

  test("an aborted transfer rejects with the reason", async () => {
    const reason = new Error("enough");
    await expect(get().stat("/workspace", AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const writing = get().writeFile("/workspace/aborted", randomBytes(10_000_000), plain, controller.signal);
    setTimeout(() => controller.abort(reason), 5);
    await expect(writing).rejects.toBe(reason);
    expect((await runToEnd(get(), ["echo", "fine"])).stdout).toBe("fine\n");
  });
}
