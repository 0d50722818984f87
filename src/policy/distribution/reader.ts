import { realpath } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { GatewayError } from "../../errors.ts";
import { problemText } from "../bundle.ts";
import { type BundleFiles, digestOf, type Examine, type ReadFolder, readBundleFiles } from "../read-files.ts";
import type { GitPorts } from "./git.ts";
import { type BundleSource, sourceText } from "./source.ts";

/** A folder in which nothing has changed for so long is not being written. */
const QUIET_MS = 250;
const MAX_LOOKS = 40;

/**
 * The files that a source has now; the same object as the last time when it knows that they are the same.
 * @throws GatewayError POLICY_FETCH_FAILED, POLICY_UNREADABLE, POLICY_INVALID; the signal's reason when aborted
 */
export type ReadSource = (signal: AbortSignal) => Promise<BundleFiles>;

/**
 * Remembers what a source gave, so that it is asked for it only when it has something else. What only remote sources need is loaded for
 * them: most gateways have none, and clients wait for the start.
 */
export function openSource(source: BundleSource, ports: GitPorts): ReadSource {
  let known: { readonly mark: string; readonly files: BundleFiles } | undefined;
  if ("directory" in source) {
    return async (signal) => {
      const files = await settledFolder(source.directory, signal);
      const mark = digestOf(files);
      if (known?.mark !== mark) known = { mark, files };
      return known.files;
    };
  }
  if ("git" in source) {
    return async (signal) => {
      const { currentCommit, filesInGit } = await import("./git.ts");
      const mark = await currentCommit(source, ports, signal);
      if (known?.mark !== mark) known = { mark, files: await filesInGit(source, ports, signal) };
      return known.files;
    };
  }
  return async (signal) => {
    const [{ download }, { filesInArchive }] = await Promise.all([import("./https.ts"), import("./archive.ts")]);
    const answer = await download(source.url, known?.mark, ports, signal);
    if (!answer && known) return known.files;
    if (!answer) throw new GatewayError("POLICY_FETCH_FAILED", `\`${sourceText(source)}\` gave nothing`);
    const files = await filesInArchive(answer.body);
    known = answer.etag === undefined ? undefined : { mark: answer.etag, files };
    return files;
  };
}

/**
 * Half of what somebody is writing is never taken: a folder is read twice until both are the same, and it has to have been quiet for a
 * while: by the file system's own times of change, which no copying program sets back, or as we saw it (clocks differ, and jump).
 * @throws GatewayError POLICY_FETCH_FAILED, POLICY_UNREADABLE, POLICY_INVALID; what `examine` throws; the signal's reason when aborted
 */
export async function settledFolder(directory: string, signal: AbortSignal, examine?: Examine): Promise<BundleFiles> {
  let before: ReadFolder | GatewayError | undefined;
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    const first = await readFolder(directory, examine);
    // Before it is read: whatever is changed from here on has a later time.
    const startedMs = Date.now();
    const second = await readFolder(directory, examine);
    const isAsBefore = before !== undefined && same(before, second);
    const isQuiet = isAsBefore || (!(second instanceof GatewayError) && startedMs - second.changedMs >= QUIET_MS);
    if (isQuiet && same(first, second)) return requireFit(second, directory);
    before = second;
    await sleep(QUIET_MS, undefined, { signal });
  }
  throw new GatewayError("POLICY_FETCH_FAILED", `\`${directory}\` is being changed all the time`);
}

/** A folder that is not there may be one that is just being replaced. */
async function readFolder(directory: string, examine?: Examine): Promise<ReadFolder | GatewayError> {
  try {
    return await readBundleFiles(await realpath(directory), examine);
  } catch (cause) {
    if (!(cause instanceof Error && "syscall" in cause)) throw cause;
    return new GatewayError("POLICY_UNREADABLE", `cannot read the bundle \`${directory}\`: ${cause.message}`, {
      cause,
    });
  }
}

function same(one: ReadFolder | GatewayError, other: ReadFolder | GatewayError): boolean {
  const text = (it: ReadFolder | GatewayError) =>
    it instanceof GatewayError ? it.message : JSON.stringify([digestOf(it.files), it.changedMs, it.problems]);
  return text(one) === text(other);
}

/** @throws GatewayError POLICY_INVALID, POLICY_UNREADABLE */
function requireFit(read: ReadFolder | GatewayError, directory: string): BundleFiles {
  if (read instanceof GatewayError) throw read;
  if (read.problems.length === 0) return read.files;
  const lines = read.problems.map((it) => `  ${problemText(it)}`).join("\n");
  throw new GatewayError("POLICY_INVALID", `the bundle \`${directory}\` is not valid:\n${lines}`);
}
