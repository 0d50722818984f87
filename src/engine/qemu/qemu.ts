import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { abortable } from "../../lib/deadline.ts";
import type { Logger } from "../../log.ts";
import type { Engine, Machine, MachineSpec, OpenOptions, Preparation, Prepared } from "../engine.ts";
import { type Boot, boot } from "./boot.ts";
import { CloneFailed, clone } from "./clone.ts";
import { examineHost, type QemuHost } from "./host.ts";
import { chooseAcceleration, type Verdict } from "./probe.ts";
import { restore } from "./restore.ts";
import { type LoadedTemplate, TemplateDamaged } from "./template.ts";
import { Templates } from "./templates.ts";
import { type BootLimits, bootLimits } from "./watchdog.ts";

export interface QemuEngineOptions {
  /** Where the verdict on hardware virtualisation is kept. */
  readonly cacheDirectory: string;
  /** Where machines are saved to be copied. */
  readonly templateDirectory: string;
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
  const attemptAt = async (spec: MachineSpec, { signal, progress }: OpenOptions): Promise<Boot> => {
    signal.throwIfAborted();
    const { qemu, verdict } = await abortable(groundFor(spec, progress), signal);
    const limits = options.bootLimits ?? bootLimits(verdict.acceleration);
    return { qemu, verdict, spec, limits, signal, progress };
  };
  const templates = openTemplates(options);
  return {
    name: "qemu",
    open: async (spec, it) => boot(await attemptAt(spec, it)),
    openPrepared: async (spec, preparation, it) => templates.open(await attemptAt(spec, it), preparation),
    openSaved: async (spec, directory, it) => restore(await attemptAt(spec, it), directory),
    [Symbol.asyncDispose]: () => templates[Symbol.asyncDispose](),
  };
}

/** Machines by way of templates; each template is read once and stays at hand. */
function openTemplates({ templateDirectory, log }: QemuEngineOptions) {
  const store = new Templates(templateDirectory);
  const loaded = new Map<string, Promise<LoadedTemplate>>();

  async function templateFor(key: string, attempt: Boot, preparation: Preparation): Promise<LoadedTemplate> {
    for (let known = loaded.get(key); known; known = loaded.get(key)) {
      try {
        return await abortable(known, attempt.signal);
      } catch {
        // Whoever made it failed, or gave up: it is this caller's turn.
        attempt.signal.throwIfAborted();
      }
    }
    const loading = store.obtain(attempt, preparation);
    loaded.set(key, loading);
    try {
      return await loading;
    } catch (error) {
      loaded.delete(key);
      if (error instanceof TemplateDamaged) await store.discard(attempt, preparation);
      throw error;
    }
  }

  async function copy(attempt: Boot, preparation: Preparation): Promise<Prepared> {
    const { image, memoryMiB, vcpus, diskMiB } = attempt.spec;
    const key = JSON.stringify([image.digest, memoryMiB, vcpus, diskMiB, preparation.key]);
    const template = await templateFor(key, attempt, preparation);
    try {
      return { machine: await clone(attempt, template), prepared: template.prepared };
    } catch (error) {
      attempt.signal.throwIfAborted();
      // Others may have found out as well, and made a new one.
      if ((await loaded.get(key)) === template) {
        loaded.delete(key);
        await store.discard(attempt, preparation);
        await template[Symbol.asyncDispose]();
      }
      throw error;
    }
  }

  return {
    async open(attempt: Boot, preparation: Preparation): Promise<Prepared> {
      // The saved memory is kept from being changed by a Linux means.
      if (attempt.qemu.host.platform !== "linux") return await bootPrepared(attempt, preparation, undefined);
      for (const way of ["it is made anew", "the machine is booted"]) {
        try {
          return await copy(attempt, preparation);
        } catch (error) {
          attempt.signal.throwIfAborted();
          if (!isTemplatesFault(error)) throw error;
          log.warn({ err: error }, `a saved machine could not be copied; ${way}`);
        }
      }
      const warning = "No saved machine could be copied, so this one was booted; the log says why.";
      return await bootPrepared(attempt, preparation, warning);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      const all = await Promise.allSettled(loaded.values());
      loaded.clear();
      for (const it of all) if (it.status === "fulfilled") await it.value[Symbol.asyncDispose]();
    },
  };
}

/** Not what booting would fail with as well. */
function isTemplatesFault(error: unknown): boolean {
  return error instanceof CloneFailed || !(error instanceof GatewayError);
}

async function bootPrepared(attempt: Boot, preparation: Preparation, warning: string | undefined): Promise<Prepared> {
  const machine: Machine = await boot(attempt);
  try {
    const prepared = await preparation.prepare(machine, attempt.spec.hostname, attempt.signal);
    const warnings = [machine.facts.warning, warning].filter((it) => it !== undefined).join(" ");
    const facts = { ...machine.facts, ...(warnings ? { warning: warnings } : {}) };
    return { machine: { ...machine, facts }, prepared };
  } catch (error) {
    await machine[Symbol.asyncDispose]();
    throw error;
  }
}
