import { asJson } from "../audit/as-json.ts";
import type { EventBody, Json } from "../audit/record.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import type { Sleeper } from "./hibernation.ts";

const REST_AFTER_MS = 30_000;
const REST_TIMEOUT_MS = 15_000;
const HIBERNATE_TIMEOUT_MS = 180_000;
const ASLEEP = "asleep on disk";

export interface RestPorts {
  readonly sandbox: Sleeper;
  readonly hibernateMs: number;
  /** Whether nobody uses the sandbox now. */
  readonly isUnused: () => boolean;
  /** Aborts when the session ends. */
  readonly ending: AbortSignal;
  readonly record: (event: EventBody["event"], facts: Json) => Promise<void>;
  /** What is going on, in a few words; empty when nothing is. */
  readonly tell: (detail: string) => void;
  readonly onFailed: (error: unknown) => void;
}

/**
 * Puts the sandbox of one session to rest while nobody uses it: paused after half a minute, so that it costs no time, and after
 * `hibernateMs` written to disk, so that it costs no memory. One step after the other; whoever uses the sandbox waits for `awake` first.
 */
export class Rest {
  readonly #ports: RestPorts;
  #isPaused = false;
  /** One that could not be hibernated goes on being paused, until it has been used again. */
  #isSleepless = false;
  /** How many look at it now, and need it to go on. */
  #looking = 0;
  /** What it was woken to, as long as that is not on record. */
  #unrecorded: Json | undefined;
  /** Rejects never. */
  #last: Promise<void> = Promise.resolve();

  constructor(ports: RestPorts) {
    this.#ports = ports;
  }

  /**
   * Has a paused sandbox go on while `act` looks at it. One that is asleep on disk stays asleep, and nothing is answered of it. Whoever uses the
   * sandbox does not wait for `act`. `signal` ends the waiting for what is under way, not `act`.
   * @throws GatewayError MACHINE_LOST, the signal's reason, and what `act` throws
   */
  async look<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const { sandbox } = this.#ports;
    this.#looking += 1;
    try {
      const going = this.#last.then(() => (sandbox.isHibernated ? undefined : this.#resume()));
      this.#last = going.catch(() => undefined);
      await abortable(going, signal);
      return sandbox.isHibernated ? undefined : await act();
    } finally {
      this.#looking -= 1;
    }
  }

  /** Resolves when nothing is under way. */
  get settled(): Promise<void> {
    return this.#last;
  }

  /** Does what is due after it was not used for so long. */
  rest(idleMs: number): void {
    const { hibernateMs, isUnused } = this.#ports;
    if (idleMs < Math.min(REST_AFTER_MS, hibernateMs) || !isUnused()) return;
    this.#last = this.#last.then(() => this.#rest(idleMs)).catch((error: unknown) => this.#ports.onFailed(error));
  }

  /** @throws GatewayError MACHINE_LOST, AUDIT_UNWRITABLE, and as `Sleeper.wake` does */
  async awake(): Promise<void> {
    const waking = this.#last.then(() => this.#awake());
    this.#last = waking.catch(() => undefined);
    await waking;
  }

  async #rest(idleMs: number): Promise<void> {
    const { sandbox, hibernateMs, isUnused } = this.#ports;
    // A call may have come meanwhile; it waits for this, and wakes what is asleep.
    if (!isUnused() || sandbox.isHibernated || this.#looking > 0) return;
    if (idleMs >= hibernateMs && !this.#isSleepless) await this.#hibernate();
    else if (!this.#isPaused) await sandbox.pause(AbortSignal.timeout(REST_TIMEOUT_MS));
    this.#isPaused = !sandbox.isHibernated;
  }

  async #hibernate(): Promise<void> {
    const { sandbox, ending, record, tell } = this.#ports;
    const { machineId } = sandbox;
    this.#isSleepless = true;
    await this.#resume();
    await sandbox.hibernate(deadline(HIBERNATE_TIMEOUT_MS, ending));
    tell(ASLEEP);
    await record("session-hibernated", { machineId });
  }

  async #awake(): Promise<void> {
    this.#isSleepless = false;
    if (this.#ports.sandbox.isHibernated) await this.#wake();
    else await this.#resume();
    // Not used before the machine that it is in now is on record.
    if (this.#unrecorded) await this.#ports.record("session-woken", this.#unrecorded);
    this.#unrecorded = undefined;
  }

  async #wake(): Promise<void> {
    const { sandbox, ending, tell } = this.#ports;
    try {
      await sandbox.wake({ signal: ending, progress: tell });
      const { machineId, facts: machine, attestation } = sandbox;
      this.#unrecorded = asJson({ machineId, machine, attestation });
    } finally {
      tell(sandbox.isHibernated ? ASLEEP : "");
    }
  }

  async #resume(): Promise<void> {
    if (this.#isPaused) await this.#ports.sandbox.resume(AbortSignal.timeout(REST_TIMEOUT_MS));
    this.#isPaused = false;
  }
}
