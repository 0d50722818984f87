import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import pc from "picocolors";
import { z } from "zod";
import { type History, type HistoryFilter, historyOf, PASSED_OVER } from "../audit/history.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { addChange, type ChangeGroup, type ChangeGroups } from "../policy/change-groups.ts";
import type { LoadPorts } from "../policy/load.ts";
import { ASSUMPTIONS } from "../policy/past.ts";
import { wordsOf } from "../policy/past-words.ts";
import { type Change, emptyTally, type SimulationTally, simulate } from "../policy/simulate.ts";
import { print, readable } from "./audit-io.ts";
import { jsonLine, oneLine } from "./audit-text.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";
import { type LayerOptions, policyOfOptions } from "./policy-layers.ts";
import { several } from "./several.ts";

interface Options extends LayerOptions {
  readonly replay: string;
  readonly session?: string;
  readonly since?: number;
  readonly until?: number;
  readonly json?: boolean;
}

/** `glovebox policy simulate`: what a policy would have decided otherwise. */
export function addSimulate(command: Command, context: PolicyContext): void {
  command
    .command("simulate")
    .description("decide an audit log again by a policy, and show every decision that changes; nothing is executed")
    .requiredOption("--replay <log>", "an audit directory, one chain's directory, or one .jsonl file of it")
    .option("--bundle <dir>", "the policy; several stand in the layers that their bundle.yaml names", several, [])
    .option("--layer <name=dir>", "a layer of the policy: organisation, team, project or user", several, [])
    .option("--session <id>", "of one session only")
    .option("--since <time>", "only what was decided since then: 2026-11-21 or 2026-11-21T09:30:00Z", parseMoment)
    .option("--until <time>", "only what was decided before then", parseMoment)
    .option("--json", "one change a line as JSON, and the totals in the last line")
    .addHelpText(
      "after",
      `
Exit codes: 0 nothing changes, 1 something does, 2 the question could not be answered.

Examples:
  $ glovebox policy simulate --replay ~/.local/share/glovebox/audit --bundle ./next
  $ glovebox policy simulate --replay audit --layer organisation=./acme --layer user=policies/default
  $ glovebox policy simulate --replay audit --bundle ./next --since 2026-11-01 --json | jq 'select(.to == "deny")'`,
    )
    .action((options: Options) => answer(async () => run(options, await context.load())));
}

async function run(options: Options, context: LoadPorts): Promise<boolean> {
  const policy = await policyOfOptions(options, context);
  const path = resolve(options.replay);
  const tally = emptyTally();
  const history = historyOf(path, filterOf(options));
  const changes = simulate(policy, history.decisions, tally);
  const startedMs = performance.now();
  const groups: ChangeGroups = { groups: new Map(), others: 0 };
  for (;;) {
    const next = await readable(path, changes.next());
    if (next.done) break;
    if (!options.json) addChange(groups, next.value);
    else if (!(await print([jsonText(changeOf(next.value))]))) return false;
  }
  const seconds = Math.max(1e-3, (performance.now() - startedMs) / 1_000);
  // A wrong path must not look like a policy that changes nothing.
  if (tally.decided === 0) throw new GatewayError("INVALID_ARGUMENTS", nothingText(path, history));
  const perSecond = Math.round(tally.decided / seconds);
  await print(
    options.json
      ? [jsonText({ summary: summaryOf(tally, history), bundle: policy.identity, perSecond })]
      : [...groupLines(groups), ...totalLines(tally, history, seconds)],
  );
  return tally.changed === 0;
}

/** With every character that a terminal might act on escaped. */
function jsonText(value: object): string {
  return jsonLine({ text: JSON.stringify(value) });
}

function changeOf({ past, now }: Change) {
  const { time, callId, sessionId, decided, policies, assumed, request } = past;
  const was = {
    time,
    callId,
    sessionId,
    action: request.action,
    what: wordsOf(past),
    from: decided,
    fromPolicies: policies,
    fromBundle: past.bundle?.digest,
  };
  return { ...was, to: now.outcome, policies: now.policies, problems: now.problems, assumed };
}

function summaryOf({ assumed, ...counts }: SimulationTally, { reading }: History) {
  const passedOver = Object.fromEntries(reading.passedOver);
  return { ...counts, assumed: Object.fromEntries(assumed), passedOver, damagedLines: reading.damaged };
}

function groupLines({ groups, others }: ChangeGroups): string[] {
  const sorted = [...groups.values()].toSorted((a, b) => b.count - a.count);
  const lines = sorted.flatMap(linesOf);
  return others === 0 ? lines : [...lines, `${others} × other kinds of change: \`--json\` lists them`];
}

function linesOf({ kind, count, from, now, examples }: ChangeGroup): string[] {
  const colour = pc.createColors(process.stdout.isTTY === true);
  const coloured = (outcome: string) =>
    outcome === "permit" ? colour.green(outcome) : outcome === "ask" ? colour.yellow(outcome) : colour.red(outcome);
  const why = [
    ...now.policies.map(({ id, layer, reason }) => {
      const named = `${layer === undefined ? "" : `${layer}: `}${oneLine(id, 200)}`;
      return reason === undefined ? named : `${named} (${oneLine(reason, 300)})`;
    }),
    ...now.problems.map((it) => oneLine(it, 300)),
  ];
  const by = why.length === 0 ? ": no policy permits it" : ` by ${why.join(", ")}`;
  const shown = examples.map(({ time, callId, words }) =>
    colour.dim(`    ${time} ${oneLine(callId ?? "-", 60)} ${words}`),
  );
  const rest = count > examples.length ? [colour.dim(`    … and ${count - examples.length} more`)] : [];
  return [`${count} × ${kind}: ${coloured(from)} → ${coloured(now.outcome)}${by}`, ...shown, ...rest];
}

function totalLines(tally: SimulationTally, { reading }: History, seconds: number): string[] {
  const { decided, changed, withoutRequest, withoutUsage, assumed } = tally;
  // Of a few, it is how long a program takes to start.
  const rate = seconds > 1 ? ` (${Math.round(decided / seconds)}/s)` : "";
  const lines = [`${decided} decisions made again${rate}, ${changed} changed`];
  const note = (count: number, text: string) => count > 0 && lines.push(`  ${count} ${text}`);
  note(withoutUsage, "decided as if nothing had been used before: the log does not have what was");
  for (const [what, count] of assumed) note(count, `decided with an assumption: ${ASSUMPTIONS[what]}`);
  note(withoutRequest, "not decided: the policy asks for the method or path of a connection, and the log has none");
  return [...lines, ...passedOverLines({ reading })];
}

/** What of the log could not be used, by reason: it is never left out silently. */
export function passedOverLines({ reading }: Pick<History, "reading">): string[] {
  const lines = [...reading.passedOver].map(([why, count]) => `  ${count} passed over: ${PASSED_OVER[why]}`);
  if (reading.damaged > 0) lines.push(`  ${reading.damaged} lines are damaged: \`glovebox audit verify\` says where`);
  return lines;
}

export function nothingText(path: string, history: Pick<History, "reading">): string {
  return [`\`${printable(path)}\` has no decision that could be made again`, ...passedOverLines(history)].join("\n");
}

function filterOf({ session, since, until }: Options): HistoryFilter {
  return {
    ...(session !== undefined && { session }),
    ...(since !== undefined && { sinceMs: since }),
    ...(until !== undefined && { untilMs: until }),
  };
}

const momentSchema = z.union([z.iso.date(), z.iso.datetime({ offset: true })]);

function parseMoment(text: string): number {
  const parsed = momentSchema.safeParse(text);
  if (parsed.success) return Date.parse(parsed.data);
  throw new InvalidArgumentError("give a date (2026-11-21, which begins at 0:00 UTC) or a time (2026-11-21T09:30:00Z)");
}
