import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { onlyChain, recordsOf, segments } from "../support/audit.ts";
import { signedPlace } from "../support/audit-signed.ts";
import { truncate } from "../support/audit-truncate.ts";

const TRUNCATER = join(import.meta.dirname, "..", "support", "audit-truncater.ts");

/** Runs until it has removed something, and a random while longer; then it is killed. */
async function runAndKill(directory: string, name: string, keyFile: string): Promise<void> {
  const child = spawn(process.execPath, [TRUNCATER, directory, name, keyFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const lines = createInterface({ input: child.stdout });
    const enough = Promise.withResolvers<void>();
    lines.on("line", (line) => {
      if (line.startsWith("removed")) enough.resolve();
    });
    child.once("exit", () => enough.reject(new Error("the gateway ended by itself")));
    await enough.promise;
    await sleep(Math.random() * 60);
  } finally {
    const ended = child.exitCode === null ? once(child, "exit") : undefined;
    child.kill("SIGKILL");
    await ended;
  }
}

test("[G5] [G7] eight kills while old records are removed: what is left verifies, and says what is not there", async () => {
  const place = await signedPlace();
  const { directory, keyFile, keys } = place;
  let unfinished = 0;
  for (let round = 0; round < 8; round++) {
    await runAndKill(directory, `r${round}`, keyFile);
    const { problems } = await verifyLog(directory, { keys });
    expect(problems.filter((it) => it.kind !== "torn")).toEqual([]);
    const [oldest] = segments(onlyChain(directory));
    if (round % 4 === 3) unfinished += (await truncate(place, { beforeMs: undefined }))[0]?.finished ?? 0;
    if (unfinished > 0) expect(segments(onlyChain(directory))[0]).not.toBe(oldest);
    unfinished = 0;
  }
  await truncate(place);
  const chain = onlyChain(directory);
  const { problems, truncated } = await verifyLog(directory, { keys });
  expect(problems).toEqual([]);
  expect(Object.values(truncated)).toMatchObject([{ records: recordsOf(chain)[0]?.seq }]);
});
