import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Shipper } from "../../src/audit/ship/shipper.ts";
import { openSink } from "../../src/audit/sinks/open.ts";
import { sinkSchema } from "../../src/audit/sinks/settings.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { readAsItAges } from "../../src/egress/secret-value.ts";

/** A process that only ships: `shipper.ts <file>`, where the file says what and to whom. Ends when its input does, and says then how much memory it took. */
const { auditDirectory, sinkDirectory, settings, authorities } = JSON.parse(
  readFileSync(process.argv[2] ?? "", "utf8"),
);
const closing = new AbortController();
const { add, hide } = createKnownSecrets();
const ports = {
  authorities: async () => authorities,
  secret: (name: string, source: Parameters<typeof readAsItAges>[1]) => readAsItAges(name, source, closing.signal, add),
  hide,
  version: "0.0.0",
};
let most = 0;
const watching = setInterval(() => {
  most = Math.max(most, process.memoryUsage().heapUsed);
}, 20);
{
  await using _ = new Shipper({
    auditDirectory,
    directory: sinkDirectory,
    open: () => openSink(sinkSchema.parse(settings), ports),
    hide,
    tell: () => undefined,
  });
  process.stdout.write("started\n");
  process.stdin.resume();
  await once(process.stdin, "end");
}
clearInterval(watching);
process.stdout.write(`${most}\n`);
process.exit(0);
