import { hash } from "node:crypto";
import type { Example } from "../check.ts";
import type { ControlState, Report, ReportedCheck, ReportedControl, ReportedFramework } from "../report.ts";
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

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h1,h2,h3{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #bbb}h3{margin-top:1.6rem}
table{border-collapse:collapse;width:100%}th,td{border:1px solid #bbb;padding:.25rem .5rem;text-align:left;vertical-align:top}
code,td,.place{overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85em}.place{color:#555;font-size:.85em}
.state{font-weight:600}.contradicted{color:#b00020}.found{color:#14691b}.partial{color:#7a5200}.alarm{border:2px solid #b00020;padding:0 1rem}
@media print{body{max-width:none;margin:0;font-size:11px}h3{break-after:avoid}li,tr{break-inside:avoid}a{color:inherit;text-decoration:none}}`;

/** Nothing is loaded, run or sent: all that is allowed is the one style that is in the file. */
const POLICY = `default-src 'none'; style-src 'sha256-${hash("sha256", STYLE, "base64")}'; base-uri 'none'; form-action 'none'`;

/** The report as one HTML file without scripts; every text in it is escaped. */
export function htmlReport(report: Report): string {
  const body = [
    "<h1>Evidence from the audit log</h1>",
    ...contradictions(report),
    list(WHAT_IT_IS.map(html)),
    ...head(report),
    ...report.frameworks.flatMap((it) => framework(it, report)),
    "<h2>Evidence</h2>",
    ...report.checks.flatMap(check),
  ];
  return [
    "<!doctype html>",
    '<html lang="en">',
    "<head>",
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${html(POLICY)}">`,
    '<meta name="viewport" content="width=device-width">',
    '<meta name="referrer" content="no-referrer">',
    "<title>Evidence from the audit log</title>",
    `<style>${STYLE}</style>`,
    "</head>",
    "<body>",
    ...body,
    "</body>",
    "</html>",
    "",
  ].join("\n");
}

function contradictions({ contradicted, checks, log }: Report): string[] {
  const against = checks.filter((it) => contradicted.includes(it.id));
  if (against.length === 0 && log.verifies) return [];
  const damaged = log.chains.filter((it) => it.problemCount > 0);
  return [
    '<section class="alarm"><h2>Look at this first</h2>',
    list([
      ...against.map(
        (it) =>
          `${stateOf("contradicted")}: ${html(it.looksFor)} (${link(it.id)}, ${html(countsOf(it.counts))})${examples(it.examples)}`,
      ),
      ...damaged.map((it) => `${html(it.chain)}: ${html(it.isWhole ? TORN : NOT_WHOLE)}`),
    ]),
    "</section>",
  ];
}

function head(report: Report): string[] {
  const { log, policies, earlierPolicies, checkpoints, generatedAt, glovebox } = report;
  const problems = log.chains.flatMap(({ chain, problems }) =>
    problems.slice(0, 5).map((it) => html(`${chain}/${it.file}:${it.line}: ${it.message}`)),
  );
  const inForce = policies.map((it) => {
    return `${html(it.time)} ${html(it.name)} ${html(it.version)} <code>${html(it.digest)}</code> ${place(it)}${it.atBeginning ? AT_BEGINNING : ""}`;
  });
  // A line break behind the tag is no part of the text, so that one of the note's own would be lost.
  const notes = checkpoints.map((it) => `${place(it)}<pre>\n${html(it.note)}</pre>`);
  return [
    "<h2>What was read</h2>",
    list([
      html(`Generated ${generatedAt} by Glovebox ${glovebox}`),
      html(`Time asked for: ${windowOf(report)}`),
      html(`Live inspection: ${liveOf(report)}`),
      html(
        `Chains: ${log.chains.length}; records: ${log.records}, of them counted: ${log.counted}; ${log.from ?? "none"} to ${log.to ?? "none"}`,
      ),
      `Verification: ${log.verifies ? "every chain verifies" : stateText("contradicted", "the log does not verify")}`,
    ]),
    "<table><tr><th>chain<th>records<th>counted<th>last record<th>its hash<th>verification</tr>",
    ...log.chains.map((read) => {
      const { chain, records, counted, last, isWhole } = read;
      const at = last === undefined ? "none" : `${last.seq}, ${last.time}`;
      const cells = [chain, String(records), String(isWhole ? counted : 0), at, last?.hash ?? "", verifiedOf(read)];
      return `<tr>${cells.map((it) => `<td>${html(it)}`).join("")}</tr>`;
    }),
    "</table>",
    ...(problems.length === 0 ? [] : [list(problems)]),
    "<p>Policies in force, from the record on that names them:</p>",
    list([...inForce, ...(earlierPolicies > 0 ? [`and ${earlierPolicies} earlier ones`] : [])], "none on record"),
    "<p>Checkpoints on record, the latest of each chain; their signatures were not checked:</p>",
    list(notes, "none on record"),
  ];
}

function framework(
  { id, framework: name, version, source, retrieved, note, controls }: ReportedFramework,
  report: Report,
): string[] {
  const from = `<a href="${html(source)}" rel="noreferrer">${html(source)}</a>`;
  return [
    `<h2>${html(name)} ${html(version)}</h2>`,
    `<p>Mapping <code>${html(id)}</code>; ids and titles from ${from}, ${html(retrieved)}. ${html(note ?? "")}</p>`,
    `<p>${controls.length} controls. ${html(summaryOf(controls.map((it) => it.state)))}.</p>`,
    ...controls.flatMap((it) => control(it, report)),
  ];
}

function control(
  { id, title, about, state, evidence, covers, notCovered }: ReportedControl,
  { checks }: Report,
): string[] {
  const own = checks.filter((it) => evidence.includes(it.id));
  return [
    `<h3>${html(id)} ${html(title ?? "")}</h3>`,
    ...(about === undefined ? [] : [`<p>${html(about)}</p>`]),
    `<p>${stateOf(state)}</p>`,
    ...(covers === undefined ? [] : [`<p>Evidence can show: ${html(covers)}</p>`]),
    `<p>Not covered: ${html(notCovered)}</p>`,
    ...(own.length === 0 ? [] : [list(own.map((it) => `${checkText(it)} ${link(it.id)}${examples(firstOf(it))}`))]),
  ];
}

function check(it: ReportedCheck): string[] {
  return [`<h3 id="${html(it.id)}">${html(it.id)}</h3>`, `<p>${checkText(it)}</p>`, examples(it.examples)];
}

function checkText({ looksFor, state, counts }: ReportedCheck): string {
  const text = countsOf(counts);
  return `${html(looksFor)} ${stateOf(state)}${text === "" ? "" : ` (${html(text)})`}`;
}

/** The latest evidence, or the first contradiction. */
function firstOf({ state, examples: all }: ReportedCheck): readonly Example[] {
  return state === "contradicted" ? all.slice(0, 1) : all.slice(-1);
}

function examples(all: readonly Example[]): string {
  return all.length === 0 ? "" : list(all.map((it) => `${html(it.text)} ${place(it)}`));
}

function place(example: Omit<Example, "text">): string {
  const at = placeOf({ ...example, text: "" });
  return `<span class="place">${html(at)}${example.hash === undefined ? "" : ` <code>${html(example.hash)}</code>`}</span>`;
}

function link(id: string): string {
  return `<a href="#${html(id)}">${html(id)}</a>`;
}

function stateOf(state: ControlState): string {
  return stateText(state, STATE_WORDS[state]);
}

function stateText(state: ControlState, text: string): string {
  return `<span class="state ${state}">${html(text)}</span>`;
}

function list(items: readonly string[], none = ""): string {
  const all = items.length === 0 && none !== "" ? [none] : items;
  return `<ul>${all.map((it) => `<li>${it}</li>`).join("\n")}</ul>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as it may stand in an element or in a quoted attribute. */
function html(text: string): string {
  return text.replaceAll(/[&<>"']/g, (it) => ENTITIES[it] ?? "");
}
