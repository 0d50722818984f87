import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bodyText } from "../src/audit/body.ts";
import { openDigestKey } from "../src/audit/digest-key.ts";
import { GENESIS_HASH, sealLine } from "../src/audit/line.ts";
import { openAuditLog } from "../src/audit/log.ts";
import { openSigner } from "../src/audit/proof/signer.ts";
import type { IntentBody } from "../src/audit/record.ts";
import { verifyLog } from "../src/audit/verify.ts";
import { GatewayError } from "../src/errors.ts";
import { newId } from "../src/lib/id.ts";
import { type Row, row } from "./row.ts";

const SECONDS = 2;
const ROUNDS = 3;

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
    rows.push(
      await redactingWriters(directory),
      await signedWriters(directory),
      ...(await verification(join(directory, "w64"), join(directory, "signed"))),
    );
    return rows;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Writers whose policy names fields and whose digests are keyed, and such without, in turns. */
async function redactingWriters(directory: string): Promise<Row> {
  const names = ["customerId", "customer-name", "exec.cwd"];
  const key = await openDigestKey(join(directory, "digests", "redaction.key"));
  const body = { ...record(), arguments: { ...argumentsOf(), stdin: { bytes: 7, sha256: "0".repeat(64) } } };
  const ruled: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [rates, options] of [
      [plain, {}],
      [ruled, { key, fields: () => names }],
    ] as const) {
      const place = join(directory, rates === ruled ? "ruled" : "plain");
      await using log = await openAuditLog({ directory: place, gateway: "gw-bench", ...options });
      rates.push(await perSecond(64, () => log.append(body)));
    }
  }
  return row("audit records, 64 writers, fields named by policy", ruled, "records/s", "none named", plain);
}

/** Writers with and without a key, in turns, so that what else the machine does hits both. */
async function signedWriters(directory: string): Promise<Row> {
  const signer = await openSigner(join(directory, "keys", "audit.key"), "bench");
  const signed: number[] = [];
  const unsigned: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [rates, options] of [
      [unsigned, {}],
      [signed, { signer }],
    ] as const) {
      const place = join(directory, rates === signed ? "signed" : "unsigned");
      await using log = await openAuditLog({ directory: place, gateway: "gw-bench", ...options });
      rates.push(await perSecond(64, () => log.append(record())));
    }
  }
  return row("audit records, 64 writers, signed", signed, "records/s", "not signed", unsigned);
}

async function verification(unsigned: string, signed: string): Promise<Row[]> {
  const { key } = await openSigner(join(signed, "..", "keys", "audit.key"));
  const keys = [{ verifier: key, gateway: "bench" }];
  const speed = async (path: string, options: Parameters<typeof verifyLog>[1]) => {
    const startedMs = performance.now();
    const { records, problemCount } = await verifyLog(path, options);
    if (problemCount > 0) throw new GatewayError("INTERNAL", "what was written does not verify");
    return records / ((performance.now() - startedMs) / 1000);
  };
  const [bare, roots, signatures]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS; round++) {
    bare.push(await speed(unsigned, {}));
    roots.push(await speed(signed, {}));
    signatures.push(await speed(signed, { keys }));
  }
  return [
    row("audit verify, signed log", roots, "records/s", "log without checkpoints", bare),
    row("audit verify --keys", signatures, "records/s", "log without checkpoints", bare),
  ];
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
    arguments: argumentsOf(),
    sessionId: "ses-0mwplkhc8c2b36263ab4f8dbd",
    decision: "permit",
    policies: [{ id: "sandbox.cedar#run", effect: "permit" }],
    problems: [],
    bundle: { name: "default", version: "1.0.0", digest: `sha256:${"0".repeat(64)}` },
  };
}

function argumentsOf() {
  return { argv: ["python3", "main.py"], cwd: "/workspace", env: [], background: false };
}
