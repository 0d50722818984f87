import type { Container, RunExit } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { newId } from "../lib/id.ts";
import { OutputBuffer } from "../session/output.ts";

/** A program of the image that a capability runs for its own ends: no shell, fixed environment, output taken in pieces. */
export interface Scan {
  readonly argv: readonly [string, ...string[]];
  /** The byte that ends a piece. */
  readonly separator: number;
  readonly maxPieceBytes: number;
  readonly timeLimitMs: number;
  /** Gets each piece, or `undefined` for one that was too long; answers whether it wants more. */
  readonly onPiece: (piece: Buffer | undefined) => boolean;
}

export interface ScanEnd {
  readonly exit: RunExit;
  readonly stderr: string;
  /** `enough`: `onPiece` wanted no more. `time`: the time limit passed. */
  readonly stopped?: "enough" | "time";
}

/** Only directories that the agent can't write: it shall not answer in the program's place. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" };
const STDERR_BYTES = 4_096;
/** How long a program that was killed may take to be gone. */
const KILL_MS = 5_000;

/** Runs the program to its end, or as long as it is wanted. @throws GatewayError PROGRAM_NOT_FOUND, MACHINE_LOST, … */
export async function scan(container: Container, options: Scan, signal: AbortSignal): Promise<ScanEnd> {
  const { argv, separator, maxPieceBytes } = options;
  const run = await container.run({ run: newId("proc"), argv, cwd: "/", env: ENVIRONMENT, stdin: false }, signal);
  const stopping = new AbortController();
  const stderr = new OutputBuffer(STDERR_BYTES);
  const pieces = splitter(separator, maxPieceBytes, (piece) => {
    if (!stopping.signal.aborted && !options.onPiece(piece)) stopping.abort();
  });
  let failure: unknown;
  run.stdout.on("data", (chunk: Buffer) => {
    try {
      if (!stopping.signal.aborted) pieces(chunk);
    } catch (error) {
      failure = error;
      stopping.abort();
    }
  });
  run.stderr.on("data", (chunk: Buffer) => stderr.append(chunk));
  // Without listeners a broken stream would end the gateway; `exit` tells what became of the program.
  for (const stream of [run.stdout, run.stderr]) stream.on("error", () => stream.destroy());
  const limit = deadline(options.timeLimitMs, AbortSignal.any([stopping.signal, signal]));
  const exit = await abortable(run.exit, limit).catch(async (error: unknown) => {
    if (!limit.aborted) throw error;
    await run.signal("SIGKILL");
    return abortable(run.exit, deadline(KILL_MS)).catch((cause: unknown) => {
      throw new GatewayError("CONTAINER_FAILED", `\`${argv[0]}\` can't be ended`, { cause });
    });
  });
  signal.throwIfAborted();
  if (failure !== undefined) throw failure;
  if (exit.by === "machine-lost") throw new GatewayError("MACHINE_LOST");
  const said = stderr.excerpt(STDERR_BYTES).text;
  if (stopping.signal.aborted) return { exit, stderr: said, stopped: "enough" };
  return limit.aborted ? { exit, stderr: said, stopped: "time" } : { exit, stderr: said };
}

/** Cuts a stream into pieces; keeps no more than `maxBytes` of one that has not ended. */
function splitter(separator: number, maxBytes: number, onPiece: (piece: Buffer | undefined) => void) {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let tooLong = false;
  const hold = (part: Buffer) => {
    tooLong ||= heldBytes + part.length > maxBytes;
    if (tooLong) held = [];
    else held.push(part);
    heldBytes = tooLong ? 0 : heldBytes + part.length;
  };
  return (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(separator); at !== -1; at = chunk.indexOf(separator, from)) {
      hold(chunk.subarray(from, at));
      onPiece(tooLong ? undefined : Buffer.concat(held));
      held = [];
      heldBytes = 0;
      tooLong = false;
      from = at + 1;
    }
    if (from < chunk.length) hold(Buffer.from(chunk.subarray(from)));
  };
}
