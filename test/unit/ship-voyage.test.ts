import { copyFileSync, cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createHealth } from "../../src/audit/ship/health.ts";
import { Voyage } from "../../src/audit/ship/voyage.ts";
import type { Sink } from "../../src/audit/sinks/sink.ts";
import { onlyChain, scratch } from "../support/audit.ts";
import { type TestData, testData, writeRecords } from "../support/shipping.ts";

/** Shipping to a receiver that takes everything, a round at a time. */
function stand({ auditDirectory }: TestData) {
  const sink: Sink = {
    target: "nowhere",
    maxBatch: { records: 100, bytes: 1_000_000 },
    deliver: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const voyage = new Voyage({
    ...{ auditDirectory, directory: scratch(), cursor: new Map(), sink, deliveryMs: 60_000 },
    ...{ health: createHealth((text) => text), signal: new AbortController().signal },
  });
  return {
    /** What is stopped after so many rounds, none of which waits for anything. */
    stoppedAfter: async (rounds: number) => {
      for (let n = 0; n < rounds; n += 1) {
        voyage.hurry();
        await voyage.round();
      }
      return voyage.stopped.map(({ problem }) => problem);
    },
  };
}

test("a damaged chain that was put right is sound again, also when it has nothing left to ship", async () => {
  const damages: [string, (chain: string) => void][] = [
    ["is missing", (chain) => rmSync(chain, { recursive: true })],
    ["of which record 2 was shipped, is missing", (chain) => rmSync(join(chain, "000001.jsonl"))],
    ["record 2, which was shipped, is not there any more", (chain) => truncateSync(join(chain, "000001.jsonl"), 700)],
    ["head is unreadable", (chain) => writeFileSync(join(chain, "head"), "{")],
    [
      "record 2 stands where 3 should",
      (chain) => writeFileSync(join(chain, "000001.jsonl"), lastLine(chain), { flag: "a" }),
    ],
  ];
  for (const [problem, damage] of damages) {
    const data = testData();
    await writeRecords(data.auditDirectory, 3);
    const chain = onlyChain(data.auditDirectory);
    const copy = join(data.dataDirectory, "copy");
    cpSync(chain, copy, { recursive: true });
    const { stoppedAfter } = stand(data);
    expect(await stoppedAfter(2)).toEqual([]);
    damage(chain);
    expect([problem, await stoppedAfter(2)]).toEqual([problem, [expect.stringContaining(problem)]]);
    expect(await stoppedAfter(2)).toHaveLength(1);
    cpSync(copy, chain, { recursive: true });
    expect([problem, await stoppedAfter(1)]).toEqual([problem, []]);
  }
});

test("a chain without segments whose head has reached a record is damaged before anything of it was shipped", async () => {
  const data = testData();
  await writeRecords(data.auditDirectory, 3);
  const file = join(onlyChain(data.auditDirectory), "000001.jsonl");
  const copy = join(data.dataDirectory, "copy");
  copyFileSync(file, copy);
  rmSync(file);
  const { stoppedAfter } = stand(data);
  expect(await stoppedAfter(2)).toEqual([expect.stringContaining("its end was cut off")]);
  copyFileSync(copy, file);
  expect(await stoppedAfter(1)).toEqual([]);
});

function lastLine(chain: string): string {
  const lines = readFileSync(join(chain, "000001.jsonl"), "utf8").split("\n");
  return `${lines.at(-2)}\n`;
}
