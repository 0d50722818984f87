import { catchUp } from "../../src/audit/index/catch-up.ts";
import { openIndex } from "../../src/audit/index/open.ts";

/** A process that brings an index up to date: `audit-indexer.ts <index file> <audit directory> <records in a batch>`. It says `<records>` after each batch, and `done`. */
const [path = "", directory = "", batchRecords = "1"] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

using index = await openIndex(path);
await catchUp(index, directory, {
  batchRecords: Number(batchRecords),
  onProgress: ({ records }) => say(String(records)),
});
say("done");
