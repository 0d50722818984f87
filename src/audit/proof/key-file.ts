import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { link, lstat, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { codeOf, isMissing, messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { syncDirectory } from "../files.ts";

const MAX_FILE_BYTES = 1_024;
/** Behind the name of the key, or of the one that is to take its place. */
const DRAFT_END = /^(?:\.next)?\.[0-9a-f]{16}\.draft$/;
/** Nobody takes so long to make a key. */
const DRAFT_MS = 60 * 60_000;

/** A key of a data directory's own, in a file of its own. */
export interface KeyFile<Key> {
  readonly path: string;
  /** What the key does, for people: `signs the audit log`. */
  readonly what: string;
  /** What to do after `chmod` with one that others may have read. */
  readonly exposed: string;
  /** The key that the file's text is; undefined for anything else. */
  readonly parse: (text: string) => Key | undefined;
}

/**
 * The key. Its directory and the file are the owner's alone.
 * @throws GatewayError CONFIG_INVALID with what to do when it can't be used; AUDIT_UNWRITABLE when it can't be read; ENOENT where there is none
 */
export async function readKeyFile<Key>({ path, what, exposed, parse }: KeyFile<Key>): Promise<Key> {
  const unusable = (at: string, why: string) =>
    new GatewayError("CONFIG_INVALID", `the key that ${what} cannot be used: \`${printable(at)}\`: ${why}`);
  try {
    const directory = dirname(path);
    if (((await stat(directory)).mode & 0o077) !== 0) {
      throw unusable(directory, "others may read or change what is in it: run chmod 700 on it");
    }
    await using handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size > MAX_FILE_BYTES)
      throw unusable(path, "it is not a key file: restore it from a backup");
    if ((stats.mode & 0o077) !== 0) {
      throw unusable(path, `others may read or change it: run chmod 600 on it, then ${exposed}`);
    }
    const key = parse(await handle.readFile("utf8"));
    if (key !== undefined) return key;
    throw unusable(path, "it holds no key: restore it from a backup, or move it away so that a new one is made");
  } catch (error) {
    throw isMissing(error) || error instanceof GatewayError ? error : unwritable(path, what, error);
  }
}

/** As `readKeyFile`, having made one of `content` where there is none. */
export async function openKeyFile<Key>(file: KeyFile<Key>, content: () => string): Promise<Key> {
  await removeOldDrafts(file.path).catch(() => undefined);
  try {
    return await readKeyFile(file);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await makeKeyFile(file, content());
  // Another gateway that starts may have made one in the same instant: then that one is ours as well.
  return await readKeyFile(file);
}

/** Makes the file where there is none, and leaves one that is there as it is. It is on disk, whole, before it has its name. */
export async function makeKeyFile({ path, what }: Pick<KeyFile<unknown>, "path" | "what">, content: string) {
  const draft = `${path}.${randomBytes(8).toString("hex")}.draft`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    {
      await using handle = await open(draft, "wx", 0o600);
      await handle.writeFile(content);
      await handle.sync();
    }
    await link(draft, path).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
    });
    await syncDirectory(dirname(path));
    await syncDirectory(dirname(dirname(path)));
  } catch (error) {
    throw unwritable(path, what, error);
  } finally {
    await rm(draft, { force: true });
  }
}

/** What a process left that was killed while it made this key or the next one: a key that nobody knows of is not to lie about. */
async function removeOldDrafts(path: string): Promise<void> {
  const directory = dirname(path);
  for (const name of await readdir(directory)) {
    if (!name.startsWith(basename(path)) || !DRAFT_END.test(name.slice(basename(path).length))) continue;
    const { mtimeMs, uid } = await lstat(join(directory, name));
    const isOld = Date.now() - mtimeMs > DRAFT_MS;
    if (isOld && uid === process.getuid?.()) await rm(join(directory, name), { force: true });
  }
}

function unwritable(path: string, what: string, cause: unknown): GatewayError {
  const message = `the key that ${what}, \`${printable(path)}\`, cannot be read or made: ${messageOf(cause)}`;
  return new GatewayError("AUDIT_UNWRITABLE", printable(message), { cause });
}
