import { openAuditLog } from "../../src/audit/log.ts";
import { openSigner } from "../../src/audit/proof/signer.ts";
import { event, intent, outcome } from "./audit-bodies.ts";

/**
 * A gateway that only writes: `audit-writer.ts <directory> <name> <writers> [<key file>]`. Each writer appends calls (intent, outcome) and
 * events for ever, and says `<call id> intent|outcome` on stdout when a record is acknowledged, never before.
 */
const [directory = "", name = "", writers = "1", keyFile] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

const signing = keyFile === undefined ? {} : { signer: await openSigner(keyFile), checkpointMs: 5 };
const log = await openAuditLog({ directory, gateway: `gw-${name}`, segmentBytes: 30_000, ...signing });
say("open");

async function write(writer: number): Promise<never> {
  for (let n = 0; ; n++) {
    const callId = `call-${name}-${writer}-${n}`;
    await log.append(intent(callId, { argv: ["echo", "x".repeat((n * 37) % 900)] }));
    say(`${callId} intent`);
    if (n % 3 === 0) await log.append(event({ callId }));
    await log.append(outcome(callId));
    say(`${callId} outcome`);
  }
}

await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => write(writer)));
