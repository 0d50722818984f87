import type { Example } from "../check.ts";
import type { Report, ReportedCheck, ReportedControl, ReportedFramework } from "../report.ts";
import {
  AT_BEGINNING,
  countsOf,
  liveOf,
  NOT_WHOLE,
  placeOf,
  STATE_WORDS,
  summaryOf,
  TORN,
  verifiedOf,
  WHAT_IT_IS,
  windowOf,
} from "./words.ts";

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

/** The report as Markdown. Nothing in a record is markup: every character that could begin some is escaped, so no link, tag or cell comes of it. */
export function markdownReport(report: Report): string {
  const lines = [
    "# Evidence from the audit log",
    "",
    ...contradictionLines(report),
    ...WHAT_IT_IS.map((it) => `- ${it}`),
    "",
    ...headLines(report),
    ...report.frameworks.flatMap((it) => frameworkLines(it, report)),
    "## Evidence",
    "",
    ...report.checks.flatMap(checkLines),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

function contradictionLines({ contradicted, checks, log }: Report): string[] {
  const against = checks.filter((it) => contradicted.includes(it.id));
  if (against.length === 0 && log.verifies) return [];
  const damaged = log.chains.filter((it) => it.problemCount > 0);
  return [
    "## Look at this first",
    "",
    ...against.map(
      (it) => `- **${STATE_WORDS.contradicted}**: ${it.looksFor} (\`${it.id}\`, ${md(countsOf(it.counts))})`,
    ),
    ...against.flatMap((it) => it.examples.map((example) => `  - ${exampleText(example)}`)),
    ...damaged.map((it) => `- ${md(it.chain)}: ${it.isWhole ? TORN : NOT_WHOLE}`),
    "",
  ];
}

function headLines(report: Report): string[] {
  const { log, policies, earlierPolicies, checkpoints, generatedAt, glovebox } = report;
  return [
    "## What was read",
    "",
    `- Generated ${generatedAt} by Glovebox ${md(glovebox)}`,
    `- Time asked for: ${windowOf(report)}`,
    `- Live inspection: ${md(liveOf(report))}`,
    `- Chains: ${log.chains.length}; records: ${log.records}, of them counted: ${log.counted}; ${log.from ?? "none"} to ${log.to ?? "none"}`,
    `- Verification: ${log.verifies ? "every chain verifies" : "the log does not verify"}`,
    "",
    "| chain | records | counted | last record | its hash | verification |",
    "|---|---|---|---|---|---|",
    ...log.chains.map((read) => {
      const { chain, records, counted, last, isWhole } = read;
      const at = last === undefined ? "none" : `${last.seq}, ${last.time}`;
      return `| ${md(chain)} | ${records} | ${isWhole ? counted : 0} | ${at} | ${last?.hash ?? ""} | ${md(verifiedOf(read))} |`;
    }),
    "",
    ...log.chains.flatMap(({ chain, problems }) =>
      problems.slice(0, 5).map((it) => `- ${md(`${chain}/${it.file}:${it.line}`)}: ${md(it.message)}`),
    ),
    "",
    "Policies in force, from the record on that names them:",
    "",
    ...policies.map(
      (it) =>
        `- ${it.time} ${md(`${it.name} ${it.version}`)} ${md(it.digest)} (record ${it.seq} of ${md(it.chain)})${it.atBeginning ? AT_BEGINNING : ""}`,
    ),
    ...(earlierPolicies > 0 ? [`- and ${earlierPolicies} earlier ones`] : []),
    ...(policies.length === 0 ? ["- none on record"] : []),
    "",
    "Checkpoints on record, the latest of each chain; their signatures were not checked:",
    "",
    ...checkpoints.flatMap((it) => [`- record ${it.seq} of ${md(it.chain)}, ${it.hash}:`, "", ...block(it.note), ""]),
    ...(checkpoints.length === 0 ? ["- none on record"] : []),
    "",
  ];
}

function frameworkLines(framework: ReportedFramework, report: Report): string[] {
  const { version, source, retrieved, note, controls } = framework;
  return [
    `## ${md(framework.framework)} ${md(version)}`,
    "",
    `Mapping \`${framework.id}\`; ids and titles from <${source}>, ${retrieved}.${note === undefined ? "" : ` ${md(note)}`}`,
    "",
    `${controls.length} controls. ${summaryOf(controls.map((it) => it.state))}.`,
    "",
    ...controls.flatMap((it) => controlLines(it, report)),
  ];
}

function controlLines(
  { id, title, about, state, evidence, covers, notCovered }: ReportedControl,
  report: Report,
): string[] {
  const checks = report.checks.filter((it) => evidence.includes(it.id));
  return [
    `### ${md(id)}${title === undefined ? "" : ` ${md(title)}`}`,
    "",
    ...(about === undefined ? [] : [md(about), ""]),
    `**${STATE_WORDS[state]}**`,
    "",
    ...(covers === undefined ? [] : [`Evidence can show: ${md(covers)}`, ""]),
    `Not covered: ${md(notCovered)}`,
    "",
    ...checks.map((it) => `- ${it.looksFor} **${STATE_WORDS[it.state]}**${countText(it)}${firstExample(it)}`),
    ...(checks.length === 0 ? [] : [""]),
  ];
}

function checkLines(check: ReportedCheck): string[] {
  return [
    `### ${check.id}`,
    "",
    `${check.looksFor} **${STATE_WORDS[check.state]}**${countText(check)}`,
    "",
    ...check.examples.map((it) => `- ${exampleText(it)}${it.hash === undefined ? "" : ` (hash ${it.hash})`}`),
    ...(check.examples.length === 0 ? [] : [""]),
  ];
}

function countText({ counts }: ReportedCheck): string {
  const text = countsOf(counts);
  return text === "" ? "" : ` (${md(text)})`;
}

/** The latest evidence, or the first contradiction. */
function firstExample({ state, examples }: ReportedCheck): string {
  const example = state === "contradicted" ? examples[0] : examples.at(-1);
  if (example === undefined) return "";
  return `\n  - ${exampleText(example)}${example.hash === undefined ? "" : ` (hash ${example.hash})`}`;
}

function exampleText(example: Example): string {
  return `${md(placeOf(example))}: ${md(example.text)}`;
}

/** Text as it is, to the last line break, in a list item: a fence is closed by one that is as long, and nothing in the text is (CommonMark 4.5). */
function block(text: string): string[] {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((it) => it.length));
  const fence = "`".repeat(longest + 1);
  return [`${fence}text`, ...text.replace(/\n$/, "").split("\n"), fence].map((it) => (it === "" ? "" : `  ${it}`));
}

/** Text as Markdown (CommonMark, and GitHub's tables and autolinks) that shows it as it is. */
function md(text: string): string {
  return text
    .replaceAll(/[&<>]/g, (it) => ENTITIES[it] ?? "")
    .replaceAll(/[\\`*_{}[\]#|~@$^]|:(?=\/\/)|(?<=www)\./gi, "\\$&");
}
