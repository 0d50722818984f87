import { constants } from "node:fs";
import { access, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { isHeld } from "../chain.ts";
import { listChains, syncDirectory } from "../files.ts";
import { type AuditLog, openAuditLog } from "../log.ts";
import { makeSigningKey, openSigningKey, readSigningKey } from "./keys.ts";
import type { VerifierKey } from "./note.ts";
import { joinRotation, rotationText } from "./rotation.ts";
import { type Signer, signerOf, signerPlaces } from "./signer.ts";

export interface RotateOptions {
  readonly auditDirectory: string;
  readonly keyFile: string;
  /** Id of this process, as the records name it. */
  readonly gateway: string;
  readonly hostName: string;
}

/**
 * Makes a new key, and has the old one say so in every chain; then the new one takes its place. Each step is on disk before the next, so that a
 * change that was interrupted is finished by another try. No gateway may run.
 * @throws GatewayError INVALID_ARGUMENTS while gateways run; as `openAuditLog` and `openSigner`
 */
export async function rotateKey(
  options: RotateOptions,
): Promise<{ readonly from: VerifierKey; readonly to: VerifierKey }> {
  const { auditDirectory, keyFile, gateway, hostName } = options;
  const { nextKeyFile, rotationsFile } = signerPlaces(keyFile);
  const old = await openSigningKey(keyFile, hostName);
  await refuseWhileHeld(auditDirectory);
  // From here on no gateway gets past its `confirm`.
  const isFresh = !(await access(nextKeyFile).then(
    () => true,
    () => false,
  ));
  await makeSigningKey(nextKeyFile, old.verifier.name);
  const next = await readSigningKey(nextKeyFile);
  const [from, to] = [old.verifier, next.verifier];
  try {
    await refuseWhileHeld(auditDirectory);
  } catch (error) {
    if (isFresh) await rm(nextKeyFile);
    throw error;
  }
  const text = rotationText(from, to);
  const note = joinRotation(old.sign(text), next.sign(text));
  const signer = await signerOf(keyFile, old, async () => undefined);
  {
    await using stack = new AsyncDisposableStack();
    for (const log of await openEvery(auditDirectory, gateway, signer, stack)) {
      await log.append({ kind: "event", event: "audit-key-rotated", facts: { from: from.line, to: to.line, note } });
    }
  }
  await addRotation(rotationsFile, [...signer.rotations, note]);
  await rename(nextKeyFile, keyFile);
  await syncDirectory(dirname(keyFile));
  return { from, to };
}

async function refuseWhileHeld(auditDirectory: string): Promise<void> {
  const held = (await listChains(auditDirectory)).filter((it) => isHeld(join(auditDirectory, it)));
  if (held.length === 0) return;
  const which = held.slice(0, 5).join(", ");
  throw new GatewayError(
    "INVALID_ARGUMENTS",
    `a gateway is running and writes ${which}: end the MCP clients, then try again`,
  );
}

/** Holds every chain at once: each opening takes another one. */
async function openEvery(
  directory: string,
  gateway: string,
  signer: Signer,
  stack: AsyncDisposableStack,
): Promise<readonly AuditLog[]> {
  const chains = await listChains(directory);
  const logs: AuditLog[] = [];
  do logs.push(stack.use(await openAuditLog({ directory, gateway, signer })));
  while (logs.length < chains.length);
  const held = new Set(logs.map((it) => it.chain));
  if (chains.every((it) => held.has(it))) return logs;
  throw new GatewayError("INVALID_ARGUMENTS", "a gateway has just been started: end the MCP clients, then try again");
}

async function addRotation(file: string, notes: readonly string[]): Promise<void> {
  const draft = `${file}.draft`;
  {
    await using handle = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
    await handle.writeFile(notes.join("\n"));
    await handle.sync();
  }
  await rename(draft, file);
}
