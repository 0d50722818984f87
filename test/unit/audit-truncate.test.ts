import { basename } from "node:path";
import { expect, test } from "vitest";
import { verifyLog } from "../../src/audit/verify.ts";
import { recordsOf, segments } from "../support/audit.ts";
import { makeSignedLog, writeCalls } from "../support/audit-signed.ts";
import { truncated } from "../support/audit-truncate.ts";

const LATER_MS = Date.now() + 3_600_000;

test("what is old goes, whole segments, oldest first, behind a signed record that says so; and the rest verifies", async () => {
  const log = await makeSignedLog(12);
  const [before, records] = [segments(log.chain), recordsOf(log.chain)];
  const { removed } = await truncated(log);
  const left = segments(log.chain);
  const gone = before.filter((it) => !left.includes(it));
  expect(gone).toEqual(before.slice(0, gone.length));
  expect(gone).toHaveLength(before.length - 1);
  const [first] = recordsOf(log.chain);
  const last = records[(first?.seq ?? 0) - 1];
  expect(removed).toMatchObject({ upToSeq: last?.seq, upToHash: last?.hash, records: first?.seq });
  const seal = recordsOf(log.chain).find((it) => it.body.kind === "event" && it.body.event === "log-truncated");
  expect(seal?.body).toMatchObject({ facts: { upToSeq: last?.seq, segments: [1, gone.length], why: "person" } });
  const whole = await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS });
  expect(whole.problems).toEqual([]);
  expect(whole.truncated).toEqual({ [basename(log.chain)]: { records: first?.seq, before: expect.any(String) } });
  // The next gateway goes on, and the next removal goes on top.
  await writeCalls(log, 8, "gw-next");
  expect(await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS })).toMatchObject({
    problems: [],
    unproven: 0,
  });
  await truncated(log, 6);
  await truncated(log, 1);
  const again = await verifyLog(log.directory, { keys: log.keys, nowMs: LATER_MS });
  expect(again.problems).toEqual([]);
  expect(again.truncated[basename(log.chain)]?.records).toBe(recordsOf(log.chain)[0]?.seq);
});
