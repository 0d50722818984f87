import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { Container, TreeEntry } from "../../src/container/container.ts";
import { forever, gone, python, runToEnd, said, spec } from "./container-suite.ts";

/** What every container must survive. `get` is called in tests only. */
export function limitsSuite(get: () => Container): void {
  const fine = async () => expect((await runToEnd(get(), ["echo", "fine"])).stdout).toBe("fine\n");

  test("limits of open files and core dumps hold for every program", async () => {
    const { stdout } = await runToEnd(get(), ["sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc"]);
    expect(stdout).toBe("16384\n16384\n0\n0\n");
  });

  test("a fork bomb meets the limit; files can be read and written meanwhile, and a kill ends nothing else [G14]", async () => {
    const script = `
import os, sys, time
while True:
    try: os.fork()
    except OSError: print("full", flush=True); time.sleep(1)`;
    const run = await get().run(spec(["python3", "-c", script, "bomb"]), forever);
    run.stderr.resume();
    try {
      await said(run.stdout, "full");
      run.stdout.resume();
      await get().writeFile("/workspace/meanwhile", Buffer.from("x"), { mode: 0o644, createParents: false }, forever);
      expect((await get().readFile("/workspace/meanwhile", 10, forever)).toString()).toBe("x");
    } finally {
      const meanwhile = Promise.allSettled([1, 2, 3].map(() => runToEnd(get(), ["echo", "here"])));
      await run.signal("SIGKILL");
      for (const it of await meanwhile) {
        // A start waits some seconds for its place among the processes; where the host is busy the bomb's may take longer to go.
        if (it.status === "rejected") expect(it.reason).toMatchObject({ code: "CONTAINER_FAILED" });
        else expect(it.value.stdout).toBe("here\n");
      }
    }
    expect(await run.exit).toEqual({ by: "signal", exitCode: 137, signal: "SIGKILL" });
    await fine();
    await gone(get(), "bomb");
  });

  test("a memory hog is ended and called so; what runs beside it goes on [G14]", async () => {
    const beside = await get().run(spec(["sleep", "600"]), forever);
    const hog = await python(get(), "taken = []\nwhile True: taken.append(b'x' * 10_000_000)");
    expect(hog.exit).toEqual({ by: "out-of-memory", exitCode: 137 });
    await fine();
    const outputs = Promise.all([text(beside.stdout), text(beside.stderr)]);
    await beside.signal("SIGTERM");
    expect(await beside.exit).toMatchObject({ by: "signal", signal: "SIGTERM" });
    expect(await outputs).toEqual(["", ""]);
  });

  test("a program that is killed is not called out of memory because another was", async () => {
    expect((await runToEnd(get(), ["sh", "-c", "kill -KILL $$"])).exit).toMatchObject({
      by: "signal",
      signal: "SIGKILL",
    });
  });

  test("a full disk is an error inside and DISK_FULL outside, and deleting helps [G14]", async () => {
    const write = (name: string) =>
      get().writeFile(
        `/workspace/late/${name}`,
        Buffer.alloc(15_000_000),
        { mode: 0o644, createParents: true },
        forever,
      );
    const filled = await python(
      get(),
      `
import os, errno
def fill(name):
    file = os.open(name, os.O_CREAT | os.O_WRONLY)
    size, step = 0, 1 << 30
    while step >= 4096:
        try:
            os.posix_fallocate(file, size, step); size += step
        except OSError as error:
            assert error.errno == errno.ENOSPC; step //= 2
    os.close(file)
    os.sync()
    return size
# What the file system had set aside, or not yet written down as deleted, becomes free after it said that there was no more.
os.mkdir("/workspace/filler")
for number in range(100):
    if fill(f"/workspace/filler/{number}") < 8192: break
print(number)`,
    );
    expect(filled).toMatchObject({ exit: { by: "exit", exitCode: 0 }, stderr: "" });
    const more = await python(get(), "open('/tmp/more', 'wb', buffering=0).write(b'x' * 100_000)");
    expect(more.stderr).toContain("No space left on device");
    // The engine may use what the file system reserves for it, and then has to say that there is no more.
    const full = async () => {
      for (let written = 0; written < 60; written += 1) await write(String(written));
    };
    await expect(full()).rejects.toMatchObject({ code: "DISK_FULL" });
    async function* tree(): AsyncGenerator<TreeEntry> {
      const content = [Buffer.alloc(50_000_000)];
      yield { kind: "file", name: "big", executable: false, sizeBytes: 50_000_000, content };
    }
    const importing = get().importTree("/workspace/late/tree", tree(), forever);
    await expect(importing).rejects.toMatchObject({ code: "DISK_FULL" });
    await fine();
    await runToEnd(get(), ["rm", "-r", "/workspace/filler", "/workspace/late"]);
    await write("again");
    await fine();
  }, 400_000);
}
