import { z } from "zod";
import { ECOSYSTEMS } from "../ecosystems/ecosystem.ts";
import { readHostPattern } from "../host-pattern.ts";
import { readPackagePattern } from "../package-pattern.ts";

export const BASES = ["locked-down", "default", "development"] as const;
export const SHELL_ANSWERS = ["yes", "no", "ask"] as const;

/** `host` or `host:port`, as `egress.allow` takes it. */
const host = z.string().transform((text, context) => {
  const [, name = "", port] = /^(.*?)(?::(\d{1,5}))?$/s.exec(text) ?? [];
  const read = readHostPattern(name);
  const fits = port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
  if ("pattern" in read && fits) return text;
  context.addIssue(`\`${text}\` ${"problem" in read ? read.problem : "has no such port"}`);
  return z.NEVER;
});

/** `npm` stands for all of its packages. */
const packages = z.string().transform((text, context) => {
  const pattern = ECOSYSTEMS.some((it) => it === text) ? `${text}:*` : text;
  const read = readPackagePattern(pattern);
  if ("pattern" in read) return pattern;
  context.addIssue(`\`${text}\` ${read.problem}`);
  return z.NEVER;
});

const several = <T extends z.ZodType<string>>(one: T) =>
  z
    .array(one)
    .max(100)
    .transform((it) => [...new Set(it)]);

/** What `glovebox policy new` asks. */
export const answersSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "must be lower-case letters, digits and dashes"),
  base: z.enum(BASES),
  /** Names as PATH finds them; of none, the base's own choice. */
  programs: several(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/, "must be a program's name, without a path")),
  hosts: several(host),
  packages: several(packages),
  shell: z.enum(SHELL_ANSWERS),
});
export type Answers = z.output<typeof answersSchema>;
