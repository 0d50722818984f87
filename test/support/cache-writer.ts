import { createHash, randomInt } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createLog } from "../../src/log.ts";
import { openPackageCache } from "../../src/packages/cache/disk-cache.ts";

/**
 * A gateway that only uses its cache: `cache-writer.ts <directory> <maxBytes> <files>`. Keeps and reads files and documents for ever, a few at
 * a time, of which there are `files`, the same in every process. Says `<hex>` when one is kept, and `wrong` should one ever be other than it was.
 */
const [directory = "", maxBytes = "", files = ""] = process.argv.slice(2);
const cache = await openPackageCache({ directory, maxBytes: Number(maxBytes), log: createLog("warn") });
const say = (line: string) => process.stdout.write(`${line}\n`);
say("open");

/** Up to 300 kB. */
function contentOf(number: number): Buffer {
  const line = createHash("sha256").update(String(number)).digest();
  return Buffer.alloc(1_000 + ((number * 7_919) % 300_000), line);
}

async function work(): Promise<never> {
  for (;;) {
    const number = randomInt(Number(files));
    const content = contentOf(number);
    const hex = createHash("sha256").update(content).digest("hex");
    const key = { algorithm: "sha256", hex } as const;
    const cached = await cache.open(key, AbortSignal.timeout(120_000));
    if (cached) {
      const pieces: Buffer[] = await cached.read().toArray();
      if (!Buffer.concat(pieces).equals(content)) say("wrong");
    } else {
      await using keeping = await cache.keep(key);
      await pipeline(Readable.from([content.subarray(0, 500), content.subarray(500)]), keeping.stream.resume());
      await keeping.commit();
      say(hex);
    }
    const document = await cache.document(String(number));
    if (document && !document.body.equals(content)) say("wrong");
    if (!document) await cache.putDocument(String(number), { fetchedMs: number, head: "{}", body: content });
  }
}

await Promise.all([work(), work(), work()]);
