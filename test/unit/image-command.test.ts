import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type CommandOptions, enclosed, run } from "../../src/image/command.ts";

async function options(signal = AbortSignal.timeout(20_000)): Promise<CommandOptions & { readonly logPath: string }> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-command-"));
  const logPath = join(directory, "log");
  const log = await open(logPath, "a");
  onTestFinished(async () => {
    await log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { log, signal, logPath };
}

test("arguments reach the program as they are, its output comes back, the rest goes to the log", async () => {
  const { logPath, ...command } = await options();
  const odd = ["a b", "$(id)", "'\"", "*", "--help", ""];
  expect(await run(["printf", "<%s>", ...odd], command)).toBe(odd.map((it) => `<${it}>`).join(""));
  await run([process.execPath, "-e", "console.error('told ' + process.env.OWN)"], { ...command, env: { OWN: "it" } });
  const log = readFileSync(logPath, "utf8");
  expect(log).toContain('+ "printf" "<%s>" "a b"');
  expect(log).toContain("told it");
});

test("a program that fails or is not there is named", async () => {
  const command = await options();
  const failing = run([process.execPath, "-e", "process.exit(3)"], command);
  await expect(failing).rejects.toMatchObject({ code: "IMAGE_BUILD_FAILED", message: /node` failed \(3\)/ });
  const absent = run(["no-such-program-here"], command);
  await expect(absent).rejects.toMatchObject({ code: "IMAGE_BUILD_FAILED", message: /no-such-program-here/ });
});

test("an aborted program ends with everything that it started", async () => {
  const stop = new AbortController();
  const command = await options(stop.signal);
  // The child ignores what its parent is told, and both would run for minutes.
  const grandchild = "process.on('SIGTERM',()=>{});console.error('pid',process.pid);setInterval(()=>{},1e6)";
  const parent = `require('node:child_process').spawn(process.execPath,['-e',${JSON.stringify(grandchild)}],{stdio:'inherit'})`;
  const running = run([process.execPath, "-e", parent], command);
  const pid = await new Promise<number>((resolve) => {
    const look = setInterval(() => {
      const found = /^pid (\d+)$/m.exec(readFileSync(command.logPath, "utf8"))?.[1];
      if (!found) return;
      clearInterval(look);
      resolve(Number(found));
    }, 20);
  });
  stop.abort(new Error("enough"));
  await expect(running).rejects.toThrow("enough");
  // Whoever adopted it may not have collected it yet.
  const state = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone");
  expect(state).toMatch(/^(gone|\d+ \(.*\) [ZX] )/);
});

test("nothing is started once the signal has aborted", async () => {
  const command = await options(AbortSignal.abort(new Error("too late")));
  await expect(run(["true"], command)).rejects.toThrow("too late");
});

test("an enclosed program has processes and mounts of its own, and a network only on demand", () => {
  const plain = enclosed(["mke2fs", "x"], { network: false, mapped: false });
  expect(plain.slice(-3)).toEqual(["--", "mke2fs", "x"]);
  expect(plain).toEqual(expect.arrayContaining(["--mount", "--pid", "--kill-child=KILL", "--net"]));
  expect(plain).not.toContain("--user");
  const mapped = enclosed(["mmdebstrap"], { network: true, mapped: true });
  expect(mapped).toEqual(expect.arrayContaining(["--user", "--map-root-user", "--map-auto"]));
  expect(mapped).not.toContain("--net");
});
