import { z } from "zod";
import { ECOSYSTEMS } from "../policy/ecosystems/ecosystem.ts";
import { readGroupLine } from "../policy/egress.ts";
import { readPackagePattern } from "../policy/package-pattern.ts";
import type { Needs, Parameter } from "./skill.ts";
import { listed, type Tell } from "./tell.ts";

type Package = Needs["packages"][number];

/** `pip:polars@1.35.2`, or without a version. */
export const packageNeed = z.string().transform((text, context): Package => {
  const refuse = (message: string) => {
    context.addIssue(`\`${text}\` ${message}`);
    return z.NEVER;
  };
  const read = readPackagePattern(text);
  if ("problem" in read) return refuse(read.problem);
  const [, tool, name = "", version] = /^([a-z]+):(.[^@]*)(?:@(.+))?$/s.exec(text) ?? [];
  const ecosystem = ECOSYSTEMS.find((it) => it === tool);
  if (ecosystem === undefined || name.endsWith("*")) return refuse("is more than one package: name each");
  return { ecosystem, name, ...(version === undefined ? {} : { version }) };
});

const host = z.string().superRefine((text, context) => {
  const read = readGroupLine(text);
  if ("problem" in read) context.addIssue(read.problem);
});

const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .max(64)
    .refine((it) => new Set(it.map((each) => JSON.stringify(each))).size === it.length, "names something twice")
    .default([]);

export const needsSchema = z.strictObject({
  programs: list(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, "must be the name of a program")),
  packages: list(packageNeed),
  /** As a profile's `egress.allow` has them. */
  hosts: list(host),
  hostsOf: list(z.string()),
  secrets: list(z.string().regex(/^[A-Z_][A-Z0-9_]{0,63}$/, "must be capitals, digits and underscores, at most 64")),
  memoryMiB: z.int().min(1).max(1_048_576).optional(),
});

type Stated = z.output<typeof needsSchema>;

/** What all capabilities need, and what one needs besides; of memory, the more. `hostsOf` of all means those parameters that the one has. */
export function joinNeeds(all: Stated, own: Stated, parameters: readonly Parameter[]): Needs {
  const joined = <T>(one: readonly T[], other: readonly T[]): readonly T[] => [
    ...new Map([...one, ...other].map((it) => [JSON.stringify(it), it])).values(),
  ];
  const memory = [all.memoryMiB, own.memoryMiB].filter((it) => it !== undefined);
  return {
    programs: joined(all.programs, own.programs),
    packages: joined(all.packages, own.packages),
    hosts: joined(all.hosts, own.hosts),
    hostsOf: joined(all.hostsOf, own.hostsOf).filter((name) => parameters.some((it) => it.name === name)),
    secrets: joined(all.secrets, own.secrets),
    ...(memory.length === 0 ? {} : { memoryMiB: Math.max(...memory) }),
  };
}

/** Parameters whose host is needed have one. */
export function checkHostsOf(
  names: readonly string[],
  parameters: readonly Parameter[],
  at: readonly PropertyKey[],
  tell: Tell,
): void {
  for (const [index, name] of names.entries()) {
    const named = parameters.filter((it) => it.name === name);
    if (named.length > 0 && named.every(({ type }) => type.kind === "host" || type.kind === "url")) continue;
    const known = parameters.filter(({ type }) => type.kind === "host" || type.kind === "url").map((it) => it.name);
    const fix =
      known.length === 0 ? "remove it, or name the hosts at `hosts`" : `name one of ${listed([...new Set(known)])}`;
    tell([...at, "hostsOf", index], `\`${name}\` is no parameter of format host or url`, fix);
  }
}
