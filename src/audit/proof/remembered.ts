import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "../../lib/error.ts";
import { readSavedCheckpoints, type SavedCheckpoint } from "./saved.ts";
import { signerPlaces, splitMemory } from "./signer.ts";

/**
 * The last checkpoint of each chain that the gateways of a data directory signed, as they remember it beside their key. Read it before the log:
 * a gateway may be writing, and signs nothing that the log has not got.
 * @throws GatewayError INVALID_ARGUMENTS when one is not as it was written; the file system's error when they can't be read
 */
export async function rememberedCheckpoints(keyFile: string): Promise<SavedCheckpoint[]> {
  const { signedDirectory } = signerPlaces(keyFile);
  const chains = await readdir(signedDirectory).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const texts = await Promise.all(chains.sort().map((it) => readFile(join(signedDirectory, it), "utf8")));
  return texts.flatMap((it) => readSavedCheckpoints(splitMemory(it).note)).filter(({ size }) => size > 0);
}
