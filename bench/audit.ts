import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bodyText } from "../src/audit/body.ts";
import { GENESIS_HASH, sealLine } from "../src/audit/line.ts";
import { openAuditLog } from "../src/audit/log.ts";
import type { IntentBody } from "../src/audit/record.ts";
import { newId } from "../src/lib/id.ts";
import { type Row, row } from "./row.ts";

const SECONDS = 2;

/**
 * Records a second that writers get acknowledged, each beside the bare minimum measured right before it: the same bytes appended
 * and fdatasynced, one by one, on the same disk.
 */
export async function benchAudit(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-audit-"));
  try {
    const rows: Row[] = [];
    for (const writers of [1, 16, 64]) {
      const bare = await bareAppends(join(directory, "bare"));
      await using log = await openAuditLog({ directory: join(directory, `w${writers}`), gateway: "gw-bench" });
      const rate = await perSecond(writers, () => log.append(record()));
      rows.push(
        row(`audit records, ${writers} writers`, [rate], "records/s", "append + fdatasync, one by one", [bare]),
      );
    }
    return rows;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export async function bareAppends(path: string): Promise<number> {
  const envelope = { chain: newId("chain"), gateway: "gw-bench", time: new Date().toISOString() };
  const line = Buffer.from(sealLine(envelope, { seq: 0, hash: GENESIS_HASH }, bodyText(record())).line);
  await using file = await open(path, "a");
  return await perSecond(1, async () => {
    await file.appendFile(line);
    await file.datasync();
  });
}

async function perSecond(writers: number, append: () => Promise<void>): Promise<number> {
  const end = performance.now() + SECONDS * 1000;
  let count = 0;
  const write = async () => {
    while (performance.now() < end) {
      await append();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  return count / SECONDS;
}

export function record(): IntentBody {
  return {
    kind: "intent",
    callId: "call-0mwplkhc8c2b36263ab4f8dbd",
    principal: { id: "local:bench", client: { name: "bench", version: "1" }, transport: "stdio" },
    tool: "exec",
    arguments: { argv: ["python3", "main.py"], cwd: "/workspace", env: [], background: false },
    sessionId: "ses-0mwplkhc8c2b36263ab4f8dbd",
    decision: "permit",
    policies: [{ id: "sandbox.cedar#run", effect: "permit" }],
    problems: [],
    bundle: { name: "default", version: "1.0.0", digest: `sha256:${"0".repeat(64)}` },
  };
}
