import { afterAll, beforeAll, expect, test } from "vitest";
import { GatewayError } from "../../src/errors.ts";
import { forever, gone, python, runToEnd, said, spec, type TestSandbox } from "../contract/container-suite.ts";
import { openTestSandbox } from "../support/machine.ts";

/** What a hostile program tries against the container's first process and the file tools. One sandbox serves all. */
let sandbox: TestSandbox;

beforeAll(async () => {
  sandbox = await openTestSandbox();
});

afterAll(async () => {
  await sandbox?.[Symbol.asyncDispose]();
});

const works = async () => expect((await runToEnd(sandbox.container, ["echo", "works"])).stdout).toBe("works\n");

test.each([
  ["read its memory", "open('/proc/1/mem', 'rb')"],
  ["write its memory", "open('/proc/1/mem', 'r+b')"],
  ["see what it has open", "os.listdir('/proc/1/fd')"],
  ["open what it has open", "os.open('/proc/1/fd/4', os.O_RDWR)"],
  ["take a descriptor of it", "os.close(libc.syscall(438, os.pidfd_open(1), 4, 0))"],
  ["trace it", "ok(libc.ptrace(16, 1, 0, 0))"],
  ["seize it", "ok(libc.ptrace(0x4206, 1, 0, 0))"],
  ["see its environment", "open('/proc/1/environ')"],
  ["take away its descriptors", "resource.prlimit(1, resource.RLIMIT_NOFILE, (3, 3))"],
  ["have it killed for the time that it has used", "resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))"],
  ["replace its program", "open('/.glovebox/runner', 'r+b')"],
  ["remove its socket", "os.unlink('/.glovebox/runner.sock')"],
  [
    "call the agent in its place",
    "socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('/.glovebox/runner.sock')",
  ],
])("a program of the same user can't %s [G10]", async (_name, attempt) => {
  const script = `
import ctypes, os, resource, socket
resource.prlimit(0, resource.RLIMIT_CORE, (0, 0))
libc = ctypes.CDLL(None, use_errno=True)
def ok(result):
    if result != 0: raise OSError(ctypes.get_errno(), 'refused')
try:
    ${attempt}
    print('done')
except OSError:
    print('refused')`;
  expect((await python(sandbox.container, script)).stdout).toBe("refused\n");
  await works();
});

test("signals to it are for nothing, whatever they are", async () => {
  const script = `
import os, signal
for number in signal.valid_signals():
    os.kill(1, number)
print('sent')`;
  expect((await python(sandbox.container, script)).stdout).toBe("sent\n");
  await works();
});

test("a daemon that left its run, its session and its parents dies with its run when that is killed", async () => {
  const script =
    "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(6661)\nprint('off', flush=True); time.sleep(6662)";
  const run = await sandbox.container.run(spec(["python3", "-c", script]), forever);
  run.stderr.resume();
  await said(run.stdout, "off");
  run.stdout.resume();
  await run.signal("SIGKILL");
  await run.exit;
  await gone(sandbox.container, "time.sleep(6661)");
});

test("a directory that is swapped for a link while a file tool works leads nowhere else [G12]", async () => {
  const { container } = sandbox;
  await runToEnd(container, [
    "sh",
    "-c",
    "mkdir -p /workspace/race/real /home/agent/secret; echo real > /workspace/race/real/file; echo secret > /home/agent/secret/file",
  ]);
  const swap = `
import os
os.chdir('/workspace/race')
os.rename('real', 'kept')
while True:
    os.symlink('kept', 'dir'); os.unlink('dir'); os.symlink('/home/agent/secret', 'dir'); os.unlink('dir'); os.rename('kept', 'dir'); os.rename('dir', 'kept')`;
  const run = await container.run(spec(["python3", "-c", swap]), forever);
  run.stdout.resume();
  run.stderr.resume();
  const outcomes = new Set<string>();
  try {
    for (let attempt = 0; attempt < 150; attempt += 1) {
      const path = "/workspace/race/dir/file";
      const note = (error: unknown) => outcomes.add(error instanceof GatewayError ? error.code : String(error));
      await container.readFile(path, 100, forever).then((it) => outcomes.add(it.toString().trim()), note);
      await container
        .writeFile(path, Buffer.from("real\n"), { mode: 0o644, createParents: false }, forever)
        .catch(note);
    }
  } finally {
    await run.signal("SIGKILL");
    await run.exit;
  }
  const allowed = new Set(["real", "PATH_IS_LINK", "FILE_NOT_FOUND"]);
  expect([...outcomes].filter((it) => !allowed.has(it))).toEqual([]);
  expect(outcomes.size).toBeGreaterThan(1);
  expect((await runToEnd(container, ["cat", "/home/agent/secret/file"])).stdout).toBe("secret\n");
});

test("of a transfer that breaks off nothing stays: no part of the file, no draft, and the old content if there was one", async () => {
  const { container } = sandbox;
  const options = { mode: 0o644, createParents: false };
  await container.writeFile("/workspace/kept", Buffer.from("old"), options, forever);
  for (const afterMs of [100, 200, 300, 400, 500]) {
    const controller = new AbortController();
    const late = Buffer.alloc(30_000_000);
    const writing = ["/workspace/broken-off", "/workspace/kept"].map((path) =>
      container.writeFile(path, late, options, controller.signal),
    );
    setTimeout(() => controller.abort(new Error("enough")), afterMs);
    for (const it of writing) await expect(it).rejects.toThrow("enough");
  }
  await expect
    .poll(async () => (await runToEnd(container, ["sh", "-c", "ls -A /workspace | grep glovebox || true"])).stdout)
    .toBe("");
  await expect(container.stat("/workspace/broken-off", forever)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  expect((await container.readFile("/workspace/kept", 100, forever)).toString()).toBe("old");
});

test("nobody can make others wait for a file by a lease on it", async () => {
  const script = `
import fcntl
with open('/workspace/leased', 'w') as file:
    try: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK); print('held')
    except OSError: print('refused')`;
  expect((await python(sandbox.container, script)).stdout).toBe("refused\n");
});

test("input that nobody reads keeps no terminal when its program has ended", async () => {
  const { container } = sandbox;
  const typed = Buffer.from("typed ahead\n".repeat(20_000));
  await runToEnd(container, ["sleep", "0.5"], { terminal: { columns: 80, rows: 24 }, input: typed });
  await expect.poll(async () => (await runToEnd(container, ["ls", "/dev/pts"])).stdout).toBe("ptmx\n");
});

// What is typed on one terminal can be read on no other, but by those who may open it: all programs of the container.
test("a program can't make a terminal of another run its own", async () => {
  const { container } = sandbox;
  const terminal = { columns: 80, rows: 24 };
  const victim = await container.run(spec(["sh", "-c", "tty; sleep 600"], { terminal }), forever);
  victim.stderr.resume();
  const name = (await said(victim.stdout, "\n")).trim();
  const script = `
import fcntl, os, sys, termios
if os.fork() > 0: sys.exit(os.wait()[1])
os.setsid()
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
for name, steal in {
    'own': lambda: fcntl.ioctl(fd, termios.TIOCSCTTY, 0),
    'force': lambda: fcntl.ioctl(fd, termios.TIOCSCTTY, 1),
    'type': lambda: fcntl.ioctl(fd, termios.TIOCSTI, b'x'),
    'front': lambda: os.tcsetpgrp(fd, os.getpid()),
    'console': lambda: fcntl.ioctl(fd, termios.TIOCCONS),
}.items():
    try: steal(); print(name)
    except OSError: pass`;
  expect(await python(container, script, name)).toMatchObject({ stdout: "", stderr: "" });
  victim.stdout.resume();
  await victim.signal("SIGKILL");
  await victim.exit;
});

test("a program that turns its terminal into any other kind of line ends as others do", async () => {
  const script = `
import fcntl, os, struct, termios
for discipline in range(32):
    try: fcntl.ioctl(0, termios.TIOCSETD, struct.pack('i', discipline)); os.write(1, b'x')
    except OSError: pass
os._exit(6)`;
  const { exit } = await runToEnd(sandbox.container, ["python3", "-c", script], {
    terminal: { columns: 80, rows: 24 },
  });
  expect(exit).toEqual({ by: "exit", exitCode: 6 });
  await works();
});

// The runner waits for each new process until that is a program; these catch it before.
test.each(["SIGSTOP", "SIGKILL"])(
  "a program that sends %s to all others, for ever, spoils their starts and not the sandbox",
  async (name) => {
    const { container, machine } = sandbox;
    const script = `
import os, signal
print('going', flush=True)
while True:
    try: os.kill(-1, signal.${name})
    except OSError: pass`;
    const hostile = await container.run(spec(["python3", "-c", script]), forever);
    hostile.stderr.resume();
    await said(hostile.stdout, "going");
    hostile.stdout.resume();
    // At once: each that is held up takes the runner's time from those behind it, which have their own deadline nevertheless.
    const victim = async () => {
      const run = await container.run(spec(["sleep", "7761"]), AbortSignal.timeout(120_000)).catch(() => undefined);
      run?.stdout.resume();
      run?.stderr.resume();
      await run?.signal("SIGKILL");
      await run?.exit;
    };
    await Promise.all(Array.from({ length: 4 }, victim));
    await hostile.signal("SIGKILL");
    await hostile.exit;
    expect(machine.lost.reason).toBeUndefined();
    await works();
    await gone(container, "sleep 7761");
  },
);
