import { z } from "zod";
import type { Problem } from "../policy/bundle.ts";
import { readYaml } from "../policy/yaml.ts";
import { illegibleLine, lines } from "./legible.ts";
import type { Skill } from "./skill.ts";

export const SKILL_FILE = "SKILL.md";

const MAX_NAME_CHARS = 64;

/** What SKILL.md says, by the Agent Skills format. */
export type Introduction = Pick<Skill, "name" | "description" | "license" | "compatibility" | "instructions">;

const frontmatter = z.strictObject({
  name: z
    .string()
    .max(MAX_NAME_CHARS)
    .regex(
      /^[a-z0-9]+(-[a-z0-9]+)*$/,
      "must be made of a-z, 0-9 and single hyphens between them, e.g. `python-data`: rename the skill and its folder",
    ),
  description: lines(1024),
  license: lines(1024).optional(),
  compatibility: lines(500).optional(),
  /** Anybody's own; nothing here reads it. */
  metadata: z.record(z.string(), z.string("must be text: put it in quotes")).optional(),
  /** Accepted, since other programs read it, and ignored: what is allowed is policy's to say. */
  "allowed-tools": z.union([z.string(), z.array(z.string())]).optional(),
});

/** Reads SKILL.md of the folder of this name. */
export function readIntroduction(
  text: string,
  folder: string,
): { readonly introduction: Introduction } | { readonly problems: readonly Problem[] } {
  const refuse = (problem: Omit<Problem, "file">) => ({ problems: [{ file: SKILL_FILE, ...problem }] });
  const unix = text.replaceAll("\r\n", "\n");
  const [, head, instructions] =
    /^---[ \t]*\n((?:(?!---[ \t]*(?:\n|$)).*\n)*)---[ \t]*(?:\n([\s\S]*))?$/.exec(unix) ?? [];
  if (head === undefined) {
    const fix = "begin the file with a line `---`, the lines `name: …` and `description: …`, and another line `---`";
    return refuse({ line: 1, column: 1, message: "has no front matter", fix });
  }
  const hidden = illegibleLine(unix);
  if (hidden !== undefined) {
    return refuse({ line: hidden, column: 1, message: "holds characters that nobody sees", fix: "remove them" });
  }
  // An empty line in place of the first `---`, so that places are those of the file.
  const read = readYaml(SKILL_FILE, `\n${head}`, frontmatter);
  if ("problems" in read) return read;
  const { name, description, license, compatibility } = read.value;
  if (name !== folder) {
    const message = `the skill is named \`${name}\` and its folder is not`;
    return refuse({ ...read.placeOf(["name"]), message, fix: "give both the same name" });
  }
  return {
    introduction: {
      name,
      description,
      ...(license === undefined ? {} : { license }),
      ...(compatibility === undefined ? {} : { compatibility }),
      instructions: (instructions ?? "").trim(),
    },
  };
}
