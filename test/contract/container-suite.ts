import { once } from "node:events";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { Container, RunExit, RunSpec } from "../../src/container/container.ts";
import type { Machine } from "../../src/engine/engine.ts";
import type { Profile } from "../../src/policy/profile.ts";

/** A container that a driver has opened, and what it stands on. */
export interface TestSandbox extends AsyncDisposable {
  readonly container: Container;
  readonly machine: Machine;
  readonly profile: Profile;
  readonly hostname: string;
}

export const forever = new AbortController().signal;

export interface Ended {
  readonly exit: RunExit;
  readonly stdout: string;
  readonly stderr: string;
}

let runs = 0;

/** A spec with what a test leaves open filled in. */
export function spec(argv: readonly [string, ...string[]], more: Partial<RunSpec> = {}): RunSpec {
  runs += 1;
  return { run: `run-${process.pid}-${runs}`, argv, cwd: "/workspace", env: {}, stdin: false, ...more };
}

export async function runToEnd(
  container: Container,
  argv: readonly [string, ...string[]],
  more: Partial<RunSpec> & { readonly input?: Buffer } = {},
): Promise<Ended> {
  const { input, ...rest } = more;
  const run = await container.run(spec(argv, { ...rest, stdin: input !== undefined }), forever);
  run.stdin?.end(input);
  const [stdout, stderr, exit] = await Promise.all([buffer(run.stdout), buffer(run.stderr), run.exit]);
  return { exit, stdout: stdout.toString(), stderr: stderr.toString() };
}

export function python(container: Container, script: string, ...args: readonly string[]): Promise<Ended> {
  return runToEnd(container, ["python3", "-c", script, ...args]);
}

/** Resolves to what has been written when it contains `words`. */
export async function said(stream: Readable, words: string): Promise<string> {
  let text = "";
  while (!text.includes(words)) {
    if (stream.readableEnded) throw new Error(`the stream ended without \`${words}\`: ${text}`);
    const chunk: Buffer | null = stream.read();
    if (chunk) text += chunk.toString();
    else await stirred(stream);
  }
  return text;
}

async function stirred(stream: Readable): Promise<void> {
  const enough = new AbortController();
  const { signal } = enough;
  await Promise.race([once(stream, "readable", { signal }), once(stream, "end", { signal })]);
  enough.abort();
}

/** Command lines of the agent's programs, but the container's first and the one that looks. */
export async function processes(container: Container): Promise<string[]> {
  const { stdout } = await python(
    container,
    `
import os, json
found = []
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) not in (1, os.getpid()):
        try:
            found.append(open(f"/proc/{pid}/cmdline").read().replace("\\0", " ").strip())
        except (FileNotFoundError, ProcessLookupError):
            pass
print(json.dumps(found))
`,
  );
  return JSON.parse(stdout);
}

/** Waits until no program of the agent's has `words` in its command line; the test's own time limit is the deadline. */
export async function gone(container: Container, words: string): Promise<void> {
  while ((await processes(container)).some((it) => it.includes(words)));
}
