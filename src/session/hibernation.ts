import type { Container } from "../container/container.ts";
import type { OpenOptions } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import type { RestoreSandbox, Sandbox } from "./sandbox.ts";
import type { Save, TemporarySave } from "./snapshots.ts";

export interface HibernationPorts {
  readonly saveTemporarily: (save: Save) => Promise<TemporarySave>;
  readonly restoreSandbox: RestoreSandbox;
}

/**
 * A sandbox that can be written to disk and ended, and goes on from there in another machine. Whoever has its container notices
 * nothing but the time that it takes. Disposal ends the machine, or removes what was written.
 */
export interface Sleeper extends Sandbox {
  readonly isHibernated: boolean;
  /** Nothing may be running in it for anybody. A sandbox that can't be written stays as it is. @throws GatewayError DISK_FULL, MACHINE_LOST */
  hibernate(signal: AbortSignal): Promise<void>;
  /** @throws GatewayError HOST_BUSY, SNAPSHOT_UNUSABLE, BOOT_FAILED; what was written is kept, for another try */
  wake(options: OpenOptions): Promise<void>;
}

/** `onWoken` resolves before anybody uses the sandbox again. */
export function createSleeper(
  first: Sandbox,
  { saveTemporarily, restoreSandbox }: HibernationPorts,
  onWoken: (sandbox: Sandbox, signal: AbortSignal) => Promise<void>,
): Sleeper {
  const lost = new AbortController();
  let latest = first;
  let saved: TemporarySave | undefined;
  let disposal: Promise<void> | undefined;

  const watch = (sandbox: Sandbox) => {
    const onLost = () => sandbox === latest && !saved && lost.abort(sandbox.lost.reason);
    if (sandbox.lost.aborted) onLost();
    else sandbox.lost.addEventListener("abort", onLost, { once: true });
  };
  const awake = (): Sandbox => {
    if (saved) throw new GatewayError("INTERNAL", "the sandbox is hibernated");
    return latest;
  };
  watch(first);

  return {
    get machineId() {
      return latest.machineId;
    },
    get machine() {
      return latest.machine;
    },
    get facts() {
      return latest.facts;
    },
    get attestation() {
      return latest.attestation;
    },
    get isHibernated() {
      return saved !== undefined;
    },
    imageDigest: first.imageDigest,
    pooled: first.pooled,
    container: delegate(first.container.id, () => awake().container),
    lost: lost.signal,
    pause: (signal) => awake().pause(signal),
    resume: (signal) => awake().resume(signal),
    inspect: (signal) => awake().inspect(signal),
    save: (directory, signal) => awake().save(directory, signal),
    async hibernate(signal) {
      const sandbox = awake();
      saved = await saveTemporarily((directory) => sandbox.save(directory, signal));
      await sandbox[Symbol.asyncDispose]();
    },
    async wake(options) {
      if (!saved) return;
      const from = saved;
      const woken = await restoreSandbox(from, options);
      try {
        await onWoken(woken, options.signal);
      } catch (error) {
        // What was written is kept, for another try.
        await woken[Symbol.asyncDispose]();
        throw error;
      }
      latest = woken;
      saved = undefined;
      watch(latest);
      await from[Symbol.asyncDispose]();
    },
    async [Symbol.asyncDispose]() {
      disposal ??= Promise.resolve((saved ?? latest)[Symbol.asyncDispose]());
      return await disposal;
    },
  };
}

/** The same container, whichever machine it is in now. */
function delegate(id: string, now: () => Container): Container {
  return {
    id,
    run: async (...args) => await now().run(...args),
    stat: async (...args) => await now().stat(...args),
    readFile: async (...args) => await now().readFile(...args),
    writeFile: async (...args) => await now().writeFile(...args),
    importTree: async (...args) => await now().importTree(...args),
    exportTree: async function* (...args) {
      yield* now().exportTree(...args);
    },
    // The machine's owner ends it.
    [Symbol.asyncDispose]: async () => undefined,
  };
}
