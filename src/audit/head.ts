import { constants } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../errors.ts";
import { HEAD_FILE, syncDirectory } from "./files.ts";
import { GENESIS_HASH, type Position } from "./line.ts";

/** One sector, so that no crash leaves half of it, and always the same size, so that a full disk can't stop it. */
const HEAD_BYTES = 256;
const HEAD = /^\{"hash":"([0-9a-f]{64})","seq":(-1|0|[1-9]\d{0,15})\} *\n$/;

/**
 * The file beside the segments that says how far the chain had got: records cut off its end leave nothing else behind.
 * Written when a group is on disk and before it is acknowledged, so it is never ahead of the log. It is not synced with
 * each group: a power failure may leave it behind the log, the death of the gateway can't.
 */
export interface Head extends AsyncDisposable {
  write(position: Position): Promise<void>;
  sync(): Promise<void>;
}

export async function openHead(chainDirectory: string): Promise<Head> {
  const file = await open(join(chainDirectory, HEAD_FILE), constants.O_RDWR | constants.O_NOFOLLOW);
  return {
    write: (position) => writeHead(file, position),
    sync: () => file.datasync(),
    [Symbol.asyncDispose]: () => file.close(),
  };
}

/** Makes the head of a chain without records, before its first segment. */
export async function createHead(chainDirectory: string): Promise<void> {
  const path = join(chainDirectory, HEAD_FILE);
  await using file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  await writeHead(file, { seq: -1, hash: GENESIS_HASH });
  await file.sync();
  await syncDirectory(chainDirectory);
}

/** The head, or what is the matter with it. */
export async function readHead(chainDirectory: string): Promise<Position | "missing" | "unreadable"> {
  const text = await readFile(join(chainDirectory, HEAD_FILE), "latin1").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return "missing";
  const [, hash, seq] = (text.length === HEAD_BYTES && HEAD.exec(text)) || [];
  if (hash === undefined || seq === undefined) return "unreadable";
  return { seq: Number(seq), hash };
}

async function writeHead(file: FileHandle, { seq, hash }: Position): Promise<void> {
  const text = `{"hash":"${hash}","seq":${seq}}`.padEnd(HEAD_BYTES - 1);
  const { bytesWritten } = await file.write(`${text}\n`, 0, "latin1");
  if (bytesWritten !== HEAD_BYTES) throw new GatewayError("AUDIT_UNWRITABLE", "short write");
}
