import { waitMs } from "./backoff.ts";

/** A damage has to be seen this often: what is read while a gateway writes may be half of two things. */
const SIGHTINGS = 2;
/** Between two sightings, in ms; a damaged chain is looked at so often: it may have been put back. */
const SECOND_LOOK_MS = 250;
const RECHECK_MS = 10_000;
/** The end of a chain whose head says nothing new is looked at so often, in ms. */
const END_CHECK_MS = 5_000;

/** How shipping stands with one chain, in this process. */
export class Turn {
  /** Deliveries in a row that failed. */
  failures = 0;
  /** How many records the one that failed had: it is tried again with the same ones. */
  repeat: number | undefined;
  /** No batch has more records: fewer since one took too long. */
  most = Number.POSITIVE_INFINITY;
  /** Why nothing more can be shipped. */
  damage: string | undefined;
  #sightings = 0;
  #notBeforeMs = 0;
  #endCheckMs = 0;

  mayTry(nowMs: number): boolean {
    return nowMs >= this.#notBeforeMs;
  }

  /** Waits for nothing any more. */
  hurry(): void {
    this.#notBeforeMs = 0;
    this.#endCheckMs = 0;
  }

  /** A receiver that was slow once is given more each time; one that is slow for good loses little time in trying. */
  delivered(): void {
    this.succeeded();
    this.most = Math.ceil(this.most * 1.25);
  }

  /** Delivered, or there is nothing to deliver. */
  succeeded(): void {
    this.failures = 0;
    this.repeat = undefined;
  }

  /** @param records how many were to be delivered; undefined: any number may be tried next */
  failed(records: number | undefined, retryAfterMs: number | undefined): void {
    this.failures += 1;
    this.repeat = records;
    this.#notBeforeMs = performance.now() + waitMs(this.failures, retryAfterMs);
  }

  /** As `failed`, since its time was over: as many at once may never fit into it. */
  late(records: number): void {
    this.failed(undefined, undefined);
    this.most = Math.max(1, Math.floor(records / 2));
  }

  /** Nothing of it is to be delivered now, so no delivery fails either. */
  damaged(problem: string): void {
    this.succeeded();
    this.#sightings += 1;
    if (this.#sightings >= SIGHTINGS) this.damage = problem;
    // The next look is a whole one.
    this.#endCheckMs = 0;
    this.#notBeforeMs = performance.now() + (this.damage === undefined ? SECOND_LOOK_MS : RECHECK_MS);
  }

  /** What was read is as it was written. */
  sound(): void {
    this.#sightings = 0;
    this.damage = undefined;
  }

  /** Damage was seen since it was last found sound. */
  get isDoubtful(): boolean {
    return this.#sightings > 0;
  }

  /** It is to be looked at once more before anybody can say whether it is damaged. */
  get isSuspect(): boolean {
    return this.isDoubtful && this.damage === undefined;
  }

  mayCheckEnd(nowMs: number): boolean {
    if (nowMs < this.#endCheckMs) return false;
    this.#endCheckMs = nowMs + END_CHECK_MS;
    return true;
  }
}
