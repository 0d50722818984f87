/** A person's no. */
export interface Denial {
  readonly approvalId: string;
  readonly approver: string;
  readonly comment?: string;
  readonly untilMs: number;
}

/** So long a person's no answers for them: asking again and again wins nothing. */
export const DENIAL_MS = 15 * 60_000;
/** An agent that was denied so many different things lately is tiring people until one of them says yes by mistake. */
const MAX_DENIALS = 5;
/** So is one that asks, and gives up before anybody can answer, so often. */
const MAX_GIVEN_UP = 20;

interface Held extends Denial {
  readonly principalId: string;
}

/** What was denied lately, by `sameness`. It outlasts its session: else an agent would reset that, and ask again. */
export class Denials {
  readonly #denials = new Map<string, Held>();
  /** Until when each counts, by principal; the oldest first. */
  readonly #givenUp = new Map<string, readonly number[]>();

  add(key: string, denial: Omit<Held, "untilMs">, nowMs: number): void {
    for (const [other, { untilMs }] of this.#denials) if (nowMs >= untilMs) this.#denials.delete(other);
    this.#denials.set(key, { ...denial, untilMs: nowMs + DENIAL_MS });
  }

  /** Whoever asked did not wait for an answer. */
  giveUp(principalId: string, nowMs: number): void {
    const recent = (this.#givenUp.get(principalId) ?? []).filter((it) => nowMs < it);
    this.#givenUp.set(principalId, [...recent, nowMs + DENIAL_MS].slice(-MAX_GIVEN_UP));
  }

  of(key: string, nowMs: number): Denial | undefined {
    const denial = this.#denials.get(key);
    return denial && nowMs < denial.untilMs ? denial : undefined;
  }

  /** When the principal may ask again; `undefined` when it may now. Milliseconds since 1970. */
  untilMs(principalId: string, nowMs: number): number | undefined {
    const denied = [...this.#denials.values()].filter((it) => it.principalId === principalId).map((it) => it.untilMs);
    const ends = [
      endOf(denied, MAX_DENIALS, nowMs),
      endOf(this.#givenUp.get(principalId) ?? [], MAX_GIVEN_UP, nowMs),
    ].filter((it) => it !== undefined);
    return ends.length === 0 ? undefined : Math.max(...ends);
  }
}

/** When there are fewer than `most` of those that count by now. */
function endOf(until: readonly number[], most: number, nowMs: number): number | undefined {
  const recent = until.filter((it) => nowMs < it);
  return recent.length < most ? undefined : Math.min(...recent);
}
