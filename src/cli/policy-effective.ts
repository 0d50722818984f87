import type { Command } from "commander";
import pc from "picocolors";
import { grantsOf } from "../egress/gate.ts";
import { printable } from "../lib/text.ts";
import { alone } from "../policy/decide.ts";
import { effectiveKeys, unusualPolicies } from "../policy/effective.ts";
import { checkEnrolment } from "../policy/enrolment.ts";
import type { LoadPorts } from "../policy/load.ts";
import { type LoadedLayer, loadPolicy } from "../policy/load-policy.ts";
import { loadSettings } from "../settings.ts";
import type { SettingsOptions } from "../settings-places.ts";
import { answer } from "./policy-answer.ts";
import type { Configured, PolicyContext } from "./policy-context.ts";

interface Options extends SettingsOptions {
  readonly dataDir?: string;
  readonly json?: boolean;
}

/** `glovebox policy effective`: what all layers come to. */
export function addEffective(command: Command, context: PolicyContext): void {
  const { configured } = context;
  if (!configured) return;
  command
    .command("effective")
    .description("show what is in force on this computer: the layers, and what they come to")
    .option("--policy <dir>", "the user's bundle (env GLOVEBOX_POLICY)")
    .option("--config <file>", "the user's glovebox.yaml (env GLOVEBOX_CONFIG)")
    .option("--data-dir <dir>", "data directory of the gateway (env GLOVEBOX_DATA_DIR)")
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      `
Every layer has to permit what is done; docs/policy-layers.md tells how their profiles become one.
Exit codes: 0 it can be in force, 2 it can't, and a gateway would not start.

Examples:
  $ glovebox policy effective
  $ glovebox policy effective --policy ./my-policy --json`,
    )
    .action((options: Options) => answer(async () => effective(options, await context.load(), configured)));
}

async function effective({ json, dataDir, ...options }: Options, load: LoadPorts, configured: Configured) {
  const settings = await loadSettings(configured.settings(options));
  const dataDirectory = configured.dataDirectory(dataDir);
  await checkEnrolment(dataDirectory, settings.organisation);
  const loaded = await loadPolicy(settings.layers, { load, fetch: configured.fetch(dataDirectory) });
  const known = {
    ...(settings.organisation !== undefined && { organisation: settings.organisation }),
    digest: loaded.policy.identity.digest,
    layers: loaded.sources.map(shown),
    profile: effectiveKeys(loaded.merged),
    ...unusualPolicies(loaded),
    warnings: [...settings.warnings, ...loaded.warnings],
  };
  if (json) console.log(JSON.stringify(known, null, 2));
  else for (const line of linesOf(known)) console.log(line);
  return true;
}

function shown({ name: layer, bundle, origin, statedIn }: LoadedLayer) {
  const { name, version, digest } = bundle.identity;
  const packages = bundle.profile.packages?.allow.map((it) => it.text) ?? [];
  const { mode, narrows } = bundle;
  return {
    layer,
    name,
    version,
    digest,
    origin,
    statedIn,
    mode,
    narrows,
    hosts: grantsOf(alone(bundle, "")),
    packages,
  };
}

interface Known extends ReturnType<typeof unusualPolicies> {
  readonly organisation?: string;
  readonly layers: readonly ReturnType<typeof shown>[];
  readonly profile: ReturnType<typeof effectiveKeys>;
  readonly warnings: readonly string[];
}

function* linesOf({ organisation, layers, profile, asks, shadow, warnings }: Known): Generator<string> {
  const colour = pc.createColors(process.stdout.isTTY === true);
  if (organisation !== undefined) yield `this computer is enrolled by ${printable(organisation)}`;
  yield colour.bold("layers, all of which have to permit:");
  for (const { layer, name, version, digest, origin, statedIn, mode, narrows, hosts, packages } of layers) {
    const how = mode === "shadow" ? ", in shadow mode: decides nothing" : narrows ? ", only narrows" : "";
    yield `  ${layer.padEnd(12)}  ${name} ${version}${how}`;
    yield colour.dim(`    ${digest}`);
    yield colour.dim(`    ${printable(origin)}, by ${printable(statedIn)}`);
    if (hosts.length > 0) yield `    hosts: ${printable(hosts.join(", "), 4_096)}`;
    if (packages.length > 0) yield `    packages: ${printable(packages.join(", "), 4_096)}`;
  }
  yield colour.bold("profile:");
  const width = Math.max(...profile.map((it) => it.key.length));
  for (const { key, value, layer } of profile) {
    const from = layer === "default" ? colour.dim(layer) : layer;
    yield `  ${printable(key).padEnd(width)}  ${from}${" ".repeat(12 - layer.length)}  ${printable(JSON.stringify(value), 4_096)}`;
  }
  for (const [title, policies] of [
    ["policies that ask a person:", asks],
    ["policies in shadow mode:", shadow],
  ] as const) {
    if (policies.length > 0) yield colour.bold(title);
    for (const { layer, id, reason } of policies) {
      yield `  ${layer.padEnd(12)}  ${id}${reason === undefined ? "" : `: ${printable(reason)}`}`;
    }
  }
  for (const warning of warnings) yield colour.yellow(`warning: ${printable(warning)}`);
}
