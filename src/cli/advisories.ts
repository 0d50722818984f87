import { resolve } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { openAuditLog } from "../audit/log.ts";
import { openSigner } from "../audit/proof/signer.ts";
import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import { userName } from "../lib/user.ts";
import type { Advisory } from "../packages/advisories/advisories.ts";
import { type ImportReport, importAdvisories } from "../packages/advisories/import.ts";
import { readPurl } from "../packages/advisories/read-purl.ts";
import { openAdvisories, type StoredImport } from "../packages/advisories/store.ts";
import { ECOSYSTEMS, type EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { namingOf, purlOf } from "../policy/ecosystems/naming.ts";

export interface AdvisoriesContext {
  /** The audit log of the same data directory. */
  readonly auditDirectory: (dataDir: string | undefined) => string;
  /** The key that signs it. */
  readonly auditKeyFile: (dataDir: string | undefined) => string;
  /** Where advisories are kept, below a data directory or the configured one. */
  readonly file: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly strict?: boolean;
  readonly fewer?: boolean;
}

const HOUR_MS = 3_600_000;

/** `glovebox advisories import|status|about`: what is known about versions of packages. Nothing is fetched: people bring the records. */
export function advisoriesCommand(context: AdvisoriesContext): Command {
  const command = new Command("advisories")
    .description("import OSV records of malicious and vulnerable packages, and see what is known")
    .addHelpText(
      "after",
      `
Policy decides about a package by what is known of its version: knownMalicious, knownVulnerable, advisories, advisoriesAgeHours.
Glovebox asks nobody. Records come from OSV exports: the OSV project publishes one for each ecosystem, \`all.zip\`, and others
write records in the same format. Fetch them where you fetch other software, on any computer, and import them; gateways that
run see them at once. docs/advisories.md says more.

What is imported together takes the place of all that was known of these ecosystems. To add records of your own to an export,
import both in one go.

Examples:
  $ glovebox advisories import npm/all.zip PyPI/all.zip
  $ glovebox advisories import npm/all.zip our-own-records/
  $ glovebox advisories status
  $ glovebox advisories about pkg:npm/lodash@4.17.20`,
    );
  const dataDir = ["--data-dir <dir>", "where advisories are kept (env GLOVEBOX_DATA_DIR)"] as const;
  command
    .command("import")
    .argument("<path...>", "OSV export (zip), folder of OSV records, or one record")
    .description("import records; they take the place of those of the same ecosystems")
    .option("--strict", "fail when a file is no OSV record, instead of counting it")
    .option("--fewer", "accept that an ecosystem ends up with less than half of the records that it had")
    .option(...dataDir)
    .option("--json", "print the result as JSON")
    .action((paths: string[], options: Options) => runImport(paths, context, options));
  command
    .command("status")
    .description("show what was imported for each ecosystem, and how old it is")
    .option(...dataDir)
    .option("--json", "print it as JSON")
    .action((options: Options) => showStatus(context, options));
  command
    .command("about")
    .argument("<purl>", "package URL with a version, such as pkg:pypi/requests@2.31.0")
    .description(
      "list advisories about one version of a package; exit code 1 when nothing was imported for its ecosystem",
    )
    .option(...dataDir)
    .option("--json", "print them as JSON")
    .action((purl: string, options: Options) => showAbout(purl, context, options));
  return command;
}

async function runImport(
  paths: readonly string[],
  context: AdvisoriesContext,
  { dataDir, json, strict = false, fewer = false }: Options,
): Promise<void> {
  const onProgress = (files: number) => {
    if (files % 10_000 === 0) process.stderr.write(`${files} files read\n`);
  };
  const options = { namingOf, strict, fewer, onProgress, signal: interruption() };
  const report = await importAdvisories(
    paths.map((it) => resolve(it)),
    context.file(dataDir),
    options,
  );
  {
    const directory = context.auditDirectory(dataDir);
    const signer = await openSigner(context.auditKeyFile(dataDir));
    await using audit = await openAuditLog({ directory, gateway: newId("gw"), signer });
    const imported = report.imported.map(({ ecosystem, records, digest }) => ({ ecosystem, records, digest }));
    await audit.append({
      kind: "event",
      event: "advisories-imported",
      facts: { imported, by: `local:${userName()}` },
    });
  }
  for (const line of warningsOf(report)) process.stderr.write(`${line}\n`);
  if (json) return console.log(JSON.stringify(report, null, 2));
  for (const { ecosystem, records, malicious, before } of report.imported)
    console.log(`${ecosystem}: ${records} records, ${malicious} of malicious packages (${before} records before)`);
}

function warningsOf({ malformed, malformedFiles, incomplete, replacedDamaged }: ImportReport): readonly string[] {
  const more = malformed > malformedFiles.length ? ", …" : "";
  return [
    ...(malformed > 0
      ? [`passed over ${malformed} files that are no OSV records: ${malformedFiles.join(", ")}${more}`]
      : []),
    ...incomplete.map((it) => `${it}: only named in records of other ecosystems; what was known of it stays as it is`),
    ...(replacedDamaged ? ["what was imported before was damaged: import the other ecosystems again, too"] : []),
  ];
}

function showStatus(context: AdvisoriesContext, { dataDir, json }: Options): void {
  using advisories = openAdvisories(context.file(dataDir), namingOf);
  const imports = ECOSYSTEMS.map((ecosystem) => ({ ecosystem, imported: advisories.imported(ecosystem) }));
  const lines = imports.map(({ ecosystem, imported }) => `${ecosystem.padEnd(6)} ${statusLine(imported)}`);
  console.log(json ? JSON.stringify(imports.map(plain), null, 2) : lines.join("\n"));
}

function plain({ ecosystem, imported }: { ecosystem: EcosystemName; imported: StoredImport | undefined }): object {
  if (!imported) return { ecosystem };
  const { records, malicious, atMs, digest } = imported;
  return { ecosystem, records, malicious, importedAt: new Date(atMs).toISOString(), ageHours: ageHours(atMs), digest };
}

function statusLine(imported: StoredImport | undefined): string {
  if (!imported) return "nothing imported";
  const { records, malicious, atMs, digest } = imported;
  const at = `${new Date(atMs).toISOString()} (${ageHours(atMs)} h ago)`;
  return `${records} records, ${malicious} of malicious packages  ${at}  sha256:${digest}`;
}

/** Whole hours; 0 when the clock was put back. */
function ageHours(atMs: number): number {
  return Math.max(0, Math.floor((Date.now() - atMs) / HOUR_MS));
}

function showAbout(purl: string, context: AdvisoriesContext, { dataDir, json }: Options): void {
  const { naming, name, version } = readPurl(purl);
  using advisories = openAdvisories(context.file(dataDir), namingOf);
  const imported = advisories.imported(naming.ecosystem) !== undefined;
  const found = advisories.about(naming.ecosystem, name, version);
  if (!imported) process.exitCode = 1;
  const subject = purlOf(naming, name, version);
  const none = imported ? "no advisories" : `nothing is known, no records of ${naming.ecosystem} were imported`;
  const lines = found.length > 0 ? found.map(aboutLine) : [`${subject}: ${none}`];
  console.log(json ? JSON.stringify({ purl: subject, imported, advisories: found }, null, 2) : lines.join("\n"));
}

function aboutLine({ id, malicious }: Advisory): string {
  const colour = pc.createColors(process.stdout.isTTY === true && pc.isColorSupported);
  return malicious ? `${id}  ${colour.red("malicious")}` : id;
}

/** Aborts when the person interrupts; what was known before is still there then. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  const onSignal = () => controller.abort(new GatewayError("CANCELLED", "interrupted; what was known before stays"));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, onSignal);
  return controller.signal;
}
