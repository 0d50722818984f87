import { createHash } from "node:crypto";
import { chmod, mkdir, open, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isMissing } from "../../lib/error.ts";
import { newId } from "../../lib/id.ts";
import { type Lock, tryLock } from "../../lib/lock.ts";
import type { Preparation } from "../engine.ts";
import { type Boot, boot } from "./boot.ts";
import { digestOf } from "./digest.ts";
import type { Attempt } from "./parts.ts";
import { KEY_CHARS, pruneTemplates } from "./prune.ts";
import { stopAndSave } from "./save.ts";
import { shapeOf } from "./shape.ts";
import { type LoadedTemplate, loadTemplate, TEMPLATE_FILES, type TemplateFacts } from "./template.ts";

const LOCK_POLL_MS = 100;

/**
 * Templates on disk, shared by the gateways of one data directory: one directory each, named by the digest of all that a copy
 * must have in common with it. A directory appears whole or not at all, and is never changed.
 *
 *     <directory>/<key>/{memory,state,disk.qcow2,template.json}
 *     <directory>/<key>.lock        held while the template is being made
 *     <directory>/.<key>-<id>/      one in the making
 */
export class Templates {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The template for such machines, made when there is none. */
  async obtain(attempt: Boot, preparation: Preparation): Promise<LoadedTemplate> {
    const key = keyOf(attempt, preparation);
    await mkdir(this.#directory, { recursive: true, mode: 0o711 });
    using _lock = await this.#lock(key, attempt);
    const directory = join(this.#directory, key);
    if (!(await exists(directory))) await this.#make(directory, key, attempt, preparation);
    attempt.progress("reading the saved machine");
    const now = new Date();
    await utimes(directory, now, now);
    return await loadTemplate(directory, attempt.spec.image.seal, attempt.signal);
  }

  /** Forgets a template that can't be used; the next one who asks makes it anew. */
  async discard(attempt: Boot, preparation: Preparation): Promise<void> {
    await rm(join(this.#directory, keyOf(attempt, preparation)), { recursive: true, force: true });
  }

  async #lock(key: string, { progress, signal }: Attempt): Promise<Lock> {
    for (;;) {
      const lock = tryLock(join(this.#directory, `${key}.lock`));
      if (lock) return lock;
      progress("another gateway prepares the machine");
      await sleep(LOCK_POLL_MS, undefined, { signal });
    }
  }

  async #make(directory: string, key: string, attempt: Boot, preparation: Preparation): Promise<void> {
    await pruneTemplates(this.#directory, key);
    const draft = join(this.#directory, `.${key}-${newId("tpl")}`);
    try {
      await mkdir(draft, { mode: 0o700 });
      await writeTemplate(draft, attempt, preparation);
      await rename(draft, directory);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
}

function keyOf(attempt: Attempt, preparation: Preparation): string {
  const facts = [shapeOf(attempt), preparation.key];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex").slice(0, KEY_CHARS);
}

async function writeTemplate(draft: string, attempt: Boot, preparation: Preparation): Promise<void> {
  const { spec, signal, progress } = attempt;
  const at = (name: keyof typeof TEMPLATE_FILES) => join(draft, TEMPLATE_FILES[name]);
  progress("preparing a machine to copy: needed once for an image and profile");
  {
    await using memory = await open(at("memory"), "w");
    await memory.truncate(spec.memoryMiB * 1024 * 1024);
    // QEMU, which may be another user's, opens it anew; nobody else gets into this directory.
    await memory.chmod(0o666);
  }
  await using machine = await boot({ ...attempt, memory: at("memory") });
  const prepared = await preparation.prepare(machine, spec.hostname, signal);
  await preparation.rehearse?.(machine, prepared, signal);
  progress("saving the prepared machine");
  const marker = await stopAndSave(machine.parts, { state: at("state"), disk: at("disk") }, "devices", signal);
  for (const name of ["memory", "state", "disk"] as const) await chmod(at(name), 0o444);
  const facts: TemplateFacts = {
    version: 1,
    guest: machine.guest,
    prepared,
    marker: marker.toString("base64"),
    memory: await digestOf(at("memory")),
    state: await digestOf(at("state")),
    disk: await digestOf(at("disk")),
  };
  await writeFile(at("facts"), JSON.stringify(facts), { mode: 0o444 });
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
