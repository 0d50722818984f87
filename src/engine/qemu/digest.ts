import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { z } from "zod";

/** What a file held when it was written. */
export const fileDigest = z.strictObject({
  sizeBytes: z.int().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type FileDigest = z.infer<typeof fileDigest>;

export async function digestOf(path: string): Promise<FileDigest> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    sizeBytes += chunk.length;
    hash.update(chunk);
  }
  return { sizeBytes, sha256: hash.digest("hex") };
}

export function isSame(one: FileDigest, other: FileDigest): boolean {
  return one.sizeBytes === other.sizeBytes && one.sha256 === other.sha256;
}
