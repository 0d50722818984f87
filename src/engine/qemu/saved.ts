import { chmod, type FileHandle, open, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { codeOf } from "../../lib/error.ts";
import { digestOf, fileDigest, isSame } from "./digest.ts";
import { makeRoom } from "./disk.ts";
import type { MachineParts, Origins } from "./parts.ts";
import { stopAndSave } from "./save.ts";

/** A machine as it was at one moment: `machine.json` beside the files it tells of. */
const FILES = { state: "state", disk: "disk.qcow2", layer: "layer.qcow2", facts: "machine.json" } as const;

const MIB = 1024 * 1024;

const factsSchema = z.strictObject({
  version: z.literal(1),
  /** See `shapeOf`. */
  shape: z.string(),
  guest: z.strictObject({ bootId: z.string(), kernelRelease: z.string() }),
  marker: z.base64().length(44),
  state: fileDigest,
  disk: fileDigest,
  layer: fileDigest.optional(),
});

/** A saved machine whose contents have been compared with their digests. The files stay when they are removed. */
export interface OpenSave extends Origins, AsyncDisposable {
  readonly state: FileHandle;
  readonly disk: FileHandle;
  readonly diskBytes: number;
  readonly layer: FileHandle | undefined;
}

/**
 * Writes the machine into an empty directory; it stands still afterwards, also when this fails.
 * @throws GatewayError DISK_FULL
 */
export async function writeSave(parts: MachineParts, directory: string, signal: AbortSignal): Promise<void> {
  const { size } = await stat(parts.overlay);
  await makeRoom(directory, Math.min(size, parts.diskMiB * MIB) + parts.memoryMiB * MIB);
  try {
    await writeFiles(parts, directory, signal);
  } catch (cause) {
    if (codeOf(cause) === "ENOSPC")
      throw new GatewayError("DISK_FULL", "The host's disk became full while the sandbox was saved.", { cause });
    throw cause;
  }
}

async function writeFiles(parts: MachineParts, directory: string, signal: AbortSignal): Promise<void> {
  const at = (name: keyof typeof FILES) => join(directory, FILES[name]);
  const to = { state: at("state"), disk: at("disk"), ...(parts.layer ? { layer: at("layer") } : {}) };
  const marker = await stopAndSave(parts, to, "everything", signal);
  for (const file of Object.values(to)) await chmod(file, 0o400);
  const facts: z.infer<typeof factsSchema> = {
    version: 1,
    shape: parts.shape,
    guest: parts.guest,
    marker: marker.toString("base64"),
    state: await digestOf(to.state),
    disk: await digestOf(to.disk),
    ...(to.layer ? { layer: await digestOf(to.layer) } : {}),
  };
  await writeFile(at("facts"), JSON.stringify(facts), { mode: 0o400 });
}

/** @throws GatewayError SNAPSHOT_UNUSABLE */
export async function openSave(directory: string, shape: string, signal: AbortSignal): Promise<OpenSave> {
  const at = (name: keyof typeof FILES) => join(directory, FILES[name]);
  await using stack = new AsyncDisposableStack();
  const checked = async (name: keyof typeof FILES, expected: z.infer<typeof fileDigest>): Promise<FileHandle> => {
    signal.throwIfAborted();
    const handle = await open(at(name));
    stack.defer(() => handle.close());
    if (!isSame(await digestOf(`/proc/self/fd/${handle.fd}`), expected)) throw new Error(`its ${name} was changed`);
    return handle;
  };
  try {
    const facts = factsSchema.parse(JSON.parse(await readFile(at("facts"), "utf8")));
    if (facts.shape !== shape) throw new GatewayError("SNAPSHOT_UNUSABLE", OTHER_SHAPE);
    const state = await checked("state", facts.state);
    const disk = await checked("disk", facts.disk);
    const layer = facts.layer && (await checked("layer", facts.layer));
    const owned = stack.move();
    return {
      guest: facts.guest,
      marker: Buffer.from(facts.marker, "base64"),
      state,
      disk,
      diskBytes: facts.disk.sizeBytes,
      layer,
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof GatewayError) throw cause;
    throw new GatewayError("SNAPSHOT_UNUSABLE", "The snapshot is damaged: a file of it was changed, or is missing.", {
      cause,
    });
  }
}

const OTHER_SHAPE =
  "The snapshot is of a machine of another shape: since then the image, the profile's resources, QEMU or the computer changed.";
