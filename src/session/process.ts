import { setTimeout as sleep } from "node:timers/promises";
import type { Container, Run, RunExit, TerminalSize } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import { OutputBuffer } from "./output.ts";

/** Why a program is no longer running; when several causes race, the first wins. */
export const ENDED_BY = [
  "exit",
  "signal",
  "timeout",
  "cancelled",
  "output-limit",
  "out-of-memory",
  "machine-lost",
] as const;
export type EndedBy = (typeof ENDED_BY)[number];

/** A program to start, and what bounds it. */
export interface ProcessSpec {
  readonly argv: readonly [string, ...string[]];
  /** Absolute. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Written to the program's standard input as soon as it runs. */
  readonly stdin?: Buffer;
  /** Whether more input may follow; otherwise the program reads end-of-file after `stdin`. */
  readonly keepStdinOpen: boolean;
  /** Present when the program is to have a terminal. */
  readonly terminal?: TerminalSize;
  readonly timeoutMs: number;
  /** The call that started it. */
  readonly callId: string;
}

export interface ProcessEnd {
  readonly endedBy: EndedBy;
  /** Absent when the machine was lost, or the program had to be given up. */
  readonly exitCode?: number;
  readonly signal?: string;
}

export type SignalName = Parameters<Run["signal"]>[0];

/** What a process may use of its table. */
export interface ProcessPorts {
  readonly id: string;
  /** The most bytes of each output stream kept. */
  readonly retainBytes: number;
  /** The most bytes of both output streams before the program is ended. */
  readonly limitBytes: number;
  readonly onEnd: (process: Process) => void;
}

/** A program that was asked to end gets so long before it is killed. */
const GRACE_MS = 2_000;
/** Killing is repeated: a tree that forks while it is being killed needs more than one pass. */
const KILL_INTERVAL_MS = 1_000;
const KILL_ATTEMPTS = 10;
const WRITE_PATIENCE_MS = 5_000;

/** A program in the sandbox, running or ended. Its output is always being read, so it never blocks for want of a reader. */
export class Process {
  readonly id: string;
  readonly spec: ProcessSpec;
  readonly startedAtMs = Date.now();
  readonly stdout: OutputBuffer;
  readonly stderr: OutputBuffer;
  /** Resolves when the program has ended and its output is complete. Never rejects. */
  readonly ended: Promise<void>;
  readonly #run: Run;
  readonly #ports: ProcessPorts;
  readonly #started = performance.now();
  readonly #listeners = new Set<(chunk: Buffer) => void>();
  readonly #resolveEnded: () => void;
  readonly #timer: NodeJS.Timeout;
  /** What ended, or is ending, the program other than itself. The first cause stays. */
  #cause: EndedBy | undefined;
  #end: ProcessEnd | undefined;
  #durationMs: number | undefined;
  #killing: Promise<void> | undefined;

  /** @throws GatewayError as `Container.run` does */
  static async start(
    container: Container,
    spec: ProcessSpec,
    ports: ProcessPorts,
    signal: AbortSignal,
  ): Promise<Process> {
    const { argv, cwd, env, keepStdinOpen, terminal } = spec;
    const stdin = keepStdinOpen || (spec.stdin?.length ?? 0) > 0;
    const run = { run: ports.id, argv, cwd, env, stdin, ...(terminal && { terminal }) };
    return new Process(await container.run(run, signal), spec, ports);
  }

  private constructor(run: Run, spec: ProcessSpec, ports: ProcessPorts) {
    this.#run = run;
    this.#ports = ports;
    this.id = ports.id;
    this.spec = spec;
    this.stdout = new OutputBuffer(ports.retainBytes);
    this.stderr = new OutputBuffer(ports.retainBytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
    this.#timer = setTimeout(() => void this.cancel("timeout"), spec.timeoutMs);
    this.#drain(run.stdout, this.stdout);
    this.#drain(run.stderr, this.stderr);
    void run.exit.then((exit) => this.#finish(exit));
    this.#feed();
  }

  /** `undefined` while it runs. */
  get end(): ProcessEnd | undefined {
    return this.#end;
  }

  get durationMs(): number {
    return this.#durationMs ?? Math.round(performance.now() - this.#started);
  }

  /** Calls `listener` with all output as it comes, until the answered function is called. */
  onOutput(listener: (chunk: Buffer) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when the program has ended or `yieldMs` have passed; rejects with the signal's reason when it aborts. */
  async wait(yieldMs: number, signal: AbortSignal): Promise<void> {
    const enough = new AbortController();
    const yielded = sleep(yieldMs, undefined, { signal: enough.signal }).catch(() => undefined);
    try {
      await abortable(Promise.race([this.ended, yielded]), signal);
    } finally {
      enough.abort();
    }
  }

  /**
   * Hands input to the program, and closes its standard input when `close` is set. Answers whether all of it has been taken;
   * what has not been is delivered when the program reads. @throws GatewayError PROCESS_ENDED, STDIN_CLOSED, STDIN_BLOCKED
   */
  async write(input: Buffer, close: boolean, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (this.#end) throw new GatewayError("PROCESS_ENDED");
    const { stdin } = this.#run;
    if (!stdin?.writable || !this.spec.keepStdinOpen) throw new GatewayError("STDIN_CLOSED");
    if (stdin.writableNeedDrain) throw new GatewayError("STDIN_BLOCKED");
    const taken = new Promise<boolean>((resolve, reject) => {
      const done = (error?: Error | null) => {
        if (error) reject(new GatewayError("STDIN_CLOSED", "the process has closed its input", { cause: error }));
        else resolve(true);
      };
      if (close) stdin.end(input, done);
      else stdin.write(input, done);
    });
    const patience = sleep(WRITE_PATIENCE_MS, false, { ref: false });
    return abortable(Promise.race([taken, patience, this.ended.then(() => false)]), signal);
  }

  /** Signals the program's process group once. @throws GatewayError PROCESS_ENDED, MACHINE_LOST */
  async signal(name: SignalName): Promise<void> {
    if (this.#end) throw new GatewayError("PROCESS_ENDED");
    await this.#run.signal(name);
  }

  /** Ends the program and all that it started: SIGTERM to its group, and SIGKILL after a grace. Resolves when it has ended, or can't be ended. */
  cancel(cause: EndedBy): Promise<void> {
    if (this.#end) return this.ended;
    this.#cause ??= cause;
    this.#killing ??= this.#kill(GRACE_MS);
    return this.#killing;
  }

  /** The machine is gone; the program's end, which is about to be seen, comes of that. */
  machineLost(): void {
    this.#cause ??= "machine-lost";
  }

  /** Ends the program at once, for the end of the session; after `patienceMs` it counts as ended, whatever it does. */
  async abandon(patienceMs: number): Promise<void> {
    if (this.#end) return;
    this.#cause ??= "cancelled";
    void this.#kill(0);
    await Promise.race([this.ended, sleep(patienceMs)]);
    this.#finish(undefined);
  }

  async #kill(graceMs: number): Promise<void> {
    if (graceMs > 0) await this.#signalAndWait("SIGTERM", graceMs);
    for (let attempt = 0; attempt < KILL_ATTEMPTS && !this.#end; attempt++) {
      await this.#signalAndWait("SIGKILL", KILL_INTERVAL_MS);
    }
    // A program that heeded the first signal may have left others behind, which did not.
    await this.#run.signal("SIGKILL").catch(() => undefined);
  }

  /** A signal that can't be delivered is not an error of its own: `exit` tells of a lost machine, and killing is repeated. */
  async #signalAndWait(name: SignalName, waitMs: number): Promise<void> {
    void this.#run.signal(name).catch(() => undefined);
    const enough = new AbortController();
    const waited = sleep(waitMs, undefined, { signal: enough.signal }).catch(() => undefined);
    await Promise.race([this.ended, waited]);
    enough.abort();
  }

  #drain(stream: Run["stdout"], buffer: OutputBuffer): void {
    stream.on("data", (chunk: Buffer) => {
      if (this.#end) return;
      buffer.append(chunk);
      for (const listener of this.#listeners) listener(chunk);
      if (this.stdout.totalBytes + this.stderr.totalBytes > this.#ports.limitBytes) void this.cancel("output-limit");
    });
    // Without a listener a broken stream would end the gateway; `exit` says what became of the program.
    stream.on("error", () => stream.destroy());
  }

  #feed(): void {
    const { stdin } = this.#run;
    if (!stdin) return;
    // A program that ends or closes its input without reading it all is no failure.
    stdin.on("error", () => stdin.destroy());
    if (this.spec.stdin) stdin.write(this.spec.stdin);
    if (!this.spec.keepStdinOpen) stdin.end();
  }

  #finish(exit: RunExit | undefined): void {
    if (this.#end) return;
    clearTimeout(this.#timer);
    this.#durationMs = Math.round(performance.now() - this.#started);
    this.stdout.end();
    this.stderr.end();
    this.#listeners.clear();
    this.#run.stdin?.destroy();
    this.#end = {
      endedBy: this.#cause ?? exit?.by ?? "cancelled",
      ...(exit && "exitCode" in exit ? { exitCode: exit.exitCode } : {}),
      ...(exit && "signal" in exit ? { signal: exit.signal } : {}),
    };
    this.#resolveEnded();
    this.#ports.onEnd(this);
  }
}
