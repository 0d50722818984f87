import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { abortable, deadline } from "../../src/lib/deadline.ts";
import { newId } from "../../src/lib/id.ts";
import { tryLock } from "../../src/lib/lock.ts";
import { printable } from "../../src/lib/text.ts";
import { userName } from "../../src/lib/user.ts";

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-lib-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("ids are unique, sort by time and are safe in file names", async () => {
  const first = newId("ses");
  await new Promise((resolve) => setTimeout(resolve, 2));
  const second = newId("ses");
  expect(first < second).toBe(true);
  expect(second).toMatch(/^ses-[0-9a-z]{9}[0-9a-f]{16}$/);
});

test("printable text holds no control characters, overrides or lone surrogates, whatever went in", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: looking for them is the point
      expect(printable(text)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      expect(printable(text).isWellFormed()).toBe(true);
      expect(printable(printable(text))).toBe(printable(text));
    }),
  );
  expect(printable("\u001b[31mred\u001b[0m\r\n\tok")).toBe("\ufffd[31mred\ufffd[0m\ufffd\n\tok");
  expect(printable("x".repeat(30), 10)).toBe("xxxxxxxxxx… (20 more characters)");
});

test("a lock is held by one holder, inside the process and out, and is free again when the holder is killed", async () => {
  const path = join(scratch(), "lock");
  const mine = tryLock(path);
  expect(mine).toBeDefined();
  expect(tryLock(path)).toBeUndefined();
  mine?.[Symbol.dispose]();

  const script = `import { tryLock } from ${JSON.stringify(join(import.meta.dirname, "../../src/lib/lock.ts"))};
    console.log(tryLock(${JSON.stringify(path)}) ? "held" : "busy"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [said] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  expect(String(said).trim()).toBe("held");
  expect(tryLock(path)).toBeUndefined();
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
  using again = tryLock(path);
  expect(again).toBeDefined();
});

function once(emitter: NodeJS.EventEmitter, event: string): Promise<unknown[]> {
  return new Promise((resolve) => emitter.once(event, (...args: unknown[]) => resolve(args)));
}

test("abortable rejects with the signal's reason and leaves no listener", async () => {
  const controller = new AbortController();
  const waiting = abortable(new Promise(() => undefined), controller.signal);
  controller.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(abortable(Promise.resolve(7), new AbortController().signal)).resolves.toBe(7);
  await expect(abortable(new Promise(() => undefined), deadline(5))).rejects.toThrow(/timeout/i);
  // What comes too late is looked at too: a rejection that nobody looks at would end the process.
  await expect(abortable(Promise.reject(new Error("late")), controller.signal)).rejects.toThrow("enough");
});

test("a user has a name, also one that the system knows by number only", () => {
  expect(userName()).toMatch(/^\S+$/);
  // The answer of `getuid`, and the failure of `userInfo`, of such a user; to run as one takes root and a Node that others may read.
  const stranger = `
    import os from "node:os"; import { syncBuiltinESMExports } from "node:module";
    os.userInfo = () => { throw new Error("ENOENT"); }; process.getuid = () => 54321; syncBuiltinESMExports();
    const { userName } = await import(${JSON.stringify(join(import.meta.dirname, "..", "..", "src", "lib", "user.ts"))});
    process.stdout.write(userName());`;
  const told = spawnSync(process.execPath, ["--input-type=module", "-e", stranger], { encoding: "utf8" });
  expect(told.stdout, told.stderr).toBe("uid-54321");
});
