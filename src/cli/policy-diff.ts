import { resolve } from "node:path";
import type { Command } from "commander";
import { diffLines } from "diff";
import pc from "picocolors";
import { grantsOf } from "../egress/gate.ts";
import { printable } from "../lib/text.ts";
import { alone } from "../policy/decide.ts";
import { type BundleDiff, diffBundles, isSame, type NamesDiff } from "../policy/diff/bundles.ts";
import type { PolicyDiff } from "../policy/diff/policies.ts";
import type { KeyDiff } from "../policy/diff/profile.ts";
import type { LoadPorts } from "../policy/load.ts";
import { loadBundle } from "../policy/load.ts";
import { print } from "./audit-io.ts";
import { oneLine } from "./audit-text.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";

/** `glovebox policy diff`: what means something else in another bundle. */
export function addDiff(command: Command, context: PolicyContext): void {
  command
    .command("diff")
    .argument("<old>", "folder of a bundle")
    .argument("<new>", "folder of another one")
    .description("say what differs between two bundles in meaning; comments and layout don't count")
    .option("--json", "print the differences as JSON")
    .addHelpText(
      "after",
      `
Exit codes: 0 they mean the same, 1 they differ, 2 one of them could not be read.

Examples:
  $ glovebox policy diff policies/default policies/locked-down
  $ glovebox policy diff ./in-force ./next --json | jq '.profile[] | select(.effect == "wider")'`,
    )
    .action((before: string, after: string, options: { json?: boolean }) =>
      answer(async () => run(before, after, options, await context.load())),
    );
}

async function run(before: string, after: string, { json }: { json?: boolean }, context: LoadPorts): Promise<boolean> {
  const [old, now] = await Promise.all([before, after].map((it) => loadBundle(resolve(it), context)));
  if (!old || !now) return false;
  const diff = diffBundles(old, now, (it) => grantsOf(alone(it, "")));
  if (json) await print([JSON.stringify({ same: isSame(diff), ...diff }, null, 2)]);
  else await print(isSame(diff) ? ["they mean the same"] : diffText(diff));
  return isSame(diff);
}

function diffText({ bundle, profile, policies, tests, hosts }: BundleDiff): string[] {
  const colour = pc.createColors(process.stdout.isTTY === true);
  const added = (text: string) => colour.green(`+ ${text}`);
  const removed = (text: string) => colour.red(`- ${text}`);
  const name = (text: string) => oneLine(text, 300);
  const listed = (it: NamesDiff) => [
    ...it.added.map((n) => added(name(n))),
    ...it.removed.map((n) => removed(name(n))),
  ];
  const key = ({ key, from, to, effect }: KeyDiff) => {
    const shown = effect === undefined ? "" : effect === "wider" ? colour.yellow(` (${effect})`) : ` (${effect})`;
    return `~ ${name(key)}: ${value(from)} → ${value(to)}${shown}`;
  };
  const policy = (it: PolicyDiff): string[] => {
    if (it.kind === "moved") return [`> ${name(it.id)}, which was ${name(it.from ?? "")}`];
    const what = it.what.length === 0 ? "" : `: ${it.what.map(name).join(", ")}`;
    const signs = { added, removed, changed: (text: string) => `~ ${text}${what}` };
    const lines = diffLines(`${it.before ?? ""}\n`, `${it.after ?? ""}\n`).flatMap((part) => {
      const shown = part.value.split("\n").filter((line) => line !== "");
      const sign = part.added ? added : part.removed ? removed : (text: string) => `  ${text}`;
      return shown.map((line) => `    ${sign(printable(line, 1_000))}`);
    });
    return [signs[it.kind](name(it.id)), ...lines];
  };
  return [
    ...section("bundle", bundle.map(key)),
    ...section("policies", policies.flatMap(policy)),
    ...section("profile", profile.map(key)),
    ...section("hosts granted", listed(hosts)),
    ...section("tests", [...listed(tests), ...tests.changed.map((it) => `~ ${name(it)}`)]),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((it) => `  ${it}`)];
}

function value(it: unknown): string {
  return it === undefined ? "(absent)" : oneLine(JSON.stringify(it), 500);
}
