import { basename } from "node:path";
import { applyRetention, type ChainRetention, type RetentionOptions } from "../../src/audit/truncate/retention.ts";
import { type SignedLog, writeCalls } from "./audit-signed.ts";

export type Truncating = Partial<Pick<RetentionOptions, "beforeMs" | "isShipped" | "own" | "isTrial" | "why" | "by">>;

/** Everything is old, unless `beforeMs` says otherwise, and nobody has to confirm anything. */
export async function truncate(
  { directory, signer }: Pick<SignedLog, "directory" | "signer">,
  options: Truncating = {},
): Promise<ChainRetention[]> {
  return await Array.fromAsync(
    applyRetention({
      auditDirectory: directory,
      beforeMs: Date.now() + 60_000,
      isShipped: () => true,
      signer,
      gateway: "gw-truncate",
      why: "person",
      ...options,
    }),
  );
}

/** Removes what is old of the log's only chain, which has to have something; and more calls behind it. */
export async function truncated(log: SignedLog & { readonly chain: string }, calls = 0): Promise<ChainRetention> {
  const [result, ...others] = await truncate(log);
  if (!result?.removed || others.length > 0) throw new Error(`not truncated: ${JSON.stringify([result, ...others])}`);
  if (result.chain !== basename(log.chain)) throw new Error("another chain");
  if (calls > 0) await writeCalls(log, calls, `gw-after-${Math.random().toString(36).slice(2)}`);
  return result;
}
