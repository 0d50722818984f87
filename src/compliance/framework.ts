import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { type Problem, problemText } from "../policy/bundle.ts";
import { readYaml } from "../policy/yaml.ts";

const FILE = /^([a-z0-9][a-z0-9.-]{0,39})\.yaml$/;

const sentence = z.string().trim().min(1).max(1_000);

const control = z
  .strictObject({
    /** As the framework has it. */
    id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9. -]{0,39}$/, "must be an id such as AC-3 or A.6.2.8"),
    /** The framework's own; absent where it has none, or none that may be repeated. */
    title: sentence.optional(),
    /** What it is about, in our words. */
    about: sentence.optional(),
    /** Ids of checks. */
    evidence: z.array(z.string()).readonly(),
    /** What of the control the log of Glovebox shows. */
    covers: sentence.optional(),
    /** What it does not. */
    notCovered: sentence,
  })
  .readonly()
  .refine((it) => it.title !== undefined || it.about !== undefined, "needs a title, or says what it is about")
  .refine((it) => it.evidence.length > 0 === (it.covers !== undefined), {
    path: ["covers"],
    message: "says what the evidence shows, and is absent where there is none",
  });

const mappingSchema = z.strictObject({
  format: z.literal(1),
  framework: sentence,
  version: sentence,
  /** The framework's own page. */
  source: z.url({ protocol: /^https$/ }),
  retrieved: z.iso.date(),
  note: sentence.optional(),
  controls: z.array(control).min(1).readonly(),
});

export type Control = z.infer<typeof control>;

/** A framework, and which of our checks say something to its controls. */
export interface Framework extends z.infer<typeof mappingSchema> {
  /** The file's name without its ending: how a person asks for it. */
  readonly id: string;
}

/** Reads one mapping strictly; problems have their places. */
export function readFramework(
  file: string,
  text: string,
  checkIds: ReadonlySet<string>,
): Framework | { readonly problems: readonly Problem[] } {
  const [, id] = FILE.exec(file) ?? [];
  if (id === undefined)
    return { problems: [{ file, message: "a mapping's name is small letters, digits, dots and hyphens, and .yaml" }] };
  const read = readYaml(file, text, mappingSchema);
  if ("problems" in read) return read;
  const { value, placeOf } = read;
  const at = (...path: PropertyKey[]) => ({ file, ...placeOf(["controls", ...path]) });
  const problems: Problem[] = [];
  const ids = new Set<string>();
  for (const [number, one] of value.controls.entries()) {
    if (ids.has(one.id)) problems.push({ ...at(number, "id"), message: `control ${one.id} is there already` });
    ids.add(one.id);
    for (const [position, check] of one.evidence.entries()) {
      const place = at(number, "evidence", position);
      if (!checkIds.has(check)) problems.push({ ...place, message: `there is no check \`${check}\`` });
      else if (one.evidence.indexOf(check) < position)
        problems.push({ ...place, message: `\`${check}\` is there already` });
    }
  }
  return problems.length > 0 ? { problems } : { id, ...value };
}

/**
 * Every mapping of a folder, by its name.
 * @throws GatewayError CONFIG_INVALID with the place of every problem
 */
export async function loadFrameworks(directory: string, checkIds: ReadonlySet<string>): Promise<readonly Framework[]> {
  const frameworks: Framework[] = [];
  const problems: Problem[] = [];
  for (const file of (await readdir(directory)).filter((it) => it.endsWith(".yaml")).sort()) {
    const read = readFramework(file, await readFile(join(directory, file), "utf8"), checkIds);
    if ("problems" in read) problems.push(...read.problems);
    else frameworks.push(read);
  }
  if (problems.length > 0) throw new GatewayError("CONFIG_INVALID", problems.map(problemText).join("\n"));
  return frameworks;
}

/** Those that are asked for, each once; `all` is every one. @throws GatewayError INVALID_ARGUMENTS for one that is not there */
export function chosenFrameworks(all: readonly Framework[], ids: readonly string[]): readonly Framework[] {
  const known = all.map((it) => it.id);
  const unknown = ids.find((it) => it !== "all" && !known.includes(it));
  if (unknown !== undefined) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `there is no framework \`${unknown}\`; there are ${known.join(", ")}, and all`,
    );
  }
  return ids.includes("all") ? all : all.filter((it) => ids.includes(it.id));
}
