import { join } from "node:path";
import { abortable } from "../../lib/deadline.ts";
import type { Logger } from "../../log.ts";
import type { Engine, MachineSpec } from "../engine.ts";
import { BootHung, boot } from "./boot.ts";
import { examineHost, type QemuHost } from "./host.ts";
import { chooseAcceleration, type Verdict } from "./probe.ts";
import { type BootLimits, bootLimits } from "./watchdog.ts";

export interface QemuEngineOptions {
  /** Where the verdict on hardware virtualisation is kept. */
  readonly cacheDirectory: string;
  readonly log: Pick<Logger, "info" | "warn">;
  /** By default they follow from the acceleration. */
  readonly bootLimits?: BootLimits;
}

interface Ground {
  readonly qemu: QemuHost;
  readonly verdict: Verdict;
}

/** One confined QEMU process a machine, without network device or shared folder; `command-line.ts` shows what it is made of. */
export function createQemuEngine(options: QemuEngineOptions): Engine {
  // Found out once for everybody, so no caller's abort ends it: each of its steps has its own deadline.
  const grounds = new Map<string, Promise<Ground>>();
  const explore = async (spec: MachineSpec, progress: (message: string) => void): Promise<Ground> => {
    const unending = new AbortController().signal;
    const qemu = await examineHost(unending);
    const cacheFile = join(options.cacheDirectory, "acceleration.json");
    const verdict = await chooseAcceleration(qemu, { ...spec, cacheFile, progress }, unending);
    const { version, confinement } = qemu;
    options.log.info(
      { version: version.text, confinement, acceleration: verdict.acceleration },
      "machines run on QEMU",
    );
    for (const warning of [verdict.warning, qemu.warning]) if (warning) options.log.warn(warning);
    return { qemu, verdict };
  };
  const groundFor = (spec: MachineSpec, progress: (message: string) => void): Promise<Ground> => {
    const { digest } = spec.image;
    const known = grounds.get(digest);
    if (known) return known;
    const ground = explore(spec, progress);
    grounds.set(digest, ground);
    ground.catch(() => grounds.delete(digest));
    return ground;
  };
  return {
    name: "qemu",
    async open(spec, { signal, progress }) {
      signal.throwIfAborted();
      const { qemu, verdict } = await abortable(groundFor(spec, progress), signal);
      const limits = options.bootLimits ?? bootLimits(verdict.acceleration);
      const attempt = { qemu, verdict, spec, limits, signal, progress };
      try {
        return await boot(attempt);
      } catch (error) {
        if (!(error instanceof BootHung)) throw error;
        progress("the machine hung while it booted; starting it once more");
        return await boot(attempt);
      }
    },
  };
}
