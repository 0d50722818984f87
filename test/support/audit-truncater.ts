import { openAuditLog } from "../../src/audit/log.ts";
import { openSigner } from "../../src/audit/proof/signer.ts";
import { applyRetention } from "../../src/audit/truncate/retention.ts";
import { intent, outcome } from "./audit-bodies.ts";

/** A gateway that writes calls and removes all that it may, for ever: `audit-truncater.ts <directory> <name> <key file>`. Says `removed <count>` each time. */
const [directory = "", name = "", keyFile = ""] = process.argv.slice(2);
const signer = await openSigner(keyFile);
await using log = await openAuditLog({
  directory,
  gateway: `gw-${name}`,
  signer,
  segmentBytes: 1_500,
  checkpointMs: 5,
});
process.stdout.write("open\n");
for (let n = 0; ; n++) {
  for (let call = 0; call < 12; call++) {
    await log.append(intent(`call-${name}-${n}-${call}`));
    await log.append(outcome(`call-${name}-${n}-${call}`));
  }
  const results = applyRetention({
    ...{ auditDirectory: directory, beforeMs: Date.now() + 1, isShipped: () => true, signer, gateway: `gw-${name}` },
    ...{ own: log, why: "retention" },
  });
  for await (const { removed, problem } of results) {
    if (problem !== undefined) throw new Error(problem);
    process.stdout.write(`removed ${removed?.records ?? 0}\n`);
  }
}
