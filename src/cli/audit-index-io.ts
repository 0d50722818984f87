import { catchUp, type Progress } from "../audit/index/catch-up.ts";
import { type AuditIndex, withIndex } from "../audit/index/open.ts";
import { printable } from "../lib/text.ts";
import { logIn, readable } from "./audit-io.ts";

export interface IndexPlaces {
  /** The audit directory below a data directory, or below the configured one. */
  readonly directory: (dataDir: string | undefined) => string;
  /** The same for the index's file. */
  readonly indexFile: (dataDir: string | undefined) => string;
}

export interface IndexOptions {
  readonly dataDir?: string;
  readonly rebuild?: boolean;
}

/** What takes longer is told of. */
const QUIET_MS = 1_000;
const MIB = 1024 * 1024;

/**
 * What `ask` finds in the index, once that has all that the log has. Progress, and whatever is wrong, is told on stderr.
 * @throws GatewayError STATE_UNWRITABLE, CONFIG_INVALID
 */
export async function askIndex<T>(
  places: IndexPlaces,
  { dataDir, rebuild = false }: IndexOptions,
  ask: (index: AuditIndex, auditDirectory: string) => T | Promise<T>,
): Promise<T> {
  const auditDirectory = await logIn(places.directory(dataDir));
  const onDiscarded = (why: string) => {
    if (!rebuild) note(`the index of the audit log is made anew: ${printable(why, 300)}`);
  };
  return await withIndex(places.indexFile(dataDir), { rebuild, onDiscarded }, async (index) => {
    const onChanged = (chain: string) =>
      note(`${printable(chain, 60)} is not what was indexed of it, and is indexed anew: run \`glovebox audit verify\``);
    const onProgress = progressNotes();
    const { damaged } = await readable(auditDirectory, catchUp(index, auditDirectory, { onProgress, onChanged }));
    tellDamage(damaged);
    return await readable(auditDirectory, (async () => ask(index, auditDirectory))());
  });
}

export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** What is answered from such a log may lack something: the exit code says so too. */
export function tellDamage(damaged: number): void {
  if (damaged === 0) return;
  process.exitCode = 1;
  const lines = damaged === 1 ? "1 line of the audit log is" : `${damaged} lines of the audit log are`;
  note(`${lines} damaged and passed over: \`glovebox audit verify\` says where`);
}

function progressNotes(): (progress: Progress) => void {
  let nextMs = performance.now() + QUIET_MS;
  return ({ records, bytes, totalBytes }) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + QUIET_MS;
    const mib = (count: number) => Math.ceil(count / MIB);
    note(`indexing: ${records} records, ${mib(bytes)} of ${mib(totalBytes)} MiB`);
  };
}
