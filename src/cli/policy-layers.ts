import { resolve } from "node:path";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { policyOf } from "../policy/decide.ts";
import { LAYERS, type LayerName, type Policy, type PolicyLayer } from "../policy/layer.ts";
import { type LoadPorts, loadBundle } from "../policy/load.ts";
import { profileSchema } from "../policy/profile.ts";

export interface LayerOptions {
  /** Folders of bundles that stand where they say they do, or with the user. */
  readonly bundle: readonly string[];
  /** `name=folder`. */
  readonly layer: readonly string[];
}

/**
 * What the bundles would decide together, as if they were in force: one that is in shadow mode as a whole, too.
 * @throws GatewayError POLICY_INVALID, POLICY_UNREADABLE; INVALID_ARGUMENTS for layers that can't stand together
 */
export async function policyOfOptions(options: LayerOptions, ports: LoadPorts): Promise<Policy> {
  const layers = await layersOfOptions(options, ports);
  const enforced = layers.map((it) => ({ ...it, bundle: { ...it.bundle, mode: "enforce" as const } }));
  return policyOf(enforced, profileSchema.parse({}));
}

/** The layers as they are, outermost first; at least one. @throws GatewayError as `policyOfOptions` */
export async function layersOfOptions(options: LayerOptions, ports: LoadPorts): Promise<readonly PolicyLayer[]> {
  const named = options.layer.map(readLayer);
  const asked = [...options.bundle.map((directory) => ({ name: undefined, directory })), ...named];
  if (asked.length === 0) throw new GatewayError("INVALID_ARGUMENTS", "name a policy with `--bundle` or `--layer`");
  const layers = await Promise.all(asked.map(({ name, directory }) => loadLayer(name, directory, ports)));
  for (const name of LAYERS) {
    const same = layers.filter((it) => it.name === name);
    if (same.length < 2) continue;
    const origins = same.map((it) => `\`${printable(it.origin)}\``).join(" and ");
    const message = `${origins} both stand with the ${name}; say where each does with \`--layer <name>=<dir>\``;
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  return layers.toSorted((a, b) => LAYERS.indexOf(a.name) - LAYERS.indexOf(b.name));
}

function readLayer(text: string): { readonly name: LayerName; readonly directory: string } {
  const [, given, directory = ""] = /^([a-z]+)=(.+)$/s.exec(text) ?? [];
  const name = LAYERS.find((it) => it === given);
  if (name) return { name, directory };
  const message = `\`${printable(text, 200)}\` is no layer: write \`<name>=<dir>\` with one of ${LAYERS.join(", ")}`;
  throw new GatewayError("INVALID_ARGUMENTS", message);
}

async function loadLayer(name: LayerName | undefined, directory: string, ports: LoadPorts): Promise<PolicyLayer> {
  const bundle = await loadBundle(resolve(directory), ports);
  if (name !== undefined && bundle.layer !== undefined && bundle.layer !== name) {
    const message = `\`${printable(directory)}\` is made for the ${bundle.layer}, not for the ${name}`;
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  return { name: name ?? bundle.layer ?? "user", bundle, origin: directory };
}
