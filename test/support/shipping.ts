import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { readChain } from "../../src/audit/read.ts";
import type { Json } from "../../src/audit/record.ts";
import { statusOf } from "../../src/audit/ship/status.ts";
import { sinkSchema } from "../../src/audit/sinks/settings.ts";
import type { SinkPorts } from "../../src/audit/sinks/sink.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { readAsItAges } from "../../src/egress/secret-value.ts";
import { chains } from "./audit.ts";
import { event } from "./audit-bodies.ts";

/** A data directory of a test's own, with the folder of one sink. */
export interface TestData {
  readonly dataDirectory: string;
  readonly auditDirectory: string;
  readonly sinkDirectory: string;
}

export function testData(sink = "central"): TestData {
  const dataDirectory = mkdtempSync(join(tmpdir(), "glovebox-ship-"));
  onTestFinished(() => rmSync(dataDirectory, { recursive: true, force: true, maxRetries: 5 }));
  return {
    dataDirectory,
    auditDirectory: join(dataDirectory, "audit"),
    sinkDirectory: join(dataDirectory, "sinks", sink),
  };
}

/** A gateway that writes some records, and is gone. Those that are open at the same time write chains of their own. */
export async function writeRecords(
  auditDirectory: string,
  count: number,
  facts: Json = { exitCode: 0 },
): Promise<string> {
  await using log = await openAuditLog({ directory: auditDirectory, gateway: "gw-test", segmentBytes: 100_000 });
  for (let done = 0; done < count; done += 1_000) {
    const some = Array.from({ length: Math.min(1_000, count - done) }, () => log.append(event(facts)));
    await Promise.all(some);
  }
  return log.chain;
}

/** What the log holds, in the order of each chain. */
export async function logged(auditDirectory: string): Promise<{ id: string; hash: string }[]> {
  const all: { id: string; hash: string }[] = [];
  for (const chain of chains(auditDirectory)) {
    for await (const { record } of readChain(join(auditDirectory, chain), () => true)) {
      all.push({ id: `${record.chain}/${record.seq}`, hash: record.hash });
    }
  }
  return all;
}

/** In the order in which they arrived, chain by chain. */
export function byChain<T extends { readonly id: string }>(records: readonly T[]): T[] {
  const chainOf = ({ id }: T) => id.slice(0, id.lastIndexOf("/"));
  return records.toSorted((a, b) => (chainOf(a) < chainOf(b) ? -1 : chainOf(a) > chainOf(b) ? 1 : 0));
}

export async function until<T>(get: () => Promise<T> | T, is: (it: T) => boolean): Promise<T> {
  for (;;) {
    const it = await get();
    if (is(it)) return it;
    await sleep(20);
  }
}

export function testPorts(authorities: readonly string[], signal: AbortSignal): SinkPorts {
  const known = createKnownSecrets();
  return {
    authorities: async () => authorities,
    secret: (name, source) => readAsItAges(name, source, signal, known.add),
    hide: known.hide,
    version: "0.0.0",
  };
}

export const central = (data: TestData) => statusOf("central", { ...data, directory: data.sinkDirectory });

/** A process that ships, as `test/support/shipper.ts` does it. */
export async function spawnShipper(data: TestData, settings: object, authorities: readonly string[]) {
  sinkSchema.parse(settings);
  const file = join(data.dataDirectory, "shipper.json");
  writeFileSync(file, JSON.stringify({ ...data, settings, authorities }));
  const path = join(import.meta.dirname, "shipper.ts");
  const child = spawn(process.execPath, ["--max-old-space-size=256", path, file], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return {
    child,
    /** What it says next. */
    line: async () => String((await lines.next()).value),
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
    /** Closes it as a gateway is closed. */
    close: async () => {
      child.stdin.end();
      await ended;
    },
  };
}
