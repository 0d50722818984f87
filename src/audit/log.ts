import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { type HeldChain, holdChain } from "./chain.ts";
import { segmentName } from "./files.ts";
import { openHead } from "./head.ts";
import type { Position } from "./line.ts";
import { checkpointText, originOf } from "./proof/checkpoint.ts";
import { Checkpoints } from "./proof/checkpoints.ts";
import { regrowTree } from "./proof/regrow.ts";
import type { Remembered, Signer } from "./proof/signer.ts";
import { EMPTY_TREE, rootOf } from "./proof/tree.ts";
import type { AuditWriter, RecordBody } from "./record.ts";
import { type Recovered, recoverChain, type Torn } from "./recovery.ts";
import { createRedactor, type Redaction } from "./redact-body.ts";
import { Segment } from "./segment.ts";
import { vouchedBy } from "./truncate/vouched.ts";
import { ChainWriter, unwritable } from "./writer.ts";

/** A segment that has reached this size is followed by another; a start reads one of them. */
const SEGMENT_BYTES = 8 * 1024 * 1024;

export interface AuditLogOptions extends Redaction {
  /** The audit directory; made when missing. */
  readonly directory: string;
  /** Id of this gateway process, written into each record. */
  readonly gateway: string;
  /** Told what an earlier gateway's death had left, after it was repaired and recorded. */
  readonly onRecovered?: (recovery: Recovery) => void;
  /** In place of 8 MiB. */
  readonly segmentBytes?: number;
  /** Signs checkpoints. Without it, none are written. */
  readonly signer?: Signer;
  /** In place of a minute, after which a record has a checkpoint; ms. */
  readonly checkpointMs?: number;
}

export interface Recovery {
  readonly chain: string;
  /** Half a record at the end of the log, moved aside. */
  readonly torn?: Torn;
  /** Calls that now have an outcome `interrupted`. */
  readonly interrupted: readonly string[];
}

/**
 * The log as this process writes it: one chain, which no other process writes meanwhile. Disposing waits for what was
 * appended; afterwards an append rejects with SHUTTING_DOWN.
 */
export interface AuditLog extends AuditWriter, AsyncDisposable {
  readonly chain: string;
  /**
   * As `append`; resolves when a checkpoint covers the record as well, on disk and remembered apart from the log.
   * @throws also GatewayError INTERNAL when nothing signs the log
   */
  appendSigned(body: RecordBody): Promise<void>;
}

/**
 * Opens a chain for this process, having repaired and recorded what a crash left in it.
 * @throws GatewayError AUDIT_UNWRITABLE; AUDIT_CORRUPT when the chain is damaged in a way that no crash explains, or is not the one that was signed
 */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  try {
    return await open(options);
  } catch (error) {
    throw unwritable(error);
  }
}

async function open(options: AuditLogOptions): Promise<AuditLog> {
  return await continueChain(options, await holdChain(options.directory));
}

/**
 * The same for a chain that the caller holds; it is let go of with the log, and when that can't be opened.
 * @throws GatewayError as `openAuditLog`
 */
export async function openHeldLog(options: AuditLogOptions, chain: HeldChain): Promise<AuditLog> {
  try {
    return await continueChain(options, chain);
  } catch (error) {
    throw unwritable(error);
  }
}

async function continueChain(options: AuditLogOptions, held: HeldChain): Promise<AuditLog> {
  const { gateway, onRecovered, segmentBytes = SEGMENT_BYTES } = options;
  await using stack = new AsyncDisposableStack();
  const chain = stack.use(held);
  await options.signer?.confirm();
  const found = await recoverChain(chain.directory, chain.id);
  const checkpoints = await openCheckpoints(options, chain, found);
  const head = stack.use(await openHead(chain.directory));
  const path = join(chain.directory, segmentName(found.segment));
  const segment = await (found.end ? Segment.open(path, found.end) : Segment.create(path));
  const redactor = createRedactor(options);
  const writer = stack.use(
    new ChainWriter({
      chain,
      gateway,
      redactor,
      segmentBytes,
      found,
      head,
      segment,
      ...(checkpoints && { checkpoints }),
    }),
  );
  // As late as this: an opening that fails before it leaves the chain closed.
  await checkpoints?.begin();
  const { torn, openCalls } = found;
  await writer.recordRecovery(torn, openCalls);
  if (torn || openCalls.size > 0) {
    onRecovered?.({ chain: chain.id, interrupted: [...openCalls.keys()], ...(torn ? { torn } : {}) });
  }
  const resources = stack.move();
  let closing: Promise<void> | undefined;
  return {
    chain: chain.id,
    append: (body) => writer.append(body),
    appendSigned: (body) => writer.appendSigned(body),
    [Symbol.asyncDispose]: () => (closing ??= resources.disposeAsync()),
  } satisfies AuditLog;
}

/** @throws GatewayError AUDIT_CORRUPT when the chain contradicts what was signed of it */
async function openCheckpoints(
  { signer, checkpointMs }: AuditLogOptions,
  { directory, id: chain }: HeldChain,
  { segment, position }: Recovered,
): Promise<Checkpoints | undefined> {
  if (!signer) return undefined;
  const signed = await signer.lastSigned(chain);
  const tree = await regrowTree({
    ...{ directory, chain, segment, position },
    vouched: signed && vouchedBy(signer, signed),
  });
  if (signed?.closedAt !== undefined && signed.closedAt !== position.hash) throw addedTo(chain, signed, position);
  // The record behind those that a checkpoint covers is the checkpoint; where there is none, its writer died between signing and writing.
  const behind = tree.size - (signed?.size ?? 0);
  const uncovered = signed && signed.size > 0 && behind > 0 ? behind - 1 : tree.size;
  return new Checkpoints({
    signer,
    chain,
    tree,
    uncovered,
    note: signed?.note ?? signer.sign(nothingSigned(signer, chain)),
    ...(checkpointMs !== undefined && { everyMs: checkpointMs }),
  });
}

function addedTo(chain: string, { size }: Remembered, { seq }: Position): GatewayError {
  return new GatewayError(
    "AUDIT_CORRUPT",
    `the audit log does not verify: ${chain}: it was closed behind a checkpoint of ${size} records, and ends with another record ${seq} now, which no ` +
      "gateway has written; put `keys` and `audit` back from one backup, or move the chain's directory out of the audit directory and keep it",
  );
}

function nothingSigned({ key }: Signer, chain: string): string {
  return checkpointText({ origin: originOf(key.name, chain), size: 0, root: rootOf(EMPTY_TREE) });
}
