import type { Needs, Template } from "./skill.ts";

/** A template as capabilities.yaml has it: `--file={path}`. */
export function templateText(template: Template): string {
  return template
    .map((part) => {
      if ("text" in part) return part.text.replaceAll("{", "{{");
      return "parameter" in part ? `{${part.parameter}}` : `{${part.builtin}}`;
    })
    .join("");
}

/** As `needs.packages` has it: `pip:polars@1.35.2`. */
export function packageText({ ecosystem, name, version }: Needs["packages"][number]): string {
  return `${ecosystem}:${name}${version === undefined ? "" : `@${version}`}`;
}
