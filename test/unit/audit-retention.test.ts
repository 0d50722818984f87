import { spawnSync } from "node:child_process";
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { isClockSettled } from "../../src/audit/truncate/clock.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { keepToRetention, type LogRetentionPorts } from "../../src/log-retention.ts";
import { onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { makeSignedLog, type SignedLog, signedPlace } from "../support/audit-signed.ts";
import { eventually } from "../support/eventually.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const DAY_MS = 86_400_000;
const NOW_MS = Date.parse("2026-11-21T12:00:00Z");

/** The clock alone stands still: what waits, waits. */
function setClock(atMs: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: atMs });
  onTestFinished(() => {
    vi.useRealTimers();
  });
}

/** A gateway's life, some records on each of these days before now; each day fills a segment or more. */
async function writeDays({ directory, signer }: SignedLog, days: readonly number[]): Promise<void> {
  for (const day of days) {
    setClock(NOW_MS - day * DAY_MS);
    await using log = await openAuditLog({ directory, gateway: `gw-${day}`, signer, segmentBytes: 2_000 });
    for (let n = 0; n < 8; n++) await log.append(event({ day, text: "x".repeat(200) }));
  }
  setClock(NOW_MS);
}

/** A gateway that only keeps to its retention, until it has said so. */
async function keep(place: SignedLog, recordDays: number | undefined, sinks: readonly string[], message?: string) {
  const { directory, signer, data } = place;
  const said: string[] = [];
  const say = (_: object, it: string) => void said.push(it);
  await using audit = await openAuditLog({ directory, gateway: "gw-now", signer, segmentBytes: 2_000 });
  const ports = {
    ...{ audit, signer, gateway: "gw-now", sinks, hide: (it: string) => it, firstMs: 0 },
    config: { auditDirectory: directory, dataDirectory: data },
    policy: { current: { profile: { audit: { retention: { recordDays } } } } },
    log: { info: say, warn: say },
  } as unknown as LogRetentionPorts;
  await audit.append(event({ now: true }));
  await using _ = keepToRetention(ports);
  if (message !== undefined) await eventually(() => expect(said).toEqual([message]));
}

test("a gateway removes what is older than the policy says, from its own chain, soon after it has started", async () => {
  const place = await signedPlace();
  await writeDays(place, [500, 450, 401, 300, 10]);
  await keep(place, 400, [], "old records of the audit log were removed");
  const [oldest] = recordsOf(onlyChain(place.directory));
  expect(Date.parse(oldest?.time ?? "")).toBeGreaterThan(NOW_MS - 402 * DAY_MS);
  expect(Date.parse(oldest?.time ?? "")).toBeLessThan(NOW_MS - 299 * DAY_MS);
  expect(await verifyLog(place.directory, { keys: place.keys })).toMatchObject({ problems: [] });
});

test("nothing goes without a rule, before a receiver has it, or when the clock may be wrong", async () => {
  const place = await signedPlace();
  await writeDays(place, [500, 450, 300, 10]);
  const before = segments(onlyChain(place.directory)).length;
  for (const [recordDays, sinks, message] of [
    [undefined, [], undefined],
    [400, ["central"], "old records are kept: a receiver has not confirmed them"],
  ] as const) {
    await keep(place, recordDays, sinks, message);
  }
  setClock(Date.parse("2040-01-01T00:00:00Z"));
  await keep(place, 400, [], "no old records are removed: the log has none by which to tell that the clock is right");
  // Also after the gateway has written by that clock.
  await keep(place, 400, [], "no old records are removed: the log has none by which to tell that the clock is right");
  expect(segments(onlyChain(place.directory)).length).toBeGreaterThanOrEqual(before);
  expect(recordsOf(onlyChain(place.directory))[0]?.seq).toBe(0);
});

test("a chain that little is written to has a segment for each month, so that what is old can go", async () => {
  const place = await signedPlace();
  const { directory, signer } = place;
  for (const day of [500, 480, 460, 440, 100, 10]) {
    setClock(NOW_MS - day * DAY_MS);
    await using log = await openAuditLog({ directory, gateway: `gw-${day}`, signer });
    await log.append(event({ day }));
  }
  setClock(NOW_MS);
  expect(segments(onlyChain(directory))).toHaveLength(4);
  await keep(place, 400, [], "old records of the audit log were removed");
  const [oldest] = recordsOf(onlyChain(directory));
  expect(Date.parse(oldest?.time ?? "")).toBe(NOW_MS - 100 * DAY_MS);
  expect(await verifyLog(directory, { keys: place.keys })).toMatchObject({ problems: [] });
});

test("a clock is believed when something was recorded by it some time ago, and not too long ago", async () => {
  const place = await signedPlace();
  await writeDays(place, [100, 20, 0]);
  const settled = (atMs: number, keptDays: number) => isClockSettled(place.directory, atMs, keptDays * DAY_MS);
  expect(await settled(NOW_MS, 400)).toBe(true);
  // Kept for a day, half a day ago would do, and 20 days ago does not.
  expect(await settled(NOW_MS, 1)).toBe(false);
  expect(await settled(NOW_MS + 0.6 * DAY_MS, 1)).toBe(true);
  expect(await settled(NOW_MS + 8 * DAY_MS, 400)).toBe(true);
  expect(await settled(NOW_MS + 40 * DAY_MS, 400)).toBe(false);
  expect(await settled(NOW_MS + 5_000 * DAY_MS, 400)).toBe(false);
  expect(await isClockSettled(scratch(), NOW_MS, 400 * DAY_MS)).toBe(false);
});

function audit(data: string, ...args: string[]) {
  const config = join(data, "glovebox.yaml");
  return spawnSync(process.execPath, [ENTRY, "audit", ...args, "--data-dir", data], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", GLOVEBOX_CONFIG: config, XDG_CONFIG_HOME: join(data, "none") },
  });
}

test("at the command line: what would go, what goes, and what verification says then", async () => {
  const log = await makeSignedLog(10);
  const chain = basename(log.chain);
  writeFileSync(join(log.data, "glovebox.yaml"), "{}\n");
  const trial = audit(log.data, "truncate", "--before", "2100-01-01", "--dry-run", "--json");
  expect([trial.status, trial.stderr]).toEqual([0, ""]);
  const before = segments(log.chain);
  expect(JSON.parse(trial.stdout)).toMatchObject({
    dryRun: true,
    chains: [{ chain, removed: { segments: [1, before.length - 1] } }],
  });
  expect(segments(log.chain)).toEqual(before);
  // What a store in PostgreSQL has not got stays: it takes no chain with a gap.
  const store = "{name: central, type: postgres, host: localhost, database: audit, user: gateway1, schema: glovebox}";
  writeFileSync(join(log.data, "glovebox.yaml"), `logging: {sinks: [${store}]}\n`);
  const waiting = audit(log.data, "truncate", "--before", "2100-01-01", "--unshipped");
  expect(waiting.stdout).toContain("the oldest segment is not confirmed by `central`: see");
  writeFileSync(join(log.data, "glovebox.yaml"), "{}\n");
  // Nor does a trial make a key where there is none.
  renameSync(join(log.data, "keys"), join(log.data, "kept"));
  const keyless = audit(log.data, "truncate", "--before", "2100-01-01", "--dry-run");
  expect([keyless.status, keyless.stdout]).toEqual([0, expect.stringContaining("it was not signed")]);
  expect(existsSync(join(log.data, "keys"))).toBe(false);
  renameSync(join(log.data, "kept"), join(log.data, "keys"));
  expect(audit(log.data, "truncate", "--before", "400d").stdout).toContain("no segment has only older records");
  const done = audit(log.data, "truncate", "--before", "2100-01-01");
  expect([done.status, done.stderr]).toEqual([0, ""]);
  expect(done.stdout).toMatch(new RegExp(`^${chain}: removed ${before.length - 1} segments, \\d+ records, \\d+ bytes`));
  const verified = audit(log.data, "verify");
  expect([verified.status, verified.stdout]).toEqual([0, expect.stringContaining("were removed by rule")]);
  expect(verified.stdout).toContain(`${chain}: `);
  expect(audit(log.data, "truncate", "--before", "soon")).toMatchObject({ status: 1 });
});
