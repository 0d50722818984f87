import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPinoSink } from "../src/audit/sinks/pino.ts";
import { pinoSchema } from "../src/audit/sinks/pino-settings.ts";
import type { Batch } from "../src/audit/sinks/sink.ts";
import { GatewayError } from "../src/errors.ts";
import { portsOf } from "./receiving.ts";
import { type Row, timed } from "./row.ts";
import { type Bare, logTo } from "./shipping.ts";

/** Records a second from the log into a file of pino/file's, on the disk, beside appends of the same lines, a batch and an `fdatasync` at a time. */
export async function benchLoggingPino(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-pino-"));
  const destination = join(directory, "pino.jsonl");
  const settings = pinoSchema.parse({ name: "bench", type: "pino", target: "pino/file", options: { destination } });
  try {
    const bare = async (batches: readonly Batch[]) => {
      const lines = readFileSync(destination, "utf8").trimEnd().split("\n");
      rmSync(destination);
      const records = batches.reduce((sum, it) => sum + it.entries.length, 0);
      if (lines.length !== records) throw new GatewayError("INTERNAL", `${lines.length} of ${records} lines are there`);
      const chunks = batches.map(({ entries }) =>
        lines
          .splice(0, entries.length)
          .map((it) => `${it}\n`)
          .join(""),
      );
      return await appendAll(join(directory, "bare"), chunks);
    };
    const baseline = "append + fdatasync, batch by batch,";
    return [
      await logTo({
        to: "pino/file",
        open: () =>
          openPinoSink(
            settings,
            portsOf(async () => []),
          ),
        bare,
        baseline,
      }),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function appendAll(path: string, chunks: readonly string[]): Promise<Bare> {
  const ms = await timed(async () => {
    await using file = await open(path, "a");
    for (const chunk of chunks) {
      await file.appendFile(chunk);
      await file.datasync();
    }
  });
  return { ms, bytes: chunks.reduce((sum, it) => sum + Buffer.byteLength(it), 0) };
}
