import { z } from "zod";
import { explainPolicy } from "../capability/explain-policy.ts";
import { CONNECT } from "../policy/connect.ts";
import { OUTCOMES } from "../policy/decision.ts";
import { PACKAGE } from "../policy/describe-package.ts";
import { inputSchema } from "./parameters.ts";
import type { SkillCapability } from "./skill.ts";
import type { TestPort } from "./test-port.ts";
import type { SkillTest, TestNeed } from "./tests-schema.ts";
import { packageText } from "./written.ts";

/** What the answer to `useSkill` says of one capability. */
export interface Lack {
  readonly need: string;
  readonly why: string;
}

const explained = z.object({
  outcome: z.enum(OUTCOMES).optional(),
  problem: z.string().optional(),
  policies: z.array(z.object({ id: z.string(), effect: z.string(), reason: z.string().optional() })),
  problems: z.array(z.string()),
});

/** How `missingOf` begins what it says. */
const BEGINNINGS = { packages: "the package ", hosts: "the host ", secrets: "the secret " } as const;

/** Why a test is left out: what it says it needs, and policy does not give. `undefined` when all of it is given. */
export async function unmetNeed(
  test: Pick<SkillTest, "needs" | "arguments">,
  capability: SkillCapability,
  lacks: readonly Lack[],
  port: TestPort,
): Promise<string | undefined> {
  for (const need of test.needs) {
    const lack =
      typeof need === "string"
        ? (lacks.find((it) => it.need.startsWith(BEGINNINGS[need])) ??
          (need === "hosts" ? await lackOfHosts(test.arguments, capability, port) : undefined))
        : await lackOfPackage(need, port);
    if (lack) return lackText(lack);
  }
  return undefined;
}

export function lackText({ need, why }: Lack): string {
  return `${need}: ${why}`;
}

async function lackOfPackage(need: Exclude<TestNeed, string>, port: TestPort): Promise<Lack | undefined> {
  const { ecosystem, name, version } = need;
  const why = await refusalOf(PACKAGE, { ecosystem, name, ...(version !== undefined && { version }) }, port);
  return why === undefined ? undefined : { need: `the package ${packageText(need)}`, why };
}

/** Of hosts that only the arguments name. */
async function lackOfHosts(
  args: SkillTest["arguments"],
  { parameters, needs }: SkillCapability,
  port: TestPort,
): Promise<Lack | undefined> {
  const values = inputSchema(parameters).safeParse(args).data ?? {};
  for (const name of needs.hostsOf) {
    const value = values[name];
    if (typeof value !== "string") continue;
    const {
      hostname,
      port: stated,
      protocol,
    } = new URL(/^https?:\/\//.test(value) ? value : `https://${hostIn(value)}`);
    const scheme = protocol === "http:" ? "http" : "https";
    const would = { host: hostname, scheme, port: stated === "" ? (scheme === "http" ? 80 : 443) : Number(stated) };
    const why = await refusalOf(CONNECT, would, port);
    if (why !== undefined) return { need: `the host ${hostname}`, why };
  }
  return undefined;
}

/** A bare IPv6 address as a URL has it. */
function hostIn(text: string): string {
  return /^[^[].*:.*:/.test(text) ? `[${text}]` : text;
}

/** Whoever may not ask finds out by the test itself. */
async function refusalOf(tool: string, args: object, port: TestPort): Promise<string | undefined> {
  const answer = await port.call(explainPolicy.name, { tool, arguments: args });
  if (answer.kind !== "done") return undefined;
  const { outcome, problem, policies, problems } = explained.parse(answer.outcome.result);
  if (outcome === "permit") return undefined;
  const reasons = policies.map((it) => it.reason ?? `${it.effect} by ${it.id}`);
  if (outcome === "ask") return "policy leaves it to a person, each time";
  return problem ?? ([...problems, ...reasons].join("; ") || "no policy permits it");
}
