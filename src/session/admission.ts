import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";

/** Less than callers wait for a sandbox (`tenancy.ts`), so that they hear this reason and no other. */
const QUEUE_MS = 40_000;
const LOOK_MS = 250;
/** What the host itself, and the sandboxes that run already, may need besides. */
const RESERVE_MIB = 512;

export interface AdmissionPorts {
  /** What one sandbox may come to need. */
  readonly needMiB: () => number;
  /** What the host could give out now without swapping. */
  readonly availableMiB: () => number;
  /** How many sandboxes may be made at once. */
  readonly maxOpening: number;
}

export interface AdmissionOptions {
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** Decides when there is room for one more sandbox. A place is held while the sandbox is made, and given back by disposal. */
export interface Admission {
  /** Waits its turn. @throws GatewayError HOST_BUSY after 40 s; the signal's reason */
  admit(options: AdmissionOptions): Promise<Disposable>;
  /** A place, if there is one that nobody waits for. */
  tryAdmit(): Disposable | undefined;
}

interface Waiter {
  readonly admitted: PromiseWithResolvers<Disposable>;
  readonly progress: (message: string) => void;
}

/**
 * First come, first served. Memory counts as taken from the moment that a sandbox is begun; the sandboxes that run are what they
 * really use, since copies of one template share most of their memory.
 */
export function createAdmission({ needMiB, availableMiB, maxOpening }: AdmissionPorts): Admission {
  const queue: Waiter[] = [];
  let opening = 0;
  let timer: NodeJS.Timeout | undefined;

  const hasRoom = () => opening < maxOpening && availableMiB() - opening * needMiB() >= needMiB() + RESERVE_MIB;

  function place(): Disposable {
    opening += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) opening -= 1;
        held = false;
        advance();
      },
    };
  }

  /** Memory also comes free without anybody here noticing, so there is a look now and then while somebody waits. */
  function advance(): void {
    clearTimeout(timer);
    while (queue.length > 0 && hasRoom()) queue.shift()?.admitted.resolve(place());
    for (const [index, waiter] of queue.entries())
      waiter.progress(`waiting for room on this host (place ${index + 1})`);
    if (queue.length > 0) timer = setTimeout(advance, LOOK_MS);
  }

  return {
    tryAdmit: () => (queue.length === 0 && hasRoom() ? place() : undefined),
    async admit({ signal, progress }) {
      const admitted = Promise.withResolvers<Disposable>();
      const waiter: Waiter = { admitted, progress };
      const patience = AbortSignal.timeout(QUEUE_MS);
      queue.push(waiter);
      advance();
      try {
        return await abortable(admitted.promise, AbortSignal.any([signal, patience]));
      } catch (error) {
        const index = queue.indexOf(waiter);
        if (index >= 0) queue.splice(index, 1);
        else (await admitted.promise)[Symbol.dispose]();
        if (error !== patience.reason) throw error;
        const freeMiB = Math.floor(availableMiB());
        const why = `${freeMiB} MiB of memory are free, a sandbox needs ${needMiB() + RESERVE_MIB}`;
        throw new GatewayError("HOST_BUSY", `this host has no room for another sandbox: ${why}`);
      }
    },
  };
}
