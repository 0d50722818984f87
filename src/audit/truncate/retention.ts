import { join } from "node:path";
import { messageOf } from "../../lib/error.ts";
import { type HeldChain, holdThis, isHeld } from "../chain.ts";
import { timeAt } from "../extent.ts";
import { listChains, listSegments, segmentName } from "../files.ts";
import { type AuditLog, openHeldLog } from "../log.ts";
import type { Signer } from "../proof/signer.ts";
import type { Hide } from "../redact-text.ts";
import { type Kept, type Plan, planTruncation } from "./plan.ts";
import type { SealFacts } from "./seal.ts";
import type { IsShipped } from "./shipped.ts";
import { findUnfinished, finishTruncation, truncateChain } from "./truncate.ts";
import { type Vouched, vouchedBy } from "./vouched.ts";

export interface RetentionOptions {
  readonly auditDirectory: string;
  /** What is older goes; milliseconds since 1970. Undefined: only what was begun is finished. */
  readonly beforeMs: number | undefined;
  readonly isShipped: IsShipped;
  readonly signer: Signer;
  /** Id of this process, as records name it. */
  readonly gateway: string;
  readonly hide?: Hide;
  /** The chain that this process writes already. */
  readonly own?: AuditLog;
  readonly why: SealFacts["why"];
  readonly by?: string;
  /** Says what would go, and changes nothing. */
  readonly isTrial?: boolean;
  readonly pause?: (tookMs: number) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** What became of one chain. */
export interface ChainRetention {
  readonly chain: string;
  readonly removed?: Plan;
  /** Segments that an earlier removal had left, when it was cut short. */
  readonly finished?: number;
  /** Why nothing more was removed. `held`: another gateway writes it. */
  readonly kept?: Kept | "held";
  readonly problem?: string;
}

/**
 * Removes what is old from every chain that this process writes or that nobody does, one after the other. One that can't be truncated holds up no other.
 * @throws the file system's error when the audit directory can't be read; the signal's reason
 */
export async function* applyRetention(options: RetentionOptions): AsyncGenerator<ChainRetention> {
  const { auditDirectory, signal } = options;
  for (const chain of await listChains(auditDirectory)) {
    signal?.throwIfAborted();
    try {
      yield { chain, ...(options.isTrial ? await lookAt(options, chain) : await treat(options, chain)) };
    } catch (error) {
      signal?.throwIfAborted();
      yield { chain, problem: messageOf(error) };
    }
  }
}

type Result = Omit<ChainRetention, "chain">;

type Looked = Plan | { readonly kept: Kept };

async function planOf(options: RetentionOptions, chain: string, vouched: Vouched): Promise<Looked> {
  const { auditDirectory, beforeMs, isShipped, pause } = options;
  if (beforeMs === undefined) return { kept: "young" };
  return await planTruncation({
    directory: join(auditDirectory, chain),
    ...{ chain, beforeMs, vouched },
    isShipped: (segment) => isShipped(chain, segment),
    ...(pause && { pause }),
  });
}

async function lookAt(options: RetentionOptions, chain: string): Promise<Result> {
  if (options.own?.chain !== chain && isHeld(join(options.auditDirectory, chain))) return { kept: "held" };
  const vouched = await vouchedOf(options, chain);
  if (!vouched) return { kept: "unsigned" };
  const plan = await planOf(options, chain, vouched);
  return "kept" in plan ? plan : { removed: plan };
}

async function vouchedOf({ signer }: RetentionOptions, chain: string): Promise<Vouched | undefined> {
  const signed = await signer.lastSigned(chain);
  return signed && vouchedBy(signer, signed);
}

async function treat(options: RetentionOptions, chain: string): Promise<Result> {
  const { auditDirectory, beforeMs, signer, own } = options;
  const directory = join(auditDirectory, chain);
  const isOwn = own?.chain === chain;
  // Chains that have nothing to remove are not even held: a gateway that starts would have to begin another.
  const before = await vouchedOf(options, chain);
  const hasMore = before && (await findUnfinished(directory, before)) !== undefined;
  const kept = hasMore ? undefined : await whyKept(directory, beforeMs);
  if (kept) return { kept };
  await using stack = new AsyncDisposableStack();
  const held = isOwn ? undefined : holdThis(auditDirectory, chain);
  if (!held && !isOwn) return { kept: "held" };
  if (held) {
    stack.use(held);
    await signer.confirm();
  }
  const vouched = await vouchedOf(options, chain);
  if (!vouched) return { kept: "unsigned" };
  const unfinished = await findUnfinished(directory, vouched);
  const isFinished = unfinished && (await finishTruncation(directory, unfinished));
  const done = isFinished ? { finished: unfinished.segments.length } : {};
  const plan = await planOf(options, chain, vouched);
  if ("kept" in plan) return { ...done, ...plan };
  const { why, by } = options;
  const how = { directory, beforeMs: beforeMs ?? 0, why, ...(by !== undefined && { by }) };
  if (!held) {
    if (own) await truncateChain(plan, { ...how, log: own });
  } else {
    // Only now that something goes: opening a log may write. The log lets go of the chain.
    stack.move();
    await using log = await openOther(options, held);
    await truncateChain(plan, { ...how, log });
  }
  return { ...done, removed: plan };
}

async function openOther(options: RetentionOptions, held: HeldChain): Promise<AuditLog> {
  const { auditDirectory: directory, gateway, signer, hide } = options;
  return await openHeldLog({ directory, gateway, signer, ...(hide && { hide }) }, held);
}

/** Why nothing can go, by a look at one record; undefined: something may. */
async function whyKept(directory: string, beforeMs: number | undefined): Promise<Kept | undefined> {
  const numbers = await listSegments(directory);
  const [first] = numbers;
  if (first === undefined || numbers.length < 2) return "one segment";
  const time = await timeAt(join(directory, segmentName(first)), 0);
  return beforeMs === undefined || (time !== undefined && Date.parse(time) >= beforeMs) ? "young" : undefined;
}
