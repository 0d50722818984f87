import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { abortable, deadline } from "../../lib/deadline.ts";
import { endGroup } from "../../lib/process-group.ts";
import { printable } from "../../lib/text.ts";
import { type BundleFiles, isBundleFile, MAX_FILE_BYTES, MAX_FILES, sorted } from "../read-files.ts";
import type { NetworkPorts } from "./https.ts";
import type { BundleSource } from "./source.ts";
import { inState } from "./store.ts";

/** For all that is asked of git for one bundle. */
const PATIENCE_MS = 60_000;
const MAX_LIST_BYTES = 1_048_576;
const MAX_CONTENT_BYTES = 16 * 1024 * 1024;
const MAX_COMPLAINT_CHARS = 1_000;
const AUTHORITIES = "authorities.pem";
/** What a server sends is one file, of at most 32 MiB (64 where the shell counts in kibibytes): nobody fills the disk with it. */
const LIMITED = 'ulimit -f 65536 && exec git "$@"';

export type GitSource = Extract<BundleSource, { git: string }>;

export interface GitPorts extends NetworkPorts {
  /** For throwaway repositories; what a process that was killed leaves there begins with `.incoming-`. */
  readonly scratchDirectory: string;
}

/** The commit that a source means at the moment, without fetching it. @throws GatewayError POLICY_FETCH_FAILED; the signal's reason when aborted */
export async function currentCommit(source: GitSource, ports: GitPorts, signal: AbortSignal): Promise<string> {
  if (source.commit !== undefined) return source.commit;
  await using git = await openGit(source, ports, signal);
  const ref = source.ref ?? "HEAD";
  const lines = (await git.run(["ls-remote", "--", source.git, ref])).toString();
  // A pattern may match several; what a fetch takes of them is told by the fetch. Any change of any is worth a look.
  if (!/^[0-9a-f]{40}\t/.test(lines)) throw failed(source, `it has no branch or tag \`${ref}\``);
  return lines;
}

/**
 * A bundle's files as a repository has them. They are read from its objects: nothing is ever checked out, and no hook, filter or
 * submodule of it runs.
 * @throws GatewayError POLICY_FETCH_FAILED; the signal's reason when aborted
 */
export async function filesInGit(source: GitSource, ports: GitPorts, signal: AbortSignal): Promise<BundleFiles> {
  await using git = await openGit(source, ports, signal);
  await git.run(["init", "--bare", "--quiet", "--template=", "."]);
  const wanted = source.commit ?? source.ref ?? "HEAD";
  await git.run(["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", source.git, wanted]);
  const commit = (await git.run(["rev-parse", "--verify", "--end-of-options", "FETCH_HEAD^{commit}"]))
    .toString()
    .trim();
  if (!/^[0-9a-f]{40}$/.test(commit) || (source.commit !== undefined && commit !== source.commit)) {
    throw failed(source, "it gave another commit than it was asked for");
  }
  const listed = await git.run(["ls-tree", "-z", "-l", "--full-tree", `${commit}:${source.path ?? ""}`]);
  const files = new Map<string, Buffer>();
  for (const { name, object, sizeBytes } of entriesOf(listed, source)) {
    const content = await git.run(["cat-file", "blob", object], MAX_FILE_BYTES);
    if (content.length !== sizeBytes) throw failed(source, `\`${name}\` has another size than its folder says`);
    files.set(name, content);
  }
  return sorted(files);
}

interface GitEntry {
  readonly name: string;
  readonly object: string;
  readonly sizeBytes: number;
}

/** Lines of `git ls-tree -l -z`: mode, type, object and size, a tab, the name. */
function entriesOf(listed: Buffer, source: GitSource): GitEntry[] {
  const lines = listed.toString().split("\0").slice(0, -1);
  if (lines.length === 0) throw failed(source, "the folder is empty");
  if (lines.length > MAX_FILES) throw failed(source, `it has more than ${MAX_FILES} files`);
  let bytes = 0;
  return lines.map((line) => {
    const [, mode, type, object, size, name] = /^(\d+) (\w+) ([0-9a-f]{40}) +(\d+|-)\t(.*)$/s.exec(line) ?? [];
    const shown = `\`${name?.slice(0, 200)}\``;
    if (name === undefined || object === undefined || !isBundleFile(name)) {
      throw failed(source, `${shown} does not belong into a bundle; \`path\` names the bundle's own folder`);
    }
    if (type !== "blob" || (mode !== "100644" && mode !== "100755"))
      throw failed(source, `${shown} is not a regular file`);
    const sizeBytes = Number(size);
    bytes += sizeBytes;
    if (sizeBytes > MAX_FILE_BYTES || bytes > MAX_CONTENT_BYTES) throw failed(source, `${shown} is too large`);
    return { name, object, sizeBytes };
  });
}

interface Git extends AsyncDisposable {
  /** What it prints, which is refused above `maxBytes`. */
  run(args: readonly string[], maxBytes?: number): Promise<Buffer>;
}

/** Git in a throwaway repository, with no one's configuration: neither the system's, nor the user's, nor the environment's. */
async function openGit(source: GitSource, ports: GitPorts, signal: AbortSignal): Promise<Git> {
  const limit = deadline(PATIENCE_MS, signal);
  const known = (await ports.authorities()).join("\n");
  const directory = await inState(() => throwawayIn(ports.scratchDirectory, known));
  const repository = join(directory, "repository");
  const env = environmentOf(source, directory, ports.upstreamProxy);
  return {
    run: async (args, maxBytes = MAX_LIST_BYTES) => {
      limit.throwIfAborted();
      const child = spawn("/bin/sh", ["-c", LIMITED, "git", ...SETTINGS, ...args], {
        cwd: repository,
        env,
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      try {
        return await abortable(outputOf(child, maxBytes, source), limit);
      } catch (error) {
        signal.throwIfAborted();
        throw limit.aborted ? failed(source, `it took more than ${PATIENCE_MS} ms`) : error;
      } finally {
        // Its helpers (ssh, the one for https) are in its group.
        endGroup(child.pid);
        child.stdout?.destroy();
        child.stderr?.destroy();
      }
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true, maxRetries: 3 }),
  };
}

async function throwawayIn(scratchDirectory: string, authorities: string): Promise<string> {
  await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(scratchDirectory, ".incoming-git-"));
  await writeFile(join(directory, AUTHORITIES), authorities, { mode: 0o600 });
  await mkdir(join(directory, "repository"), { mode: 0o700 });
  return directory;
}

/** Nothing runs a program or works behind our back; what comes is checked, stays in one file, and large objects stay out of memory. */
const SETTINGS = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "credential.helper=",
  "gc.auto=0",
  "maintenance.auto=false",
  "fetch.fsckObjects=true",
  "fetch.unpackLimit=1",
  "core.bigFileThreshold=1m",
  "protocol.version=2",
  "http.followRedirects=initial",
].flatMap((it) => ["-c", it]);

/** `GIT_ALLOW_PROTOCOL` overrides whatever a configuration says of protocols; what it leaves out is never used. */
function environmentOf({ git }: GitSource, directory: string, proxy: string | undefined): NodeJS.ProcessEnv {
  const passed = ["PATH", "USER", "LOGNAME", "SSH_AUTH_SOCK"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(passed),
    LC_ALL: "C",
    // Git before 2.32 knows no other way to pass over the user's configuration; ssh finds the user's keys without.
    HOME: directory,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "",
    SSH_ASKPASS: "",
    GIT_SSH_COMMAND: "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ClearAllForwardings=yes",
    GIT_ALLOW_PROTOCOL: new URL(git).protocol.slice(0, -1),
    GIT_SSL_CAINFO: join(directory, AUTHORITIES),
    ...(proxy !== undefined && { https_proxy: proxy }),
  };
}

function outputOf(child: ChildProcess, maxBytes: number, source: GitSource): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  let complaint = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) reject(failed(source, `it says more than ${maxBytes} bytes`));
    else chunks.push(chunk);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    if (complaint.length < MAX_COMPLAINT_CHARS) complaint += chunk.toString();
  });
  child.on("error", (error: NodeJS.ErrnoException) => {
    reject(failed(source, error.code ?? error.message));
  });
  child.once("close", (code, endedBy) => {
    const said = complaint.trim().slice(0, MAX_COMPLAINT_CHARS) || `git ended with ${code ?? endedBy}`;
    // What writes to the file is killed at the limit, and git tells of its end only.
    const why = said.includes("index-pack") ? `${said} (what is fetched may have at most 32 MiB)` : said;
    if (code === 0) resolve(Buffer.concat(chunks));
    else reject(failed(source, why));
  });
  return promise;
}

function failed({ git }: GitSource, why: string): GatewayError {
  return new GatewayError("POLICY_FETCH_FAILED", printable(`the bundle can't be had from \`${git}\`: ${why}`));
}
