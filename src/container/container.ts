import type { Readable, Writable } from "node:stream";
import type { Profile } from "../policy/profile.ts";

/** A program to start in the container: no shell, `argv[0]` is searched in PATH. */
export interface RunSpec {
  /** Unique in the session; also the value of `GLOVEBOX_RUN` in its environment. */
  readonly run: string;
  readonly argv: readonly [string, ...string[]];
  /** Absolute. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Whether `stdin` stays open for writing; otherwise the program reads end-of-file. */
  readonly stdin: boolean;
  /** Present when the program is to have a terminal of its own (see `Run`). */
  readonly terminal?: TerminalSize;
}

/** 1 to 1000 of each. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** How a program ended, as the container layer sees it. */
export type RunExit =
  | { readonly by: "exit"; readonly exitCode: number }
  | { readonly by: "signal"; readonly exitCode: number; readonly signal: string }
  | { readonly by: "out-of-memory"; readonly exitCode: number }
  | { readonly by: "machine-lost" };

/**
 * A program that runs. One that has a terminal leads a session of its own there: all three of its standard streams are that
 * terminal, `stdout` is all that comes out of it (`stderr` is empty), and `TERM` is `xterm-256color` where the spec doesn't say
 * otherwise. `stdin` is its keyboard: ^C interrupts, lines are echoed and edited, and one longer than 4095 bytes is cut, until the
 * program sets it otherwise. A keyboard has no end: ending `stdin`, or not asking for it, types ^D (twice when the last line is not
 * complete), which a program reads as end-of-file once; one that reads on waits. When the program ends, its terminal is gone: what it
 * has left behind there is hung up.
 */
export interface Run {
  /** Bytes as the program wrote them; the reader's pace is the program's pace (back-pressure reaches it). */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Present when the spec asked for it. */
  readonly stdin?: Writable;
  /** Resolves after both output streams have ended; never rejects. */
  readonly exit: Promise<RunExit>;
  /**
   * Signals the whole process group (see `Machine.signal`). When the program has ended only SIGKILL does something: it ends what the
   * program has left behind.
   */
  signal(name: "SIGINT" | "SIGTERM" | "SIGKILL" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2"): Promise<void>;
}

export type EntryKind = "file" | "directory" | "link" | "other";

export interface Entry {
  readonly path: string;
  readonly kind: EntryKind;
  readonly sizeBytes: number;
  /** Permission bits, e.g. 0o644. */
  readonly mode: number;
  readonly modifiedMs: number;
  /** Where a link points, as stored in it; made printable. */
  readonly target?: string;
}

export interface WriteOptions {
  readonly mode: number;
  readonly createParents: boolean;
}

/** One thing in a tree. Names are relative to its root, `/`-separated, and normalised; the root itself is "". A directory comes before what is in it. */
export type TreeEntry =
  | { readonly kind: "directory" | "other"; readonly name: string }
  | { readonly kind: "link"; readonly name: string; readonly target: string }
  | TreeFile;

export interface TreeFile {
  readonly kind: "file";
  readonly name: string;
  readonly executable: boolean;
  readonly sizeBytes: number;
  /** Exactly so many bytes. Of an export: to be read before the next entry is asked for. */
  readonly content: AsyncIterable<Buffer> | Iterable<Buffer>;
}

export interface TreeLimits {
  readonly maxEntries: number;
  /** Of all files together. */
  readonly maxBytes: number;
  /** Names of directories whose content is of no interest; they themselves are told of. */
  readonly prune: readonly string[];
}

/**
 * The session's hardened container. Paths are absolute, normalised, and name exactly what policy decided on: a symbolic link
 * anywhere in one is refused with `PATH_IS_LINK`, never followed. Every method rejects with `MACHINE_LOST` when the machine
 * is gone and with the signal's reason when aborted. Disposal ends the runs and refuses later calls (SESSION_CLOSED); the
 * container itself ends with its machine.
 */
export interface Container extends AsyncDisposable {
  readonly id: string;
  /** Resolves when the program runs, or has already ended; `signal` covers that far. `Run.signal` ends it later.
   * @throws GatewayError PROGRAM_NOT_FOUND, INVALID_ARGUMENTS (longer than a kernel takes), CONTAINER_FAILED */
  run(spec: RunSpec, signal: AbortSignal): Promise<Run>;
  /** What is at the path itself: a link there is described, one above it refused.
   * @throws GatewayError FILE_NOT_FOUND, NOT_A_DIRECTORY (something above the path is none), PATH_IS_LINK */
  stat(path: string, signal: AbortSignal): Promise<Entry>;
  /** The whole file. @throws GatewayError FILE_NOT_FOUND, NOT_A_FILE, NOT_A_DIRECTORY, PATH_IS_LINK,
   * FILE_TOO_LARGE */
  readFile(path: string, maxBytes: number, signal: AbortSignal): Promise<Buffer>;
  /** Replaces the file (its old inode is unlinked, so a hard link elsewhere keeps its content; not atomic: when the disk is
   * full the old content is gone). Owned by the agent's user.
   * @throws GatewayError FILE_NOT_FOUND (parent), NOT_A_FILE, NOT_A_DIRECTORY, PATH_IS_LINK, PATH_NOT_WRITABLE, DISK_FULL */
  writeFile(path: string, content: Buffer, options: WriteOptions, signal: AbortSignal): Promise<void>;
  /**
   * Lays the entries out below a directory, which is made when missing; all of it the agent's, with mode 644 or 755. A file or link replaces
   * what is no directory; nothing is removed otherwise. What came before a failure stays. A GatewayError that `entries` throws is
   * thrown.
   * @throws GatewayError NOT_A_FILE, NOT_A_DIRECTORY, PATH_IS_LINK, PATH_NOT_WRITABLE, DISK_FULL
   */
  importTree(directory: string, entries: AsyncIterable<TreeEntry>, signal: AbortSignal): Promise<void>;
  /**
   * The directory with all in it, or the single file, which is then the root. Links are told of, never followed; `other` is what is neither file, directory nor link.
   * @throws GatewayError FILE_NOT_FOUND, NOT_A_FILE, NOT_A_DIRECTORY, PATH_IS_LINK, TRANSFER_TOO_LARGE, FILE_CHANGED
   */
  exportTree(path: string, limits: TreeLimits, signal: AbortSignal): AsyncGenerator<TreeEntry>;
}

/** What the container is made from; the rest of its hardening is not a matter of choice (`container/hardening.ts`). */
export interface ContainerSpec {
  /** What it calls itself: as unique as its machine. */
  readonly hostname: string;
  /** Image id in the inner engine. */
  readonly image: string;
  readonly profile: Profile;
}
