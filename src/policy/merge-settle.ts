import { z } from "zod";
import type { LayerName } from "./layer.ts";
import type { MergedStatements, MergeProblem, StatedProfile } from "./merge-profile.ts";
import { registrySecretProblem } from "./profile.ts";
import { profileSecrets } from "./profile-secrets.ts";

const registries = z.record(z.string(), z.array(z.looseObject({ url: z.url(), secret: z.string().optional() })));
const egress = z.looseObject({
  hosts: z.record(z.string(), z.string()).optional(),
  private: z.array(z.string()).optional(),
});
const statements = z.looseObject({
  egress: egress.optional(),
  packages: z.looseObject({ registries: registries.optional() }).optional(),
  secrets: profileSecrets.default([]),
});

/** What keys mean to each other: merged each by itself, two of them could come to more than any layer states, or to nonsense. */
export function settle(merged: MergedStatements, layers: readonly StatedProfile[]): MergedStatements {
  const { egress, packages, secrets } = statements.parse(merged.stated);
  const origin = new Map(merged.origin);
  const problems = [...merged.problems];
  const say = (path: string, message: string): MergeProblem => ({ path, layer: origin.get(path) ?? "user", message });

  // An inner layer must not say where a name leads that an outer one lets lead into the private network.
  const kept = Object.entries(egress?.hosts ?? {}).filter(([name]) => {
    const path = `egress.hosts.${name}`;
    if (!egress?.private?.includes(name) || !isPrivateFurtherOut(name, origin.get(path), layers)) return true;
    problems.push(say(path, "does not hold: a layer further out lets the name lead into the private network"));
    origin.delete(path);
    return false;
  });
  // Without its secret a registry refuses; without the registry, another one would be asked for the same names.
  const asked = Object.entries(packages?.registries ?? {}).map(([ecosystem, sources]) => {
    const path = `packages.registries.${ecosystem}`;
    const without = sources.map(({ secret, ...source }) => {
      const problem = secret === undefined ? undefined : registrySecretProblem(new URL(source.url), secrets, secret);
      if (problem !== undefined) problems.push(say(path, `${source.url} is asked without its secret: ${problem}`));
      return secret === undefined || problem !== undefined ? source : { ...source, secret };
    });
    return [ecosystem, without] as const;
  });
  const stated = {
    ...merged.stated,
    ...(egress && { egress: { ...egress, ...(egress.hosts && { hosts: Object.fromEntries(kept) }) } }),
    ...(packages && {
      packages: { ...packages, ...(packages.registries && { registries: Object.fromEntries(asked) }) },
    }),
  };
  return { stated, origin, problems };
}

const privateOf = z.looseObject({ egress: egress.optional() }).optional();

function isPrivateFurtherOut(name: string, from: LayerName | undefined, layers: readonly StatedProfile[]): boolean {
  const index = layers.findIndex((it) => it.name === from);
  const outer = index < 0 ? layers : layers.slice(0, index);
  return outer.some(({ stated }) => privateOf.parse(stated)?.egress?.private?.includes(name));
}
