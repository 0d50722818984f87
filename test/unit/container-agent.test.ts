import { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { agentContainer } from "../../src/container/agent-container.ts";
import type { Machine } from "../../src/engine/engine.ts";
import { GatewayError } from "../../src/errors.ts";

/** The gateway's side of what the guest agent says, against a guest that says anything. The real one is tested in contract/. */
const forever = new AbortController().signal;
const spec = { run: "r", argv: ["x"] as [string], cwd: "/", env: {}, stdin: false };

/** A machine whose agent answers each question with these bytes, cut as `pieces` says. */
function answering(pieces: readonly Uint8Array[]) {
  const condemned: string[] = [];
  const machine: Pick<Machine, "connect" | "signal" | "lost" | "condemn"> = {
    lost: new AbortController().signal,
    condemn: ({ code }) => void condemned.push(code),
    signal: async () => undefined,
    connect: () => {
      const left = [...pieces];
      return new Duplex({
        write: (_chunk, _encoding, done) => done(),
        read() {
          this.push(left.shift() ?? null);
        },
      });
    },
  };
  return { container: agentContainer("c", machine as Machine), condemned };
}

function frame(type: number, payload: string | Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(type);
  const body = Buffer.from(payload);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

const message = (value: unknown) => frame(3, JSON.stringify(value));
const started = message({ started: { pid: 77 } });
const ended = (how: object) => message({ ended: { outOfMemoryKills: 0, ...how } });

/** How a run of these frames ends: its exit and output, or the code of the error that its start fails with. */
async function outcomeOf(pieces: readonly Uint8Array[], { container } = answering(pieces)): Promise<unknown> {
  try {
    const run = await container.run(spec, forever);
    const [stdout, stderr, exit] = await Promise.all([buffer(run.stdout), buffer(run.stderr), run.exit]);
    return { exit, stdout: stdout.toString(), stderr: stderr.toString() };
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError);
    return (error as GatewayError).code;
  } finally {
    await container[Symbol.asyncDispose]();
  }
}

test("a program's outputs and end are told as the agent tells them", async () => {
  const frames = [started, frame(1, "out"), frame(2, "err"), frame(1, "put"), ended({ exitCode: 3 })];
  const whole = { exit: { by: "exit", exitCode: 3 }, stdout: "output", stderr: "err" };
  expect(await outcomeOf(frames)).toEqual(whole);
  const bytes = Buffer.concat(frames);
  expect(await outcomeOf(Array.from(bytes, (_, index) => bytes.subarray(index, index + 1)))).toEqual(whole);
});

test.each<[string, object, object]>([
  ["a signal", { signal: 11 }, { by: "signal", exitCode: 139, signal: "SIGSEGV" }],
  ["the kernel's kill", { signal: 9, outOfMemoryKills: 1 }, { by: "out-of-memory", exitCode: 137 }],
  ["a shell's word for it", { exitCode: 137, outOfMemoryKills: 1 }, { by: "out-of-memory", exitCode: 137 }],
  ["somebody else's kill", { signal: 9 }, { by: "signal", exitCode: 137, signal: "SIGKILL" }],
  ["an exit that looks like a signal", { exitCode: 143 }, { by: "exit", exitCode: 143 }],
  ["another's want of memory", { exitCode: 0, outOfMemoryKills: 4 }, { by: "exit", exitCode: 0 }],
])("%s", async (_name, how, exit) => {
  expect(await outcomeOf([started, ended(how)])).toMatchObject({ exit });
});

test.each<[string, string, string]>([
  ["ENOENT", "program", "PROGRAM_NOT_FOUND"],
  ["EACCES", "program", "PROGRAM_NOT_FOUND"],
  ["ENOTDIR", "directory", "PROGRAM_NOT_FOUND"],
  ["E2BIG", "program", "INVALID_ARGUMENTS"],
  ["EAGAIN", "start", "CONTAINER_FAILED"],
  ["something \u001b[31m else", "start", "CONTAINER_FAILED"],
])("a start that fails with %s at the %s is %s", async (code, stage, expected) => {
  expect(await outcomeOf([message({ failed: { code, stage } })])).toBe(expected);
});

test.each<[string, Buffer[]]>([
  ["no JSON", [frame(3, "{")]],
  ["an unknown message", [message({ hello: 1 })]],
  ["an unknown key", [message({ started: { pid: 7, root: true } })]],
  ["a process that cannot be", [message({ started: { pid: 1 } })]],
  ["an endless message", [frame(3, "x".repeat(70_000))]],
  ["an unknown kind of frame", [frame(4, "x")]],
  ["half a frame", [frame(1, "xxxx").subarray(0, 10)]],
])("%s ends the machine, before the start and after [G13]", async (_name, frames) => {
  const before = answering(frames);
  expect(await outcomeOf([], before)).toBe("CHANNEL_VIOLATION");
  const after = answering([started, ...frames]);
  expect(await outcomeOf([], after)).toMatchObject({ exit: { by: "machine-lost" } });
  const file = answering(frames);
  await expect(file.container.stat("/workspace", forever)).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
  for (const { condemned, container } of [before, after, file]) {
    expect(condemned).toEqual(["CHANNEL_VIOLATION"]);
    await expect(container.stat("/workspace", forever)).rejects.toBeInstanceOf(GatewayError);
  }
});

test("what a caller gives up, or is refused, ends no machine", async () => {
  const { container, condemned } = answering([message({ failed: { code: "ENOENT", stage: "program" } })]);
  await expect(container.run(spec, forever)).rejects.toMatchObject({ code: "PROGRAM_NOT_FOUND" });
  const reason = new GatewayError("MACHINE_LOST", "of another machine");
  await expect(container.run(spec, AbortSignal.abort(reason))).rejects.toBe(reason);
  const giveUp = new AbortController();
  const reading = container.stat("/workspace", giveUp.signal);
  giveUp.abort(reason);
  await expect(reading).rejects.toBe(reason);
  expect(condemned).toEqual([]);
});

test("an end that is not told of is a lost machine, before the start and after", async () => {
  const before = answering([]);
  expect(await outcomeOf([], before)).toBe("MACHINE_LOST");
  const after = answering([started, frame(1, "x")]);
  expect(await outcomeOf([], after)).toMatchObject({ exit: { by: "machine-lost" }, stdout: "x" });
  expect([before.condemned, after.condemned]).toEqual([["MACHINE_LOST"], ["MACHINE_LOST"]]);
});

test("whatever an agent says to a question about a file is an answer or one of our errors", async () => {
  const entry = { kind: "file", sizeBytes: 3, mode: 0o644, modifiedMs: 0, target: "" };
  const good = [message({ entry }), frame(1, "abc"), message({ done: true })];
  const { container } = answering(good);
  expect((await container.readFile("/workspace/x", 10, forever)).toString()).toBe("abc");
  await expect(container.readFile("/workspace/x", 2, forever)).rejects.toMatchObject({ code: "FILE_TOO_LARGE" });
  const flood = answering([message({ entry }), frame(1, "x".repeat(100)), message({ done: true })]);
  await expect(flood.container.readFile("/workspace/x", 10, forever)).rejects.toMatchObject({
    code: "CHANNEL_VIOLATION",
  });
  const cut = answering(good.slice(0, 2));
  await expect(cut.container.readFile("/workspace/x", 10, forever)).rejects.toMatchObject({ code: "MACHINE_LOST" });
});

const anyFrame = fc.oneof(
  fc
    .tuple(fc.integer({ min: 0, max: 5 }), fc.uint8Array({ maxLength: 300 }))
    .map(([type, bytes]) => frame(type, bytes)),
  fc.json({ maxDepth: 3 }).map((text) => frame(3, text)),
  fc.constantFrom(started, ended({ exitCode: 0 }), ended({ signal: 9 }), message({ done: true })),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
);

test("whatever comes, in whatever pieces, ends in an exit or one of our errors, and soon", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyFrame, { maxLength: 6 }), async (frames) => {
      await outcomeOf(frames);
      const { container } = answering(frames);
      const reading = container.readFile("/workspace/x", 100, forever).catch((error: unknown) => error);
      expect(await reading).toSatisfy((it) => it instanceof Buffer || it instanceof GatewayError);
    }),
    { numRuns: 300, interruptAfterTimeLimit: 20_000 },
  );
});
