import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Container, Run, RunSpec } from "../../src/container/container.ts";
import { forever, gone, processes, runToEnd, said, spec } from "./container-suite.ts";

/** What every container must do with a program that has a terminal. `get` is called in tests only. */
export function terminalSuite(get: () => Container): void {
  const terminal = { columns: 97, rows: 31 };

  /** Runs it without a keyboard. */
  const show = async (argv: RunSpec["argv"], more: Partial<RunSpec> = {}) => {
    const ended = await runToEnd(get(), argv, { terminal, ...more });
    expect(ended.stderr).toBe("");
    return ended;
  };

  /** Starts it with one. */
  const open = async (argv: RunSpec["argv"]): Promise<Run & Required<Pick<Run, "stdin">>> => {
    const { stdin, ...run } = await get().run(spec(argv, { terminal, stdin: true }), forever);
    run.stderr.resume();
    if (!stdin) throw new Error("no input");
    return { ...run, stdin };
  };

  const end = async ({ stdout, exit }: Run) => {
    stdout.resume();
    return await exit;
  };

  test("all three streams are one terminal of the size asked for, and it is the program's own", async () => {
    const script = `
import os
names = {os.ttyname(fd) for fd in (0, 1, 2)}
print(len(names), names.pop().startswith('/dev/pts/'), os.get_terminal_size(2), os.environ['TERM'])
print(os.getsid(0) == os.getpid() == os.tcgetpgrp(0))
print(os.ttyname(os.open('/dev/tty', os.O_RDWR)), os.path.samestat(os.fstat(0), os.stat(os.ttyname(1))))
print(os.stat(os.ttyname(0)).st_uid, oct(os.stat(os.ttyname(0)).st_mode))`;
    const { exit, stdout } = await show(["python3", "-c", script]);
    expect(stdout.replaceAll("\r\n", "\n")).toBe(
      "1 True os.terminal_size(columns=97, lines=31) xterm-256color\nTrue\n/dev/tty True\n1000 0o20620\n",
    );
    expect(exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("the image's own tools see it", async () => {
    expect((await show(["sh", "-c", "stty size; tty; test -t 0 -a -t 1 -a -t 2 && echo yes"])).stdout).toMatch(
      /^31 97\r\n\/dev\/pts\/\d+\r\nyes\r\n$/,
    );
  });

  test("it begins as terminals do, whoever made it", async () => {
    const usual = "500:5:bf:8a3b:3:1c:7f:15:4:0:1:0:11:13:1a:0:12:f:17:16:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0\r\n";
    expect((await show(["stty", "-g"])).stdout).toBe(usual);
  });

  test("both outputs are one, in the order in which they were written, with a terminal's ends of lines", async () => {
    const script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done";
    const lines = [1, 2, 3].map((it) => `out ${it}\r\nerr ${it}\r\n`).join("");
    expect((await show(["sh", "-c", script])).stdout).toBe(lines);
  });

  test("a TERM that is asked for is kept, and a run without a terminal has none", async () => {
    const argv = ["python3", "-c", "import os; print(os.environ.get('TERM'))"] as const;
    expect((await show(argv, { env: { TERM: "dumb" } })).stdout).toBe("dumb\r\n");
    expect((await runToEnd(get(), argv)).stdout).toBe("None\n");
  });

  test.each([
    { columns: 0, rows: 24 },
    { columns: 80, rows: 1001 },
    { columns: 80.5, rows: 24 },
    { columns: 80, rows: -1 },
    { columns: Number.NaN, rows: 24 },
  ])("a terminal of $columns by $rows is refused before anything runs", async (size) => {
    const refused = runToEnd(get(), ["true"], { terminal: size });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  });

  test.each([
    { columns: 1, rows: 1 },
    { columns: 1000, rows: 1000 },
  ])("one of $columns by $rows is made", async (size) => {
    expect((await show(["stty", "size"], { terminal: size })).stdout).toBe(`${size.rows} ${size.columns}\r\n`);
  });

  test("what can't be started is told as without a terminal", async () => {
    for (const [argv, cwd] of [
      ["no-such-program", "/workspace"],
      ["true", "/no/such/directory"],
    ] as const) {
      await expect(show([argv], { cwd })).rejects.toMatchObject({ code: "PROGRAM_NOT_FOUND" });
    }
  });

  test("what is typed is echoed and read", async () => {
    const run = await open(["sh", "-c", 'echo name?; read name; echo "hello $name"']);
    await said(run.stdout, "name?\r\n");
    run.stdin.write("ada\n");
    expect(await said(run.stdout, "hello ada\r\n")).toBe("ada\r\nhello ada\r\n");
    expect(await end(run)).toEqual({ by: "exit", exitCode: 0 });
  });

  test("a shell can be worked with: prompts, jobs, and ^C for what runs in front alone", async () => {
    const run = await open(["bash", "--norc", "-i"]);
    // What is typed is shown as well: only what comes of it has the result.
    run.stdin.write("PS1=$((6 * 7))'> '\n");
    expect(await said(run.stdout, "42> ")).not.toContain("no job control");
    run.stdin.write("sleep 5551 &\nsleep 5552\n");
    await present("sleep 5552");
    run.stdin.write("\x03jobs\n");
    expect(await said(run.stdout, "Running")).toContain("^C");
    expect((await processes(get())).filter((it) => it.includes("sleep 555"))).toEqual(["sleep 5551"]);
    run.stdin.write("kill %1; exit 3\n");
    expect(await end(run)).toEqual({ by: "exit", exitCode: 3 });
    await gone(get(), "sleep 555");
  });

  const present = async (words: string) => {
    while (!(await processes(get())).some((it) => it.includes(words)));
  };

  test.each([
    ["\x03", "SIGINT", 130],
    ["\x1c", "SIGQUIT", 131],
  ])("the key %j is %s to a program that doesn't expect it", async (key, signal, exitCode) => {
    const run = await open(["sh", "-c", "echo ready; exec sleep 600"]);
    await said(run.stdout, "ready");
    run.stdin.write(key);
    expect(await end(run)).toEqual({ by: "signal", exitCode, signal });
  });

  test.each([
    ["a complete line", "abc\n", "abc\r\nabc\r\n"],
    ["a line that is not complete", "abc", "abcabc"],
    ["nothing", "", ""],
  ])("the end of input after %s is end-of-file", async (_name, typed, shown) => {
    const { exit, stdout } = await show(["cat"], { input: Buffer.from(typed) } as object);
    expect(stdout).toBe(shown);
    expect(exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("without input a program reads end-of-file once, and waits when it reads on", async () => {
    const script = `
import os, select
print(os.read(0, 100), select.select([0], [], [], 0.7)[0])`;
    expect((await show(["python3", "-c", script])).stdout).toBe("b'' []\r\n");
  });

  test("a program that takes keys as they come gets them all, the end's included", async () => {
    const script = `
import os, tty
tty.setraw(0); print('ready', flush=True)
got = b''
while not got.endswith(b'\x04\x04'): got += os.read(0, 100)
print(got)`;
    const run = await open(["python3", "-c", script]);
    await said(run.stdout, "ready");
    run.stdin.end("\x03\x1b[Aq");
    expect(await said(run.stdout, "\\x04'")).toContain("b'\\x03\\x1b[Aq\\x04\\x04'");
    expect(await end(run)).toEqual({ by: "exit", exitCode: 0 });
  });

  test("200 kB of lines arrive, at the program's pace", async () => {
    const lines = Buffer.from(`${"x".repeat(99)}\n`.repeat(2000));
    const script = `
import hashlib, os, time
os.system('stty -echo'); print('ready', flush=True); time.sleep(1)
whole = hashlib.sha256()
while chunk := os.read(0, 4096): whole.update(chunk)
print(whole.hexdigest())`;
    const run = await open(["python3", "-c", script]);
    await said(run.stdout, "ready");
    run.stdin.end(lines);
    const digest = createHash("sha256").update(lines).digest("hex");
    expect(await said(run.stdout, digest)).toContain(digest);
    expect(await end(run)).toEqual({ by: "exit", exitCode: 0 });
  });

  test("a program that leaves what was typed unread is no failure", async () => {
    const { exit } = await show(["sleep", "1"], { input: Buffer.from("typed ahead\n".repeat(20_000)) } as object);
    expect(exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("a flood for a reader that stops: the program waits, and nothing is lost", async () => {
    const run = await get().run(spec(["sh", "-c", "yes | head -c 2000000"], { terminal }), forever);
    run.stderr.resume();
    expect(await Promise.race([run.exit, sleep(1500, "waits")])).toBe("waits");
    let bytes = 0;
    for await (const chunk of run.stdout as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).toBe(3_000_000);
    expect(await run.exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("what a program has written when it ends is there for a reader that comes late", async () => {
    const run = await get().run(spec(["sh", "-c", "head -c 60000 /dev/zero | tr '\\0' x"], { terminal }), forever);
    run.stderr.resume();
    await sleep(4000);
    let bytes = 0;
    for await (const chunk of run.stdout as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).toBe(60_000);
    expect(await run.exit).toEqual({ by: "exit", exitCode: 0 });
  });

  test("a program that closes its streams ends when it ends", async () => {
    const { exit } = await show(["sh", "-c", "exec <&- >&- 2>&-; sleep 1; exit 7"]);
    expect(exit).toEqual({ by: "exit", exitCode: 7 });
  });

  test("a program that closes its streams and opens its terminal anew is heard", async () => {
    const script = "exec <&- >&- 2>&-; sleep 0.5; echo again >/dev/tty; sleep 0.5; echo and again >/dev/tty";
    expect(await show(["sh", "-c", script])).toMatchObject({ stdout: "again\r\nand again\r\n" });
  });

  test("a program that stops its own output can still be ended", async () => {
    const script = "import termios; print('off', flush=True); termios.tcflow(1, termios.TCOOFF); print('x' * 1000000)";
    const run = await open(["python3", "-c", script]);
    await said(run.stdout, "off");
    expect(await Promise.race([run.exit, sleep(500, "waits")])).toBe("waits");
    await run.signal("SIGKILL");
    expect(await end(run)).toEqual({ by: "signal", exitCode: 137, signal: "SIGKILL" });
  });

  test("what is left behind in a terminal is hung up when its program ends", async () => {
    const script = "(trap 'echo hung up > /tmp/hangup; exit' HUP; sleep 5561 & wait) & sleep 0.5";
    expect((await show(["sh", "-c", script])).exit).toEqual({ by: "exit", exitCode: 0 });
    while ((await runToEnd(get(), ["cat", "/tmp/hangup"])).stdout !== "hung up\n");
    await runToEnd(get(), ["rm", "/tmp/hangup"]);
    await gone(get(), "sleep 5561");
  });

  test("what ignores that keeps nothing open, finds its terminal gone, and can be killed", async () => {
    const script = `
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork() > 0:
    sys.exit(4)
try:
    while True: os.write(1, b'still here\\n'); time.sleep(0.05)
except OSError as error:
    open('/tmp/left', 'w').write(error.strerror)
time.sleep(5571)`;
    const run = await get().run(spec(["python3", "-c", script], { terminal }), forever);
    run.stderr.resume();
    expect(await end(run)).toEqual({ by: "exit", exitCode: 4 });
    while ((await runToEnd(get(), ["cat", "/tmp/left"])).stdout !== "Input/output error");
    expect((await processes(get())).filter((it) => it.includes("time.sleep(5571)"))).toHaveLength(1);
    await run.signal("SIGKILL");
    await gone(get(), "time.sleep(5571)");
    await runToEnd(get(), ["rm", "/tmp/left"]);
  });

  test("a flood that goes on after its program's end, heedless of the hang-up, keeps nothing open", async () => {
    const { exit } = await show(["sh", "-c", "trap '' HUP; yes & sleep 0.3; exit 4"]);
    expect(exit).toEqual({ by: "exit", exitCode: 4 });
    await gone(get(), "yes");
  });

  test.each(["SIGHUP", "SIGTERM", "SIGKILL"] as const)("%s ends a program and its terminal", async (name) => {
    const run = await open(["sh", "-c", "echo ready; exec sleep 600"]);
    await said(run.stdout, "ready");
    await run.signal(name);
    expect(await end(run)).toMatchObject({ by: "signal", signal: name });
    await expect.poll(() => run.stdin.writable).toBe(false);
  });

  test("a start that is given up leaves nothing running", async () => {
    const reason = new Error("enough");
    for (const afterMs of [1, 20, 60, 200]) {
      const controller = new AbortController();
      const starting = get().run(spec(["sleep", "8883"], { terminal, stdin: true }), controller.signal);
      setTimeout(() => controller.abort(reason), afterMs);
      const run = await starting.catch((error: unknown) => void expect(error).toBe(reason));
      run?.stderr.resume();
      await run?.signal("SIGKILL");
      if (run) await end(run);
    }
    await gone(get(), "sleep 8883");
  });

  test("programs beside each other have terminals of their own, and none of them stays", async () => {
    const shown = await Promise.all([1, 2, 3, 4].map(() => show(["sh", "-c", "tty; sleep 1"])));
    const names = shown.map((it) => it.stdout.trim());
    expect(new Set(names).size).toBe(4);
    await expect.poll(async () => (await runToEnd(get(), ["ls", ...names])).stdout).toBe("");
  });

  test("a program that takes all terminals there are leaves no other's without: those without one, and all when it has ended", async () => {
    const script = `
import os, time
try:
    while True: os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)
except OSError: print('all', flush=True)
time.sleep(600)`;
    const hog = await get().run(spec(["python3", "-c", script]), forever);
    hog.stderr.resume();
    await said(hog.stdout, "all");
    await expect(show(["true"])).rejects.toMatchObject({ code: "CONTAINER_FAILED" });
    expect((await runToEnd(get(), ["echo", "fine"])).stdout).toBe("fine\n");
    await hog.signal("SIGKILL");
    await end(hog);
    expect((await show(["echo", "fine"])).stdout).toBe("fine\r\n");
  });
}
