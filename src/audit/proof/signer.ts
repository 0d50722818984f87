import { constants } from "node:fs";
import { access, mkdir, open, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { syncDirectory } from "../files.ts";
import { type Checkpoint, chainOf, parseCheckpoint } from "./checkpoint.ts";
import { openSigningKey, readSigningKey, type SigningKey } from "./keys.ts";
import { parseNote, type VerifierKey } from "./note.ts";
import { readRotation } from "./rotation.ts";
import { splitNotes } from "./saved.ts";

/** A note of a checkpoint with a mark behind it is shorter: one sector, so that no crash leaves half of it, and always the same size. */
const MEMORY_BYTES = 512;
/** A record has room for so many changes of keys; older ones are in older records. */
const MAX_ROTATIONS = 200;

/** The last checkpoint that was signed of a chain. */
export interface Remembered extends Checkpoint {
  readonly note: string;
  /** Hash of the chain's last record, where it was closed with all of it signed: nobody has written there since. */
  readonly closedAt?: string;
}

/** Signs what a gateway writes, and remembers what it signed, apart from the log. */
export interface Signer {
  readonly key: VerifierKey;
  /** Notes by which this key follows from those that it replaced, oldest first. */
  readonly rotations: readonly string[];
  /** To be asked once a chain is held: whether this is still the key. @throws GatewayError CONFIG_INVALID */
  confirm(): Promise<void>;
  sign(text: string): string;
  /**
   * The last checkpoint that was signed of a chain, as far as it is remembered: the log has what it covers, if not the checkpoint itself.
   * @throws GatewayError CONFIG_INVALID when that is damaged; the file system's error when it can't be read and written
   */
  lastSigned(chain: string): Promise<Remembered | undefined>;
  /** Resolves when it is on disk. @param closedAt as `Remembered` has it; without it, a gateway may be writing the chain, or has died */
  remember(chain: string, note: string, closedAt?: string): Promise<void>;
}

/** Where the key of a data directory and what belongs to it lie: beside the audit directory, never in it. */
export function signerPlaces(keyFile: string) {
  const directory = dirname(keyFile);
  return {
    keyFile,
    /** The next key, from the beginning of a change of keys to its end. */
    nextKeyFile: `${keyFile}.next`,
    rotationsFile: join(directory, "audit.rotations"),
    signedDirectory: join(directory, "signed"),
  };
}

/**
 * The signer of a data directory; at the first start its key is made. @param gatewayName what a new key's name begins with
 * @throws GatewayError CONFIG_INVALID with what to do when the key can't be used; AUDIT_UNWRITABLE when none can be made
 */
export async function openSigner(keyFile: string, gatewayName = hostname()): Promise<Signer> {
  const key = await openSigningKey(keyFile, gatewayName);
  return await signerOf(keyFile, key, async () => {
    const { nextKeyFile } = signerPlaces(keyFile);
    // Whoever changes keys puts the next one there first, and looks for held chains then; a gateway does it in the other order.
    if (await exists(nextKeyFile)) {
      throw refused("it is being replaced: run `glovebox audit key rotate` to the end, then start again");
    }
    const now = await readSigningKey(keyFile);
    if (now.verifier.line !== key.verifier.line) throw refused("it was replaced meanwhile: start again");
  });
}

/** The signer with a key that is known; `confirm` as its caller needs it. */
export async function signerOf(keyFile: string, key: SigningKey, confirm: () => Promise<void>): Promise<Signer> {
  const { rotationsFile, signedDirectory } = signerPlaces(keyFile);
  const rotations = await readFile(rotationsFile, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return "";
    throw error;
  });
  return {
    key: key.verifier,
    rotations: rotationsBefore(
      key.verifier,
      splitNotes(rotations).map(({ note }) => note),
    ),
    confirm,
    sign: (text) => key.sign(text),
    lastSigned: (chain) => readMemory(join(signedDirectory, chain)),
    remember: (chain, note, closedAt) =>
      writeMemory(join(signedDirectory, chain), closedAt === undefined ? note : `${note}closed ${closedAt}\n`),
  };
}

/** Without the one that replaces this very key, which a change that was interrupted has left. */
function rotationsBefore({ line }: VerifierKey, notes: readonly string[]): readonly string[] {
  const own = notes.findIndex((it) => readRotation(it)?.from.line === line);
  return (own === -1 ? notes : notes.slice(0, own)).slice(-MAX_ROTATIONS);
}

/** The note in what is remembered of a chain, and the mark that `remember` put behind it. */
export function splitMemory(text: string): { readonly note: string; readonly closedAt?: string } {
  const [, note = "", closedAt] = /^(.*?\n)(?:closed ([0-9a-f]{64})\n)?$/s.exec(`${text.trimEnd()}\n`) ?? [];
  return { note, ...(closedAt !== undefined && { closedAt }) };
}

async function readMemory(file: string): Promise<Remembered | undefined> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  // A crash leaves an empty one where there was none before.
  if (text === undefined || text.trim() === "") return undefined;
  const memory = splitMemory(text);
  const parsed = parseNote(memory.note);
  const checkpoint = parsed && parseCheckpoint(parsed.text);
  if (!checkpoint || chainOf(checkpoint.origin) !== basename(file)) {
    throw refused(
      `\`${printable(file)}\` is not as it was written: restore it from a backup, or move it and its chain away`,
    );
  }
  // What could not be written to would go on to remember what was long ago.
  await access(file, constants.W_OK);
  return { ...checkpoint, ...memory };
}

async function writeMemory(file: string, text: string): Promise<void> {
  const padded = Buffer.alloc(Math.max(MEMORY_BYTES, Buffer.byteLength(text)), "\n");
  padded.write(text);
  const place = dirname(file);
  const made = await mkdir(place, { recursive: true, mode: 0o700 });
  if (made !== undefined) await syncDirectory(dirname(place));
  await using handle = await open(file, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  const isNew = (await handle.stat()).size === 0;
  await handle.write(padded, 0, padded.length, 0);
  await handle.datasync();
  if (isNew) await syncDirectory(place);
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

function refused(why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `the key that signs the audit log cannot be used: ${why}`);
}
