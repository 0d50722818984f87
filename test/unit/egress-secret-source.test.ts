import { execFileSync, spawnSync } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { readSecret } from "../../src/egress/secret-source.ts";
import { GatewayError } from "../../src/errors.ts";
import type { SecretSource } from "../../src/policy/secret.ts";
import { eventually } from "../support/eventually.ts";

const VALUE = "sv-4f1c09d2e7";
const never = new AbortController().signal;
const node = process.execPath;

const read = (source: SecretSource, signal = never) => readSecret({ name: "TOKEN", source }, signal);
const command = (script: string, timeoutMs = 10_000): SecretSource => ({ command: [node, "-e", script], timeoutMs });

async function directory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "glovebox-secret-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

async function fileOf(content: string | Buffer, mode = 0o600): Promise<string> {
  const path = join(await directory(), "token");
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

/** The error, which must say this and hold nothing that was read, wherever one looks. */
async function refusal(reading: Promise<string>, problem: string, value = VALUE): Promise<void> {
  const error = await reading.then(
    () => undefined,
    (it: unknown) => it,
  );
  expect(error).toBeInstanceOf(GatewayError);
  expect(error).toMatchObject({ code: "SECRET_UNAVAILABLE", message: `Secret TOKEN: ${problem}.` });
  const all = inspect(error, { depth: null, showHidden: true, maxStringLength: null });
  for (let at = 0; at + 5 <= value.length; at += 1) expect(all).not.toContain(value.slice(at, at + 5));
}

test("a variable is read when it is asked for", async () => {
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("TEST_SECRET", VALUE);
  expect(await read({ env: "TEST_SECRET" })).toBe(VALUE);
  vi.stubEnv("TEST_SECRET", `${VALUE}-2`);
  expect(await read({ env: "TEST_SECRET" })).toBe(`${VALUE}-2`);
  await refusal(read({ env: "TEST_NO_SUCH_SECRET" }), "its variable is not in the gateway's environment");
});

test("a file is read without its last newline, also through a link, in the home directory, and by its group", async () => {
  expect(await read({ file: await fileOf(`${VALUE}\n`) })).toBe(VALUE);
  expect(await read({ file: await fileOf(`${VALUE}\r\n`, 0o440) })).toBe(VALUE);
  const link = join(await directory(), "link");
  await symlink(await fileOf(VALUE), link);
  expect(await read({ file: link })).toBe(VALUE);
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("HOME", await directory());
  await writeFile(join(homedir(), "token"), VALUE, { mode: 0o600 });
  expect(await read({ file: "~/token" })).toBe(VALUE);
});

test("a file that others can read or write is refused, with the way out", async () => {
  const readable = "anybody may read its file; run `chmod o-r` on it";
  const writable = "others than its owner may write its file; run `chmod go-w` on it";
  await refusal(read({ file: await fileOf(VALUE, 0o644) }), readable);
  await refusal(read({ file: await fileOf(VALUE, 0o620) }), writable);
  await refusal(read({ file: await fileOf(VALUE, 0o602) }), writable);
});

test("what is no file is refused at once", async () => {
  const path = await directory();
  await refusal(read({ file: path }), "its file is not a regular file");
  await refusal(read({ file: join(path, "token") }), "its file does not exist");
  await refusal(read({ file: join(await fileOf(VALUE), "x") }), "its file cannot be opened");
  await refusal(read({ file: "/dev/zero" }), "its file is not a regular file");
  execFileSync("mkfifo", ["-m", "600", join(path, "pipe")]);
  await refusal(read({ file: join(path, "pipe") }), "its file is not a regular file");
});

test("64 KiB are enough", async () => {
  expect(await read({ file: await fileOf("x".repeat(65_536)) })).toHaveLength(65_536);
  await refusal(read({ file: await fileOf(`${VALUE}${"x".repeat(65_536)}`) }), "its file is larger than 65536 bytes");
  const endless = command(`setInterval(() => process.stdout.write("${VALUE}".repeat(1000)), 1)`);
  await refusal(read(endless), "its command printed more than 65536 bytes");
});

test.each([
  ["", "is empty"],
  ["\n", "is empty"],
  [`${VALUE}\n\n`, "has more than one line, and a header has one"],
  [`-----BEGIN-----\n${VALUE}`, "has more than one line, and a header has one"],
  [`${VALUE}\0`, "holds characters that a header cannot: only printable ASCII can be sent"],
  [`\t${VALUE}`, "holds characters that a header cannot: only printable ASCII can be sent"],
  [`${VALUE}ü`, "holds characters that a header cannot: only printable ASCII can be sent"],
  [`${VALUE} `, "begins or ends with a space"],
  ["1234567", "has fewer than 8 characters, too few to be found in a response"],
])("the value %j is refused", async (value, problem) => {
  await refusal(read({ file: await fileOf(value) }), `its value ${problem}`, value.trim());
});

test("a command's output is the value; it has no shell, no input and none of the gateway's secrets", async () => {
  expect(await read(command(`console.log("${VALUE}")`))).toBe(VALUE);
  expect(await read({ command: ["printf", "%s", "$(id) ; `id`"], timeoutMs: 10_000 })).toBe("$(id) ; `id`");
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("TEST_SECRET", VALUE);
  vi.stubEnv("NODE_OPTIONS", "");
  vi.stubEnv("VAULT_ADDR", "https://vault.example.com");
  const seen =
    "const e = process.env; console.log([typeof e.TEST_SECRET, typeof e.NODE_OPTIONS, e.VAULT_ADDR, e.PATH].join())";
  expect(await read(command(seen))).toBe(`undefined,undefined,https://vault.example.com,${process.env["PATH"]}`);
  const input = 'process.stdin.on("data", () => {}).on("end", () => console.log("at its end"))';
  expect(await read(command(input))).toBe("at its end");
});

test("a command that fails tells its exit code and nothing that it printed", async () => {
  const print = `process.stdout.write("${VALUE}"); process.stderr.write("${VALUE}");`;
  await refusal(read(command(`${print} process.exitCode = 3`)), "its command ended with exit code 3");
  await refusal(read(command(`${print} process.kill(process.pid, "SIGTERM")`)), "its command was ended by SIGTERM");
  const missing: SecretSource = { command: ["/no/such/program", VALUE], timeoutMs: 1000 };
  await refusal(read(missing), "its command cannot be run");
});

/** Starts a program of its own, which outlives it if it can, and writes its process id to the file. */
const family = (file: string) => `
  const { spawn } = require("node:child_process");
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" });
  require("node:fs").writeFileSync(${JSON.stringify(file)}, String(child.pid));
  process.stdout.write("${VALUE}");`;

async function gone(file: string): Promise<void> {
  const pid = Number(await readFile(file, "utf8"));
  expect(pid).toBeGreaterThan(1);
  // Where the first process of a container buries nobody, a dead one stays as a zombie.
  const state = () => spawnSync("ps", ["-o", "stat=", "-p", `${pid}`]).stdout.toString();
  await eventually(() => expect(state()).toMatch(/^(?:Z|$)/));
}

test("a command that takes too long is ended with all that it started", async () => {
  const file = join(await directory(), "pid");
  await refusal(read(command(family(file), 1500)), "its command did not end within 1500 ms");
  await gone(file);
});

test("so is one whose caller gives up, with the caller's reason", async () => {
  const file = join(await directory(), "pid");
  const caller = new AbortController();
  const reading = read(command(family(file)), caller.signal);
  reading.catch(() => undefined);
  await eventually(async () => expect(await readFile(file, "utf8")).not.toBe(""));
  caller.abort(new Error("given up"));
  await expect(reading).rejects.toThrow("given up");
  await gone(file);
  await expect(read({ env: "PATH" }, caller.signal)).rejects.toThrow("given up");
});
