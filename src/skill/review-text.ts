import { invisibleIn } from "../lib/visible.ts";
import { type Place, placeAt } from "../policy/bundle.ts";
import type { Skill } from "./skill.ts";
import { templateText } from "./written.ts";

/** A character that a model reads, and a person does not see or sees elsewhere. */
export interface HiddenCharacter {
  readonly file: string;
  /** `U+202E`. */
  readonly codePoint: string;
  readonly count: number;
  /** The first few. */
  readonly places: readonly Place[];
  /** What of the file says it, where it is written as an escape and so stands nowhere in the text. */
  readonly field?: string;
}

/** What is not shown where Markdown is, and is read by a model. */
export interface HiddenComment extends Place {
  readonly file: string;
  readonly text: string;
}

const MAX_PLACES = 20;
const MAX_COMMENTS = 100;
/** Made of such characters, and seen. */
const EMOJI = /\p{RGI_Emoji}/gv;

/** Those of all text files, and those that only appear when escapes are read. */
export function hiddenCharacters(skill: Skill, texts: ReadonlyMap<string, string>): readonly HiddenCharacter[] {
  const raw = [...texts].flatMap(([file, text]) =>
    [...hiddenIn(text)].map(([codePoint, offsets]) => {
      const places = offsets.slice(0, MAX_PLACES).map((it) => placeAt(text, it));
      return { file, codePoint, count: offsets.length, places };
    }),
  );
  const seen = new Set(raw.map((it) => `${it.file} ${it.codePoint}`));
  const read = statedTexts(skill).flatMap(({ file, field, text }) =>
    [...hiddenIn(text)]
      .filter(([codePoint]) => !seen.has(`${file} ${codePoint}`))
      .map(([codePoint, offsets]) => ({ file, codePoint, count: offsets.length, places: [], field })),
  );
  return [...raw, ...read];
}

export function hiddenComments(texts: ReadonlyMap<string, string>): readonly HiddenComment[] {
  return [...texts]
    .filter(([file]) => /\.(md|markdown)$/i.test(file))
    .flatMap(([file, text]) =>
      [...text.matchAll(/<!--(.*?)(?:-->|$)/gs).take(MAX_COMMENTS)].map(({ 1: comment = "", index }) => ({
        file,
        ...placeAt(text, index),
        text: comment.trim(),
      })),
    );
}

/** By code point; Windows' line ends are ordinary. */
function hiddenIn(text: string): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>();
  const seen = text.replace(EMOJI, (it) => " ".repeat(it.length)).replaceAll("\r\n", " \n");
  for (const { offset, codePoint } of invisibleIn(seen)) {
    const name = `U+${codePoint.toString(16).toUpperCase().padStart(4, "0")}`;
    const offsets = found.get(name);
    if (offsets) offsets.push(offset);
    else found.set(name, [offset]);
  }
  return found;
}

/** Everything that reaches a model or a program by its value and not by its spelling. */
function statedTexts(
  skill: Skill,
): readonly { readonly file: string; readonly field: string; readonly text: string }[] {
  const head = { description: skill.description, license: skill.license, compatibility: skill.compatibility };
  const file = "capabilities.yaml";
  return [
    ...Object.entries(head).map(([field, text = ""]) => ({ file: "SKILL.md", field, text })),
    ...skill.capabilities.flatMap(({ name, title, description, examples, parameters, steps }) => [
      { file, field: `${name}.title`, text: title },
      { file, field: `${name}.description`, text: description },
      ...examples.map((text, index) => ({ file, field: `${name}.examples.${index}`, text })),
      ...parameters.map((it) => ({
        file,
        field: `${name}.parameters.${it.name}`,
        text: [it.description, ...(it.type.kind === "enum" ? it.type.values : []), it.default ?? ""].flat().join("\n"),
      })),
      ...steps.map(({ argv, stdin = [] }, index) => ({
        file,
        field: `${name}.steps.${index}`,
        text: [...argv.map((it) => it.template), stdin].map(templateText).join("\n"),
      })),
    ]),
  ];
}
