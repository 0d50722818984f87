import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { openSigner } from "../../src/audit/proof/signer.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { chains, onlyChain, recordsOf, scratch } from "../support/audit.ts";

const WRITER = join(import.meta.dirname, "..", "support", "audit-writer.ts");

interface Writer extends AsyncDisposable {
  readonly child: ChildProcessByStdio<null, Readable, null>;
  /** What it has said so far; complete once it has been ended. */
  readonly said: string[];
  /** Settles when it has said that many lines. */
  lines(count: number): Promise<void>;
  kill(): Promise<void>;
}

function startWriter(directory: string, name: string, writers: number, ...keyFile: readonly string[]): Writer {
  const child = spawn(process.execPath, [WRITER, directory, name, String(writers), ...keyFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said: string[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => {
    said.push(line);
    for (const it of waiting) if (said.length >= it.count) it.resolve();
  });
  const ended = Promise.all([once(child, "exit"), once(reader, "close")]);
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  return {
    child,
    said,
    lines: async (count) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiting.push({ count, resolve });
      if (said.length >= count) resolve();
      child.once("exit", () => reject(new Error(`the writer ended after ${said.length} lines`)));
      await promise;
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

/** Call ids by kind of record, from what writers said or from what is in the log. */
function acknowledged(said: readonly string[]) {
  const of = (kind: string) => said.filter((it) => it.endsWith(` ${kind}`)).map((it) => it.split(" ")[0] ?? "");
  return { intents: of("intent"), outcomes: of("outcome") };
}

test("[G5] [G6] [G7] thirty kills at random points: whatever was acknowledged is there, every call ends once", async () => {
  const directory = scratch();
  const said: string[] = [];
  for (let round = 0; round < 30; round++) {
    await using writer = startWriter(directory, `r${round}`, 1 + (round % 8));
    await writer.lines(1 + (round % 5) * 20);
    await sleep(Math.random() * 20);
    await writer.kill();
    said.push(...writer.said);
  }
  {
    await using _log = await openAuditLog({ directory, gateway: "gw-last" });
  }
  expect((await verifyLog(directory)).problems).toEqual([]);
  const bodies = recordsOf(onlyChain(directory)).map((it) => it.body);
  const intents = bodies.filter((it) => it.kind === "intent").map((it) => it.callId);
  const outcomes = bodies.filter((it) => it.kind === "outcome");
  const seen = acknowledged(said);
  expect(seen.intents.length).toBeGreaterThan(300);
  expect(new Set(seen.intents).difference(new Set(intents))).toEqual(new Set());
  const finished = new Set(outcomes.filter((it) => it.status === "ok").map((it) => it.callId));
  expect(new Set(seen.outcomes).difference(finished)).toEqual(new Set());
  // Each intent once, each with one outcome, the interrupted ones included.
  expect(new Set(intents).size).toBe(intents.length);
  expect(outcomes.map((it) => it.callId).sort()).toEqual(intents.toSorted());
  expect(outcomes.filter((it) => it.status === "interrupted").length).toBeGreaterThan(0);
});

test("[G33] twenty kills of a writer that signs: each start goes on from what was signed, and all is proved in the end", async () => {
  const data = scratch();
  const [directory, keyFile] = [join(data, "audit"), join(data, "keys", "audit.key")];
  for (let round = 0; round < 20; round++) {
    await using writer = startWriter(directory, `r${round}`, 1 + (round % 8), keyFile);
    await writer.lines(1 + (round % 5) * 40);
    await sleep(Math.random() * 20);
    await writer.kill();
  }
  const signer = await openSigner(keyFile);
  {
    await using _log = await openAuditLog({ directory, gateway: "gw-last", signer });
  }
  const keys = [{ verifier: signer.key, gateway: "test" }];
  const result = await verifyLog(directory, { keys, nowMs: Date.now() + 3_600_000 });
  expect(result).toMatchObject({ problems: [], unproven: 0 });
  expect(result.checkpoints).toBeGreaterThan(20);
});

test("two processes on one directory write a chain each; the next two continue them", async () => {
  const directory = scratch();
  const said: string[] = [];
  for (let round = 0; round < 2; round++) {
    await using one = startWriter(directory, `one${round}`, 4);
    await using two = startWriter(directory, `two${round}`, 4);
    await Promise.all([one.lines(60), two.lines(60)]);
    // Both are writing: a living writer's half-written group is no problem.
    expect((await verifyLog(directory)).problems).toEqual([]);
    await Promise.all([one.kill(), two.kill()]);
    said.push(...one.said, ...two.said);
  }
  expect(chains(directory)).toHaveLength(2);
  await using _one = await openAuditLog({ directory, gateway: "gw-a" });
  await using _two = await openAuditLog({ directory, gateway: "gw-b" });
  expect((await verifyLog(directory)).problems).toEqual([]);
  const bodies = chains(directory).flatMap((chain) => recordsOf(join(directory, chain)).map((it) => it.body));
  const kept = new Set(bodies.filter((it) => it.kind === "intent").map((it) => it.callId));
  expect(new Set(acknowledged(said).intents).difference(kept)).toEqual(new Set());
});
