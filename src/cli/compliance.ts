import { resolve } from "node:path";
import { Command, Option } from "commander";
import pc from "picocolors";
import { CHECK_IDS, CHECKS } from "../compliance/checks.ts";
import { chosenFrameworks, type Framework, loadFrameworks } from "../compliance/framework.ts";
import { gather } from "../compliance/gather.ts";
import { htmlReport } from "../compliance/render/html.ts";
import { markdownReport } from "../compliance/render/markdown.ts";
import { needsAttention, type Report, reportOf } from "../compliance/report.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { print, readable } from "./audit-io.ts";
import { write } from "./audit-sbom.ts";
import { jsonText } from "./audit-text.ts";
import { inspectNow } from "./inspect-now.ts";
import { parseMoment, requireSpan } from "./moment.ts";
import { several } from "./several.ts";

export interface ComplianceContext {
  /** The audit directory below a data directory, or below the configured one. */
  readonly directory: (dataDir: string | undefined) => string;
  /** Where its gateways can be reached. */
  readonly stateDirectory: (dataDir: string | undefined) => string;
  /** Where the mappings are. */
  readonly mappings: string;
  /** Glovebox's own. */
  readonly version: string;
}

const FORMATS = { markdown: markdownReport, html: htmlReport, json: jsonReport } as const;

interface Options {
  readonly framework: readonly string[];
  readonly format: keyof typeof FORMATS;
  readonly since?: number;
  readonly until?: number;
  readonly output?: string;
  readonly live?: boolean;
  readonly dataDir?: string;
}

/** How long nothing is said of what is going on. */
const QUIET_MS = 2_000;

/**
 * `glovebox compliance report|list`. They read the log, and never write it; a gateway may be writing it meanwhile, as those do that `--live` asks to
 * look at their sessions.
 */
export function complianceCommand(context: ComplianceContext): Command {
  const command = new Command("compliance")
    .description("say which evidence the audit log holds for controls of known frameworks")
    .addHelpText(
      "after",
      `
A report says what was found, what was not, and what of a control Glovebox can't show. It judges nothing: docs/compliance.md.

Examples:
  $ glovebox compliance list
  $ glovebox compliance report --framework owasp-agentic-2026
  $ glovebox compliance report --framework cis-docker-1.6 --live
  $ glovebox compliance report --framework all --format html --output evidence.html
  $ glovebox compliance report --framework nist-800-53 --since 2026-10-01 --until 2026-11-01 --format json`,
    );
  command
    .command("report")
    .argument("[audit]", "an audit directory, such as a copy (default: the data directory's log)")
    .description("verify the log, and put evidence from it to the controls of frameworks")
    .option("--framework <id>", "of `compliance list`, or all; may be given again", several, [])
    .option("--since <time>", "only what is on record since then: 2026-11-21 or 2026-11-21T09:30:00Z", parseMoment)
    .option("--until <time>", "only what is on record before then", parseMoment)
    .addOption(new Option("--format <format>", "of the report").choices(Object.keys(FORMATS)).default("markdown"))
    .option("--live", "first have every gateway that runs look at its sessions, and record what it sees")
    .option("-o, --output <file>", "write it there; a file that exists is replaced")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
Exit codes: 0 the report is there; 1 it is there, and the log contradicts itself or does not verify, or --live could
see nothing though gateways run; or there is none, and the error says why. That no gateway runs is said, and no failure.

Without --live nothing is looked at: the report has what sessions attested when they were opened, and what earlier inspections saw. With it each
gateway asks the container engine in each session's machine, and its own host about the machine's process; a session that is confined less than it
was made is ended. Sessions that sleep on disk are not woken. Who asks has to be the gateways' own user, or root.`,
    )
    .action(async (audit: string | undefined, options: Options) => {
      if (options.live && audit !== undefined) {
        throw new GatewayError(
          "INVALID_ARGUMENTS",
          "--live: a copy of a log has no gateways; leave one of the two out",
        );
      }
      await report(audit === undefined ? context.directory(options.dataDir) : resolve(audit), options, context);
    });
  command
    .command("list")
    .description("list the frameworks, their versions, and how many of their controls have evidence to look for")
    .option("--json", "print the list as JSON")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const frameworks = await loadFrameworks(context.mappings, CHECK_IDS);
      await print(json ? [JSON.stringify(frameworks.map(summary), null, 2)] : listLines(frameworks));
    });
  return command;
}

async function report(directory: string, options: Options, context: ComplianceContext): Promise<void> {
  const { mappings, version } = context;
  const { framework, format, since, until, output } = options;
  if (framework.length === 0) throw new GatewayError("INVALID_ARGUMENTS", "name a framework with --framework, or all");
  requireSpan(since, until);
  const frameworks = chosenFrameworks(await loadFrameworks(mappings, CHECK_IDS), framework);
  const window = { ...(since !== undefined && { sinceMs: since }), ...(until !== undefined && { untilMs: until }) };
  const live = options.live ? await inspectNow(context.stateDirectory(options.dataDir)) : undefined;
  let toldMs = performance.now();
  const onProgress = (chain: string, records: number) => {
    if (performance.now() - toldMs < QUIET_MS) return;
    toldMs = performance.now();
    process.stderr.write(`reading ${chain}: ${records} records\n`);
  };
  const gathered = await readable(directory, gather(directory, CHECKS, { ...window, onProgress }));
  // A wrong path must not look like a log without evidence.
  if (gathered.chains.length === 0) {
    throw new GatewayError("INVALID_ARGUMENTS", `there is no audit log in \`${printable(directory)}\``);
  }
  const generatedAt = new Date().toISOString();
  const made = reportOf(gathered, CHECKS, frameworks, { generatedAt, version, window, ...(live && { live }) });
  const text = FORMATS[format](made);
  if (output === undefined) await print([text.trimEnd()]);
  else await write(output, text);
  tellOf(made);
}

/** Where a person sees it, wherever the report goes. */
function tellOf(made: Report): void {
  if (!needsAttention(made)) return;
  process.exitCode = 1;
  const { red } = pc.createColors(process.stderr.isTTY === true);
  for (const { id, looksFor } of made.checks.filter((it) => made.contradicted.includes(it.id))) {
    process.stderr.write(`${red("contradicted by the log")}: ${id}: ${looksFor}\n`);
  }
  if (made.live?.isBlind) process.stderr.write(`${red("nothing was inspected")}, though gateways run\n`);
  if (!made.log.verifies) process.stderr.write(`${red("the log does not verify")}: see \`glovebox audit verify\`\n`);
}

/** With every character that a terminal might act on escaped. */
function jsonReport(made: Report): string {
  return `${jsonText(made)}\n`;
}

function summary({ id, framework, version, source, retrieved, controls }: Framework) {
  const mapped = controls.filter((it) => it.evidence.length > 0).length;
  return { id, framework, version, source, retrieved, controls: controls.length, withEvidence: mapped };
}

function listLines(frameworks: readonly Framework[]): string[] {
  const width = Math.max(...frameworks.map((it) => it.id.length));
  return frameworks.map((it) => {
    const { id, framework, version, controls, withEvidence } = summary(it);
    return `${id.padEnd(width)}  ${framework} ${version}: ${controls} controls, ${withEvidence} with evidence to look for`;
  });
}
