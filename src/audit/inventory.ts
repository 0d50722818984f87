import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { type Admission, readAdmission } from "./admitted.ts";
import type { AuditRecord } from "./record.ts";
import { verifyLog } from "./verify.ts";

/** Which packages are asked for: those of one session, or of all; from a moment on, or from the beginning. */
export interface InventoryOptions {
  readonly session?: string;
  /** Milliseconds since 1970. */
  readonly sinceMs?: number;
}

/** A package, and all that the log has of how it entered. */
export interface Package {
  /** Of its files each once, by name and content; in the order in which they entered first. */
  readonly files: ReadonlyMap<string, Admission>;
  /** The record of the file that entered last. */
  readonly latest: Admission;
  /** Whether an `installPackage` call ever asked for it by name. */
  readonly requested: boolean;
  readonly sessions: ReadonlySet<string>;
  readonly policies: ReadonlySet<string>;
}

export type Head = Pick<AuditRecord, "chain" | "seq" | "hash" | "time">;

/** What entered sandboxes, as far as the log is verified: up to its heads. */
export interface Inventory {
  /** By purl. */
  readonly packages: ReadonlyMap<string, Package>;
  /** The last record of each chain. */
  readonly heads: readonly Head[];
}

/** Sessions that an error names. */
const MAX_NAMED = 20;

/**
 * Reads what entered sandboxes out of the very bytes that are verified on the way. Memory grows with packages, not with the log.
 * @throws GatewayError AUDIT_CORRUPT when the log does not verify; INVALID_ARGUMENTS for a session that it does not know
 * @throws the file system's error when something can't be read
 */
export async function takeInventory(directory: string, { session, sinceMs }: InventoryOptions): Promise<Inventory> {
  const packages = new Map<string, Draft>();
  const heads = new Map<string, Head>();
  const withPackages = new Set<string>();
  let known = session === undefined;
  const onRecord = (record: AuditRecord) => {
    const { chain, seq, hash, time, body } = record;
    heads.set(chain, { chain, seq, hash, time });
    known ||= body.kind === "event" && body.sessionId === session;
    const admission = readAdmission(record);
    if (!admission) return;
    withPackages.add(admission.sessionId);
    if (session !== undefined && admission.sessionId !== session) return;
    if (sinceMs === undefined || Date.parse(time) >= sinceMs) enter(packages, admission);
  };
  const { problems, problemCount } = await verifyLog(directory, { onRecord });
  const [problem] = problems;
  if (problem) {
    const place = [problem.chain, problem.file].filter((it) => it !== "").join("/");
    const where = `${printable(place, 200)}${problem.line === 0 ? "" : `:${problem.line}`}`;
    const more = problemCount === 1 ? "" : `, and ${problemCount - 1} more`;
    throw new GatewayError("AUDIT_CORRUPT", `the audit log does not verify: ${where}: ${problem.message}${more}`);
  }
  if (!known) throw unknownSession(session ?? "", [...withPackages]);
  return { packages, heads: [...heads.values()] };
}

interface Draft {
  readonly files: Map<string, Admission>;
  latest: Admission;
  requested: boolean;
  readonly sessions: Set<string>;
  readonly policies: Set<string>;
}

function enter(packages: Map<string, Draft>, admission: Admission): void {
  const { purl, file, sha256, requested, sessionId, policies } = admission;
  let draft = packages.get(purl);
  if (!draft) {
    draft = { files: new Map(), latest: admission, requested, sessions: new Set(), policies: new Set() };
    packages.set(purl, draft);
  }
  const content = `${file}\0${sha256}`;
  if (!draft.files.has(content)) draft.files.set(content, admission);
  draft.latest = admission;
  draft.requested ||= requested;
  draft.sessions.add(sessionId);
  for (const it of policies) draft.policies.add(it);
}

function unknownSession(session: string, withPackages: readonly string[]): GatewayError {
  const named = withPackages.slice(-MAX_NAMED).map((it) => printable(it, 60));
  const more = withPackages.length > named.length ? ` and ${withPackages.length - named.length} older ones` : "";
  const others = named.length === 0 ? "no session has packages" : `packages entered ${named.join(", ")}${more}`;
  return new GatewayError("INVALID_ARGUMENTS", `the log has no session \`${printable(session, 100)}\`; ${others}`);
}
