import type { CallContext } from "../capability/capability.ts";
import { CONNECT } from "../policy/connect.ts";
import { PACKAGE } from "../policy/describe-package.ts";
import type { Skill, SkillCapability } from "./skill.ts";

/** What a skill needs and policy doesn't give, a line each, with the capabilities that it stands in the way of. */
export interface Missing {
  readonly need: string;
  readonly why: string;
  readonly capabilities: readonly string[];
}

type Ports = Pick<CallContext, "decide" | "profile">;

/**
 * Sets what a skill's capabilities need against what policy gives. Nothing is added to that: what is missing stays missing. Of hosts and packages
 * it is what policy says of an ordinary request; what it says of a real one can still be otherwise.
 */
export function missingOf({ capabilities }: Pick<Skill, "capabilities">, ports: Ports): readonly Missing[] {
  const found = new Map<string, { why: string; capabilities: string[] }>();
  for (const { name, needs } of capabilities) {
    for (const [need, why] of lacking(needs, ports)) {
      const known = found.get(need) ?? { why, capabilities: [] };
      found.set(need, known);
      known.capabilities.push(name);
    }
  }
  return [...found].map(([need, it]) => ({ need, ...it }));
}

function lacking(needs: SkillCapability["needs"], { decide, profile }: Ports): [string, string][] {
  const { hosts, packages, secrets, memoryMiB = 0 } = needs;
  const reason = (tool: string, args: object) => {
    const explained = decide(tool, args);
    if (!explained.valid) return explained.problem;
    const { outcome, policies } = explained.decision;
    if (outcome === "permit") return undefined;
    if (outcome === "ask") return "policy leaves it to a person, each time";
    return policies.map((it) => it.reason ?? `forbidden by ${it.id}`).join("; ") || "no policy permits it";
  };
  const decided = [
    ...hosts.map((it): [string, string | undefined] => [`the host ${it}`, reason(CONNECT, hostAndPort(it))]),
    ...packages.map(({ ecosystem, name, version }): [string, string | undefined] => {
      const of = `the package ${ecosystem}:${name}${version === undefined ? "" : `@${version}`}`;
      if (!profile.packages) return [of, "the profile permits no packages"];
      return [of, reason(PACKAGE, { ecosystem, name, ...(version !== undefined && { version }) })];
    }),
    ...secrets.map((it): [string, string | undefined] => {
      const isThere = profile.secrets.some((secret) => secret.name === it);
      return [`the secret ${it}`, isThere ? undefined : "the profile has none of this name"];
    }),
    [
      `${memoryMiB} MiB of memory`,
      profile.resources.memoryMiB < memoryMiB ? `the profile gives ${profile.resources.memoryMiB} MiB` : undefined,
    ] as [string, string | undefined],
  ];
  return decided.flatMap(([need, why]) => (why === undefined ? [] : [[need, why]]));
}

function hostAndPort(text: string): { host: string; port?: number } {
  const [, host = text, port] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
  return port === undefined ? { host } : { host, port: Number(port) };
}
