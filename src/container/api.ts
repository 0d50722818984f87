import type { Duplex, Readable } from "node:stream";
import type { TerminalSize } from "./container.ts";

/** An exec, as the engine tells of it. */
export interface ExecState {
  /** In the machine, not in the container; 0 until the program has started, and for ever when it never does. */
  readonly pid: number;
  /** Absent until the program has ended or failed to start. */
  readonly exitCode?: number;
}

export interface ExecOptions {
  readonly argv: readonly string[];
  readonly cwd: string;
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly stdin: boolean;
  readonly terminal?: TerminalSize | undefined;
}

/**
 * One container's part of the Docker API, so that `exec.ts` and `files.ts` hold what is ours and `docker.ts` what is
 * dockerode's. Every method rejects with `EngineRefusal` when the engine answers with an error status, with the signal's reason
 * when aborted, and with anything else when the connection breaks.
 */
export interface ContainerApi {
  createExec(options: ExecOptions, signal: AbortSignal): Promise<string>;
  /** Starts it and resolves to its connection, perhaps before the program runs. `signal` covers the start alone. */
  startExec(execId: string, options: ExecOptions, signal: AbortSignal): Promise<Duplex>;
  inspectExec(execId: string, signal: AbortSignal): Promise<ExecState>;
  /** Freezes all of the container's processes. */
  pause(signal: AbortSignal): Promise<void>;
  unpause(signal: AbortSignal): Promise<void>;
  /** The header of a path's `stat`, still encoded; the path's last component is not followed, the others are. */
  statHeader(path: string, signal: AbortSignal): Promise<string>;
  /** A tar of what is at `path`, which `signal` covers to its end. */
  getArchive(path: string, signal: AbortSignal): Promise<Readable>;
  /** Unpacks a tar, as root, in an existing directory. */
  putArchive(directory: string, tar: Readable, signal: AbortSignal): Promise<void>;
}
