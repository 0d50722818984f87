import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { buffer, text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import type { Container, Run } from "../../src/container/container.ts";
import { forever, gone, processes, python, runToEnd, said, spec } from "./container-suite.ts";

/** What every container must do with a program. `get` is called in tests only. */
/** @param thorough with what takes many megabytes */
export function execSuite(get: () => Container, { thorough }: { readonly thorough: boolean }): void {
  test.each([0, 1, 3, 128, 255])("exit code %i is told", async (exitCode) => {
    const { exit } = await runToEnd(get(), ["sh", "-c", `exit ${exitCode}`]);
    expect(exit).toEqual({ by: "exit", exitCode });
  });

  test("a program gets exactly its arguments", async () => {
    const args = [
      "",
      " ",
      "a b",
      "it's",
      '"',
      "$HOME `id` $(id)",
      "*",
      "-n",
      "--",
      "a\nb\tc",
      "\\n",
      "Grüße 🧊 \u200f",
      ";&|<>",
    ];
    const { stdout } = await python(get(), "import sys, json; print(json.dumps(sys.argv[1:]))", ...args);
    expect(JSON.parse(stdout)).toEqual(args);
  });

  test("an argument may be as long as the kernel takes, and no longer", async () => {
    const { stdout } = await python(get(), "import sys; print(len(sys.argv[1]))", "x".repeat(131_071));
    expect(stdout).toBe("131071\n");
    await expect(python(get(), "", "x".repeat(131_072))).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  });

  test("a program gets its environment, its run's marker, and nothing of the host's", async () => {
    const secret = randomUUID();
    vi.stubEnv("GLOVEBOX_TEST_SECRET", secret);
    const env = { PLAIN: "1", EMPTY: "", LINES: "a\nb", "odd name": "ü=ö", GLOVEBOX_RUN: "forged" };
    const { run, ...rest } = spec(["python3", "-c", "import os, json; print(json.dumps(dict(os.environ)))"], { env });
    const { stdout } = await runToEnd(get(), rest.argv, { ...rest, run });
    const got = JSON.parse(stdout);
    expect(got).toMatchObject({ ...env, GLOVEBOX_RUN: run, HOME: "/home/agent", USER: "agent", LANG: "C.UTF-8" });
    expect(JSON.stringify(got)).not.toContain(secret);
  });

  test("a program runs where it is told to", async () => {
    expect((await runToEnd(get(), ["pwd"], { cwd: "/usr/lib" })).stdout).toBe("/usr/lib\n");
  });

  test("300 kB of input arrive, and their end", async () => {
    const input = randomBytes(300_000);
    const script = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())";
    const { stdout } = await runToEnd(get(), ["python3", "-c", script], { input });
    expect(stdout.trim()).toBe(createHash("sha256").update(input).digest("hex"));
  });

  test("a program without input reads its end at once", async () => {
    expect(await runToEnd(get(), ["cat"])).toEqual({ exit: { by: "exit", exitCode: 0 }, stdout: "", stderr: "" });
  });

  test("a program that leaves its input unread is no failure", async () => {
    const { exit } = await runToEnd(get(), ["true"], { input: Buffer.alloc(5_000_000) });
    expect(exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("output comes while the program runs, and input answers it", async () => {
    const run = await get().run(
      spec(["sh", "-c", 'echo name?; read name; echo "hello $name"'], { stdin: true }),
      forever,
    );
    await said(run.stdout, "name?\n");
    run.stdin?.write("ada\n");
    expect(await said(run.stdout, "hello")).toBe("hello ada\n");
    run.stdout.resume();
    run.stderr.resume();
    expect(await run.exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("both outputs are kept apart and each in its order", async () => {
    const script = "import sys\nfor i in range(3000): (sys.stdout, sys.stderr)[i % 2].write(f'{i}\\n')";
    const { stdout, stderr } = await python(get(), script);
    const numbers = (rest: number) => Array.from({ length: 1500 }, (_, it) => `${2 * it + rest}\n`).join("");
    expect(stdout).toBe(numbers(0));
    expect(stderr).toBe(numbers(1));
  });

  if (thorough)
    test("40 MB for a reader that stops: the program waits, and memory stays flat", async () => {
      const size = 40 * 1_048_576;
      const flood = () => get().run(spec(["head", "-c", String(size), "/dev/zero"]), forever);
      const drain = async (run: Run) => {
        let bytes = 0;
        let peak = 0;
        for await (const chunk of run.stdout as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          peak = Math.max(peak, process.memoryUsage().rss);
        }
        expect(bytes).toBe(size);
        expect(await run.exit).toEqual({ by: "exit", exitCode: 0 });
        return peak;
      };
      const first = await flood();
      first.stderr.resume();
      // Node collects garbage late at first: what counts is that a second flood needs no more.
      const before = await drain(first);
      const second = await flood();
      second.stderr.resume();
      await once(second.stdout, "readable");
      expect(await Promise.race([second.exit, sleep(1500, "waits")])).toBe("waits");
      expect((await drain(second)) - before).toBeLessThan(32 * 1_048_576);
    }, 300_000);

  test("output that is not read stops the other one, too; giving it up frees it", async () => {
    const run = await get().run(spec(["sh", "-c", "head -c 8000000 /dev/zero; echo done >&2"]), forever);
    const stderr = text(run.stderr);
    expect(await Promise.race([stderr, sleep(1000, "waits")])).toBe("waits");
    run.stdout.destroy();
    expect(await stderr).toBe("done\n");
    expect(await run.exit).toMatchObject({ by: "exit", exitCode: 0 });
  });

  test.each([100_000, 1_500_000])("a reader that comes late finds all of %i bytes", async (size) => {
    const run = await get().run(spec(["head", "-c", String(size), "/dev/zero"]), forever);
    run.stderr.resume();
    // Longer than the engine keeps an ended program's output open for what it has not passed on.
    await sleep(4000);
    expect((await buffer(run.stdout)).length).toBe(size);
    expect(await run.exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("a program that closes its output ends when it ends", async () => {
    const { exit } = await runToEnd(get(), ["sh", "-c", "exec >/dev/null 2>&1; sleep 1; exit 7"]);
    expect(exit).toEqual({ by: "exit", exitCode: 7 });
  });

  test("a program left in the background does not keep its parent's run open for ever", async () => {
    const { exit, stdout } = await runToEnd(get(), ["sh", "-c", "sleep 600 & echo $!"]);
    expect(exit).toEqual({ by: "exit", exitCode: 0 });
    await runToEnd(get(), ["sh", "-c", `kill ${stdout.trim()}`]);
  });

  test("a signal's name is told, whoever sent it", async () => {
    const own = await runToEnd(get(), ["sh", "-c", "kill -SEGV $$"]);
    expect(own.exit).toEqual({ by: "signal", exitCode: 139, signal: "SIGSEGV" });
    const run = await get().run(spec(["sleep", "600"]), forever);
    run.stdout.resume();
    run.stderr.resume();
    await run.signal("SIGTERM");
    expect(await run.exit).toEqual({ by: "signal", exitCode: 143, signal: "SIGTERM" });
    await run.signal("SIGKILL");
  });

  test("a program that was interrupted can clean up", async () => {
    const script = "trap 'echo bye; exit 5' INT; echo ready; while :; do sleep 0.1; done";
    const run = await get().run(spec(["sh", "-c", script]), forever);
    run.stderr.resume();
    await said(run.stdout, "ready");
    await run.signal("SIGINT");
    expect(await said(run.stdout, "bye")).toContain("bye");
    run.stdout.resume();
    expect(await run.exit).toEqual({ by: "exit", exitCode: 5 });
  });

  test("a kill ends children, grandchildren, and those that left the session", async () => {
    const script = `
      sleep 7771 &
      (sleep 7772 &)
      setsid sleep 7773 &
      (setsid setsid sh -c 'nohup sleep 7774 >/dev/null 2>&1 &' &)
      trap '' TERM INT HUP; sleep 0.5; echo ready; sleep 7775`;
    const run = await get().run(spec(["sh", "-c", script]), forever);
    run.stderr.resume();
    await said(run.stdout, "ready");
    expect((await processes(get())).filter((it) => it.includes("sleep 777"))).toHaveLength(6);
    run.stdout.resume();
    await run.signal("SIGKILL");
    expect(await run.exit).toEqual({ by: "signal", exitCode: 137, signal: "SIGKILL" });
    await gone(get(), "sleep 777");
  });

  test("what a program left behind can still be killed when it has ended, and nothing else is", async () => {
    const beside = await get().run(spec(["sleep", "6663"]), forever);
    const run = await get().run(spec(["sh", "-c", "sleep 6664 & sleep 6664 &"]), forever);
    for (const it of [beside, run]) {
      it.stdout.resume();
      it.stderr.resume();
    }
    expect(await run.exit).toEqual({ by: "exit", exitCode: 0 });
    expect((await processes(get())).filter((it) => it.includes("sleep 6664"))).toHaveLength(2);
    await run.signal("SIGTERM");
    expect((await processes(get())).filter((it) => it.includes("sleep 6664"))).toHaveLength(2);
    await run.signal("SIGKILL");
    await gone(get(), "sleep 6664");
    expect((await processes(get())).filter((it) => it.includes("sleep 6663"))).toHaveLength(1);
    await beside.signal("SIGKILL");
    await beside.exit;
  });

  test.each(["kill -KILL 1", "kill -TERM 1", "kill -QUIT 1; kill -INT 1; kill -HUP 1; kill -ABRT 1", "kill -KILL -1"])(
    "an agent's `%s` does not end its sandbox",
    async (script) => {
      await runToEnd(get(), ["sh", "-c", script]);
      expect((await runToEnd(get(), ["echo", "still here"])).stdout).toBe("still here\n");
    },
  );

  test("orphans don't stay as zombies", async () => {
    await runToEnd(get(), ["sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.1 &) ; done; sleep 0.5"]);
    const { stdout } = await runToEnd(get(), ["sh", "-c", "cat /proc/[0-9]*/stat | grep -c ') Z ' || true"]);
    expect(stdout).toBe("0\n");
  });

  test("a start that is given up leaves nothing running", async () => {
    const reason = new Error("enough");
    await expect(get().run(spec(["sleep", "8881"]), AbortSignal.abort(reason))).rejects.toBe(reason);
    for (const afterMs of [1, 20, 60, 200]) {
      const controller = new AbortController();
      const starting = get().run(spec(["sleep", "8882"]), controller.signal);
      const timer = setTimeout(() => controller.abort(reason), afterMs);
      const run = await starting.catch((error: unknown) => {
        expect(error).toBe(reason);
        return undefined;
      });
      clearTimeout(timer);
      run?.stdout.resume();
      run?.stderr.resume();
      await run?.signal("SIGKILL");
      await run?.exit;
    }
    await gone(get(), "sleep 888");
  });

  test.each<[string, [string, ...string[]], string]>([
    ["no such program", ["no-such-program"], "/workspace"],
    ["no such path", ["/no/such/program"], "/workspace"],
    ["an empty name", [""], "/workspace"],
    ["a directory", ["/etc"], "/workspace"],
    ["a file that can't be executed", ["/etc/passwd"], "/workspace"],
    ["a hostile name", ["\u001b[2Jno\u202e"], "/workspace"],
    ["no such directory to run in", ["true"], "/no/such/directory"],
    ["a file to run in", ["true"], "/etc/passwd"],
  ])("%s is PROGRAM_NOT_FOUND, in words that can be printed", async (_name, argv, cwd) => {
    const error = await runToEnd(get(), argv, { cwd }).catch((it: unknown) => it);
    expect(error).toMatchObject({ code: "PROGRAM_NOT_FOUND" });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the point
    expect(String(error)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });

  test.each<[string, [string, ...string[]], object]>([
    ["NUL in an argument", ["echo", "a\0b"], {}],
    ["half a character in an argument", ["echo", "\ud800"], {}],
    ["NUL in a variable", ["env"], { env: { A: "a\0b" } }],
    ["a variable without a name", ["env"], { env: { "": "x" } }],
    ["a variable whose name holds another", ["env"], { env: { "A=B": "x" } }],
    ["a relative directory", ["pwd"], { cwd: "tmp" }],
    ["too many arguments", ["echo", ...Array.from({ length: 20_000 }, () => "x".repeat(100))], {}],
  ])("%s is refused before anything runs", async (_name, argv, more) => {
    await expect(runToEnd(get(), argv, more)).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  });

  test("programs run beside each other", async () => {
    const outputs = await Promise.all(
      Array.from({ length: 4 }, (_, it) =>
        runToEnd(get(), ["sh", "-c", `sleep 0.2; echo ${it}; head -c 100000 /dev/zero >&2`]),
      ),
    );
    expect(outputs.map((it) => it.stdout)).toEqual(["0\n", "1\n", "2\n", "3\n"]);
    expect(outputs.map((it) => it.stderr.length)).toEqual([100_000, 100_000, 100_000, 100_000]);
  });
}
