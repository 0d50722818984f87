import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Container } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { isMissing } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { Profile } from "../policy/profile.ts";
import { failedFacts } from "./attest-rules.ts";
import type { Machine } from "./engine.ts";
import { factsOf, WITNESS } from "./witness.ts";

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 262_144;

/** Text from inside: capped and printable, whatever it claims to be. */
const text = (maxChars: number) =>
  z
    .string()
    .max(maxChars)
    .transform((it) => printable(it, maxChars));
const list = (maxChars: number) => z.array(text(maxChars)).max(256).readonly();
const ids = z.array(z.int().min(0)).max(256).readonly();
const capabilitySet = z.string().regex(/^[0-9a-f]{1,16}$/);

const attestationSchema = z.strictObject({
  bootId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  kernelRelease: text(128),
  hostname: text(64),
  /** Real, effective, saved and file system ids. */
  uids: ids,
  gids: ids,
  groups: ids,
  /** Hexadecimal masks. */
  capabilities: z
    .strictObject({
      inheritable: capabilitySet,
      permitted: capabilitySet,
      effective: capabilitySet,
      bounding: capabilitySet,
      ambient: capabilitySet,
    })
    .readonly(),
  noNewPrivs: z.boolean(),
  /** 0 off, 1 strict, 2 filter. */
  seccompMode: z.int().min(0).max(2),
  mounts: z
    .array(z.strictObject({ target: text(4096), root: text(4096), fstype: text(64), options: list(256) }).readonly())
    .max(256)
    .readonly(),
  /** Paths of the kernel's that the engine should have hidden, and made read-only, and has not. */
  unmaskedPaths: list(256),
  writablePaths: list(256),
  /** Sockets of container engines. */
  sockets: list(4096),
  interfaces: list(64),
  /** But those of the loopback device. */
  routes: list(256),
  devices: list(256),
  /** Absent when there is no limit. */
  pidsMax: z.int().min(0).optional(),
  memoryMaxBytes: z.int().min(0).optional(),
});

/** How a sandbox is confined, seen from inside it before any program of the agent has run. Kept in the audit log. */
export type Attestation = Readonly<z.infer<typeof attestationSchema>>;

export interface AttestOptions {
  readonly container: Pick<Container, "run">;
  readonly machine: Pick<Machine, "facts" | "guest">;
  readonly profile: Profile;
  /** Absent where the host's kernel has none (macOS). */
  readonly hostBootId: string | undefined;
  /** The name that was given to this machine's container, and to no other. */
  readonly hostname: string;
  /** Of all machines that this gateway has booted for other sessions. Copies of one template have its boot id in common. */
  readonly otherBootIds: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/**
 * Asks the container itself how it is confined and compares that with what the profile demands and what the machine promised.
 * @throws GatewayError ISOLATION_BELOW_FLOOR naming every fact that failed, MACHINE_LOST, CONTAINER_FAILED
 */
export async function attest(options: AttestOptions): Promise<Attestation> {
  const output = await ask(options.container, deadline(TIMEOUT_MS, options.signal));
  const attestation = parse(output);
  const failed = failedFacts(attestation, options);
  if (failed.length > 0) throw belowFloor(failed.join("; "));
  return attestation;
}

/** The host kernel's boot id, where it has one. */
export async function readHostBootId(): Promise<string | undefined> {
  try {
    return (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function ask(container: AttestOptions["container"], signal: AbortSignal): Promise<Buffer> {
  const run = await container.run({ run: "attest", argv: WITNESS, cwd: "/", env: {}, stdin: false }, signal);
  const kill = () => run.signal("SIGKILL").catch(() => undefined);
  signal.addEventListener("abort", kill, { once: true });
  try {
    const [stdout, stderr] = await Promise.all([head(run.stdout), head(run.stderr)]);
    const exit = await run.exit;
    signal.throwIfAborted();
    if (exit.by === "exit" && exit.exitCode === 0) return stdout;
    throw belowFloor(`the facts could not be gathered (${exit.by}): ${printable(stderr.toString(), 500)}`);
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

/** The beginning of a stream, which is read to its end. */
async function head(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    if (bytes <= MAX_OUTPUT_BYTES) chunks.push(chunk);
    bytes += chunk.length;
  }
  if (bytes > MAX_OUTPUT_BYTES) throw belowFloor("the facts are too long");
  return Buffer.concat(chunks);
}

function parse(output: Buffer): Attestation {
  try {
    return attestationSchema.parse(factsOf(output));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw belowFloor(`the facts can't be read: ${printable(why, 500)}`, cause);
  }
}

function belowFloor(reasons: string, cause?: unknown): GatewayError {
  return new GatewayError("ISOLATION_BELOW_FLOOR", `the sandbox does not attest its isolation: ${reasons}`, { cause });
}
