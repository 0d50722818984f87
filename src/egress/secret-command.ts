import { type ChildProcess, spawn } from "node:child_process";
import type { GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { endGroup } from "../lib/process-group.ts";

/**
 * Makes the error that tells what is wrong with a secret, for the client. `cause` is for the log: where the source is, or a system
 * error's code, and never the system's error itself or anything that was read.
 */
export type Fail = (problem: string, cause?: string) => GatewayError;

/**
 * What a command gets of the gateway's environment: where programs and the user's files are, how to reach the user's agents and key
 * rings, the network's proxies and certificates, and what password managers and vaults log in with. Nothing that loads code
 * (`LD_PRELOAD`, `NODE_OPTIONS`), and none of the other secrets.
 */
const PASSED_ON = new Set(
  (
    "PATH HOME USER LOGNAME LANG LC_ALL TMPDIR TZ " +
    "XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME XDG_STATE_HOME " +
    "DBUS_SESSION_BUS_ADDRESS SSH_AUTH_SOCK GNUPGHOME DISPLAY WAYLAND_DISPLAY " +
    "HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR " +
    "GOOGLE_APPLICATION_CREDENTIALS KUBECONFIG"
  ).split(" "),
);
/** 1Password, Bitwarden, pass, Vault, OpenBao, Doppler, Infisical, SOPS, AWS, Azure, Google Cloud. */
const PASSED_ON_PREFIX =
  /^(?:OP|BW|BWS|PASSWORD_STORE|VAULT|BAO|DOPPLER|INFISICAL|SOPS|AWS|AZURE|CLOUDSDK)_[A-Z0-9_]+$/;

export interface CommandOptions {
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  readonly fail: Fail;
}

/**
 * What the program prints, run without a shell, in a process group of its own, which is gone when this settles. Its standard error
 * is thrown away: it may hold what must not be told.
 * @throws what `fail` makes, without any of its output; or the signal's reason
 */
export async function commandOutput(
  [program, ...args]: readonly [program: string, ...args: string[]],
  { timeoutMs, maxBytes, signal, fail }: CommandOptions,
): Promise<Buffer> {
  signal.throwIfAborted();
  const child = spawn(program, args, {
    cwd: "/",
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => isPassedOn(name))),
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  const limit = deadline(timeoutMs, signal);
  try {
    return await abortable(outputOf(child, maxBytes, fail), limit);
  } catch (error) {
    signal.throwIfAborted();
    throw limit.aborted ? fail(`its command did not end within ${timeoutMs} ms`) : error;
  } finally {
    endGroup(child.pid);
    child.stdout?.destroy();
  }
}

function outputOf(child: ChildProcess, maxBytes: number, fail: Fail): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) reject(fail(`its command printed more than ${maxBytes} bytes`));
    else chunks.push(chunk);
  });
  // Only the code: the error itself holds the command line.
  child.on("error", (error: NodeJS.ErrnoException) => reject(fail("its command cannot be run", error.code)));
  child.once("close", (exitCode, endedBy) => {
    if (exitCode === 0) resolve(Buffer.concat(chunks));
    else reject(fail(endedBy ? `its command was ended by ${endedBy}` : `its command ended with exit code ${exitCode}`));
  });
  return promise;
}

function isPassedOn(name: string): boolean {
  return PASSED_ON.has(name) || PASSED_ON_PREFIX.test(name);
}
