import { lstat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import { isMissing } from "../../lib/error.ts";
import { namesIn } from "./places.ts";

/** A file takes up whole blocks of it; bytes. */
const BLOCK_BYTES = 4_096;
/** How much the bodies of one session may take up; bytes. */
const SESSION_BYTES = 1024 * 1024 * 1024;
/** What bodies leave free is a twentieth of the file system's bytes, at most this many, and of its files. */
const MAX_RESERVE_BYTES = 2 * 1024 * 1024 * 1024;
const RESERVED_PART = 20;
/** What a session takes up is not counted again before; ms. */
const RECOUNT_MS = 10_000;

/** How much may be kept: an agent that fills the disk would stop the log, and every other gateway with it. */
export interface Room {
  /** Takes room for another body. @throws GatewayError AUDIT_UNWRITABLE when there is none */
  take(sessionId: string, bytes: number): Promise<void>;
}

export interface RoomOptions {
  /** Where bodies are kept, session by session. It must be there. */
  readonly directory: string;
  readonly sessionBytes?: number;
  readonly nowMs?: () => number;
}

export function createRoom({ directory, sessionBytes = SESSION_BYTES, nowMs = Date.now }: RoomOptions): Room {
  const taken = new Map<string, { bytes: number; countedMs: number }>();

  async function refuseFull(bytes: number): Promise<void> {
    const { bavail, blocks, bsize, ffree, files } = await statfs(directory);
    const reserve = Math.min(MAX_RESERVE_BYTES, (blocks * bsize) / RESERVED_PART);
    // File systems that make inodes as they need them say that there are none.
    const isFull = bavail * bsize - bytes < reserve || (files > 0 && ffree < files / RESERVED_PART);
    if (!isFull) return;
    const message =
      "the bodies of calls cannot be kept: the disk of the data directory is almost full, and what is left is for the log";
    throw new GatewayError("AUDIT_UNWRITABLE", `${message}. \`glovebox audit bodies erase --before 30d\` makes room`);
  }

  return {
    take: async (sessionId, size) => {
      const bytes = Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
      await refuseFull(bytes);
      const own = taken.get(sessionId) ?? { bytes: 0, countedMs: 0 };
      taken.set(sessionId, own);
      // What was erased meanwhile is room again.
      if (own.bytes + bytes > sessionBytes && nowMs() - own.countedMs >= RECOUNT_MS) {
        own.countedMs = nowMs();
        const before = own.bytes;
        const counted = await sizeOf(join(directory, sessionId));
        // What others took meanwhile stays taken.
        own.bytes += counted - before;
      }
      if (own.bytes + bytes > sessionBytes) {
        const message = `the bodies of this session's calls take up the ${sessionBytes / 1024 / 1024} MiB that they may`;
        throw new GatewayError(
          "AUDIT_UNWRITABLE",
          `${message}: erase them with \`glovebox audit bodies erase --session ${sessionId}\`, or start the client anew`,
        );
      }
      own.bytes += bytes;
    },
  };
}

async function sizeOf(sessionDirectory: string): Promise<number> {
  let bytes = 0;
  for (const key of await namesIn(sessionDirectory)) {
    const directory = join(sessionDirectory, key);
    for (const name of await namesIn(directory)) {
      const stats = await lstat(join(directory, name)).catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
      bytes += Math.ceil((stats?.size ?? 0) / BLOCK_BYTES) * BLOCK_BYTES;
    }
  }
  return bytes;
}
