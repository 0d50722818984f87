import type { Json } from "../audit/record.ts";
import type { Container } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import { printable } from "../lib/text.ts";
import type { Profile } from "../policy/profile.ts";
import { Process, type ProcessSpec } from "./process.ts";

export interface ProcessesPorts {
  readonly container: Container;
  readonly profile: () => Profile;
  /** Facts of each process that ended, for the audit log. */
  readonly onEnded: (facts: Json) => void;
  /** Variables for all of them; a call's own go before. */
  readonly environment: Readonly<Record<string, string>>;
}

/** So many that ended are kept for reading… */
const MAX_ENDED = 32;
/** …as long as their buffers occupy no more than this, the latest one aside. */
const MAX_ENDED_BYTES = 33_554_432;
/** How long disposal waits for what it killed; the machine ends next in any case. */
const DISPOSAL_MS = 1_000;

/** The programs of one session: those that run, and those that ended lately. Disposal ends them all. */
export class Processes implements AsyncDisposable {
  readonly #ports: ProcessesPorts;
  readonly #running = new Map<string, Process>();
  /** In the order of their ends. */
  readonly #ended = new Map<string, Process>();
  readonly #closing = new AbortController();
  /** Calls whose programs are being started. */
  readonly #starting: string[] = [];

  constructor(ports: ProcessesPorts) {
    this.#ports = ports;
  }

  /** How many run or are being started. */
  get running(): number {
    return this.#running.size + this.#starting.length;
  }

  /** The calls that started what runs now. */
  get calls(): string[] {
    return [...new Set([...this.#starting, ...[...this.#running.values()].map((it) => it.spec.callId)])];
  }

  /**
   * Starts a program; `signal` aborts the start only.
   * @throws GatewayError PROCESS_LIMIT, SESSION_CLOSED, and what `Container.run` throws
   */
  async start(asked: ProcessSpec, signal: AbortSignal): Promise<Process> {
    const { container, profile, environment } = this.#ports;
    const spec = { ...asked, env: { ...environment, ...asked.env } };
    this.#closing.signal.throwIfAborted();
    const { limits, output } = profile();
    const limit = limits.processes;
    if (this.running >= limit) {
      throw new GatewayError("PROCESS_LIMIT", `${limit} processes are running, as many as the profile permits`);
    }
    const { retainBytes, limitBytes } = output;
    const id = newId("proc");
    this.#starting.push(spec.callId);
    try {
      const ports = { id, retainBytes, limitBytes, onEnd: (ended: Process) => this.#onEnd(ended) };
      const process = await Process.start(container, spec, ports, AbortSignal.any([signal, this.#closing.signal]));
      if (!process.end) this.#running.set(id, process);
      if (this.#closing.signal.aborted) await process.abandon(DISPOSAL_MS);
      return process;
    } finally {
      this.#starting.splice(this.#starting.indexOf(spec.callId), 1);
    }
  }

  /** @throws GatewayError PROCESS_NOT_FOUND */
  find(id: string): Process {
    const process = this.#running.get(id) ?? this.#ended.get(id);
    if (!process) throw new GatewayError("PROCESS_NOT_FOUND", `there is no process \`${printable(id, 64)}\``);
    return process;
  }

  /** Oldest first. */
  list(): readonly Process[] {
    return [...this.#ended.values(), ...this.#running.values()].sort((a, b) => a.startedAtMs - b.startedAtMs);
  }

  #onEnd(process: Process): void {
    this.#running.delete(process.id);
    this.#ended.set(process.id, process);
    this.#forgetOldest();
    this.#ports.onEnded(factsOf(process));
  }

  #forgetOldest(): void {
    let occupied = 0;
    for (const process of this.#ended.values()) occupied += process.stdout.occupiedBytes + process.stderr.occupiedBytes;
    for (const [id, process] of this.#ended) {
      if (this.#ended.size <= 1 || (this.#ended.size <= MAX_ENDED && occupied <= MAX_ENDED_BYTES)) return;
      occupied -= process.stdout.occupiedBytes + process.stderr.occupiedBytes;
      this.#ended.delete(id);
    }
  }

  /** To be called before disposal when the machine is gone, so that nothing that ran counts as cancelled. */
  machineLost(): void {
    this.#closing.abort(new GatewayError("MACHINE_LOST"));
    for (const process of this.#running.values()) process.machineLost();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new GatewayError("SESSION_CLOSED"));
    await Promise.all([...this.#running.values()].map((process) => process.abandon(DISPOSAL_MS)));
  }
}

function factsOf(process: Process): Json {
  const { id, spec, durationMs, stdout, stderr } = process;
  const outputs = { stdoutBytes: stdout.totalBytes, stderrBytes: stderr.totalBytes };
  return { processId: id, callId: spec.callId, ...process.end, durationMs, ...outputs };
}
