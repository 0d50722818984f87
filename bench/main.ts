import { benchAudit } from "./audit.ts";
import { benchAuditBodies } from "./audit-bodies.ts";
import { benchAuditIndex } from "./audit-index.ts";
import { benchBudgets } from "./budgets.ts";
import { benchEgress } from "./egress.ts";
import { benchGateway } from "./gateway.ts";
import { benchLogging } from "./logging.ts";
import { benchLoggingLag } from "./logging-lag.ts";
import { benchLoggingPino } from "./logging-pino.ts";
import { benchLoggingPostgres } from "./logging-postgres.ts";
import { benchLoggingSyslog } from "./logging-syslog.ts";
import { benchMounts } from "./mounts.ts";
import { benchPackages } from "./packages.ts";
import { benchPolicy } from "./policy.ts";
import type { Row, Spread } from "./row.ts";
import { benchSkills } from "./skills.ts";

/** `npm run bench`: one table, each figure beside the baseline taken in the same run; `--json` for machines. */
const say = (message: string) => process.stderr.write(`measuring ${message}\n`);

const rows: Row[] = [];
say("policy decisions");
rows.push(...(await benchPolicy()));
say("budgets");
rows.push(...benchBudgets());
say("audit records");
rows.push(...(await benchAudit()));
rows.push(...(await benchAuditBodies()));
rows.push(...(await benchAuditIndex(say)));
say("central logging, into each sink");
rows.push(...(await benchLogging()));
rows.push(...(await benchLoggingSyslog(say)));
rows.push(...(await benchLoggingPino()));
rows.push(...(await benchLoggingPostgres(say)));
say("how far central logging is behind at 2,000 calls a second (two minutes)");
rows.push(...(await benchLoggingLag()));
say("skills");
rows.push(...(await benchSkills()));
rows.push(...(await benchGateway(say)));
rows.push(...(await benchMounts(say)));
rows.push(...(await benchEgress(say)));
rows.push(...(await benchPackages(say)));

if (process.argv.includes("--json")) {
  console.log(JSON.stringify(rows, null, 2));
} else {
  const number = (value: number) => value.toFixed(value < 10 ? 2 : 0);
  const all = ({ p50, p95, p99, samples }: Spread) => (samples === 1 ? [p50] : [p50, p95, p99]).map(number).join(" / ");
  console.table(
    rows.map((it) => ({
      measurement: it.name,
      "p50 / p95 / p99": `${all(it.value)} ${it.unit}`,
      baseline: `${it.baseline}: ${all(it.baselineValue)} ${it.unit}`,
      ratio: number(it.ratio),
    })),
  );
}
process.exit(0);
