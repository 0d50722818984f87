import type { createColors } from "picocolors";
import { printable } from "../lib/text.ts";
import { visible } from "../lib/visible.ts";
import type { FreeText, Review, ReviewedCapability, ReviewedStep } from "../skill/review.ts";
import type { ReviewedFile } from "../skill/review-files.ts";
import type { HiddenCharacter } from "../skill/review-text.ts";
import type { Parameter, ParameterType } from "../skill/skill.ts";

type Colours = ReturnType<typeof createColors>;

const MAX_CHARS = 4_096;
const MAX_COMMENT_CHARS = 200;

/** A review for people to read. */
export function reviewText(review: Review, colour: Colours): string {
  const attention = [
    ...stateLines(review),
    ...review.freeText.filter((it) => it.pattern === undefined).map(freeTextLine),
    ...unpinnedPackages(review).map((it) => `${shown(it)} is needed in whatever version there is`),
    ...review.hidden.map(hiddenLine),
    ...review.comments.map(
      ({ file, line, column, text }) =>
        `${shown(file)}:${line}:${column}: a comment, which a model reads and a page does not show: ${shown(text, MAX_COMMENT_CHARS)}`,
    ),
  ];
  return [
    colour.bold(`${shown(review.name)} ${shown(review.version)}`),
    colour.dim(review.digest),
    ...review.capabilities.flatMap((it) => capabilityLines(it, colour)),
    "files",
    ...review.files.map((it) => fileLine(it, colour)),
    ...(attention.length === 0 ? [] : [colour.yellow("look at")]),
    ...attention.map((it) => `  ${it}`),
  ].join("\n");
}

/** Of a file, on one line: what can't be seen stands as `\u{202e}`. */
export function shown(text: string, maxChars = MAX_CHARS): string {
  return printable(visible(text), maxChars);
}

function capabilityLines(it: ReviewedCapability, colour: Colours): readonly string[] {
  const effects = [
    it.readOnly ? "changes nothing" : "changes things",
    ...(it.destructive ? ["destroys things"] : []),
    ...(it.openWorld ? ["reaches outside"] : []),
  ];
  return [
    `${colour.bold(shown(it.tool))}: ${shown(it.title)} (${effects.join(", ")})`,
    ...it.parameters.map((one) => `  takes  ${parameterText(one)}`),
    ...it.steps.map((one) => `  runs   ${stepText(one)}`),
    `  gives  ${[it.output.kind, ...it.output.paths.map((path) => shown(JSON.stringify(path)))].join(" ")}, within ${it.timeoutMs / 1_000} s`,
    ...needsLines(it.needs),
  ];
}

function parameterText({ name, type, required, ...rest }: Parameter): string {
  const given = rest.default === undefined ? "" : `, default ${JSON.stringify(rest.default)}`;
  return shown(`${name}: ${typeText(type)}${required ? ", required" : given}`);
}

function typeText(type: ParameterType): string {
  switch (type.kind) {
    case "string":
      return `text of ${type.minLength} to ${type.maxLength}${type.pattern === undefined ? "" : ` like /${type.pattern}/u`}`;
    case "enum":
      return `one of ${JSON.stringify(type.values)}`;
    case "integer":
      return `${type.minimum} to ${type.maximum}`;
    case "strings":
      return `up to ${type.maxItems} texts of up to ${type.maxLength}`;
    case "path":
    case "host":
    case "url":
    case "boolean":
      return type.kind;
  }
}

/** As capabilities.yaml may have it: what stands between quotes is one argument. */
function stepText({ argv, stdin, cwd, when, success }: ReviewedStep): string {
  const args = argv.map((it) =>
    it.when === undefined ? JSON.stringify(it.text) : `{"arg": ${JSON.stringify(it.text)}, "when": "${it.when}"}`,
  );
  const besides = [
    ...(stdin === undefined ? [] : [`with the input ${JSON.stringify(stdin)}`]),
    ...(cwd === undefined ? [] : [`in ${JSON.stringify(cwd)}`]),
    ...(when === undefined ? [] : [`when ${when} is given`]),
    ...(success.length === 1 && success[0] === 0 ? [] : [`where exit codes ${success.join(", ")} are no failure`]),
  ];
  return shown([`[${args.join(", ")}]`, ...besides].join(" "));
}

function needsLines({
  programs,
  packages,
  hosts,
  hostsOf,
  secrets,
  memoryMiB,
}: ReviewedCapability["needs"]): readonly string[] {
  const all: readonly (readonly [string, readonly string[]])[] = [
    ["programs", programs],
    ["packages", packages],
    ["hosts", hosts],
    ["the host that a parameter names:", hostsOf],
    ["secrets", secrets],
    ["memory", memoryMiB === undefined ? [] : [`${memoryMiB} MiB`]],
  ];
  const stated = all.filter(([, names]) => names.length > 0);
  return stated.map(([what, names]) => `  needs  ${what} ${shown(names.join(", "))}`);
}

function fileLine({ path, bytes, executable, binary, referred }: ReviewedFile, colour: Colours): string {
  const marks = [
    ...(executable ? ["executable"] : []),
    ...(binary ? ["binary: nobody can read what it does"] : []),
    ...(referred ? [] : ["nothing refers to it"]),
  ];
  return `  ${shown(path)}  ${bytes} bytes${marks.length === 0 ? "" : `  ${colour.yellow(marks.join(", "))}`}`;
}

function stateLines({ state, version, locked }: Review): readonly string[] {
  if (!locked || state === "pinned") return [];
  const same = locked.version === version ? ", under the same version" : "";
  return [`it is not what was locked${same}: ${locked.version} ${locked.digest}`];
}

function freeTextLine({ tool, parameter, maxLength, arguments: places }: FreeText): string {
  const where = places.map((it) => JSON.stringify(it)).join(", ");
  return shown(`${tool}: ${parameter}, any text of up to ${maxLength}, reaches ${where}`);
}

/** What is reviewed pins nothing of them. */
function unpinnedPackages({ capabilities }: Review): readonly string[] {
  const all = new Set(capabilities.flatMap((it) => it.needs.packages));
  return [...all].filter((it) => /^[a-z]+:.[^@]*$/.test(it));
}

function hiddenLine({ file, codePoint, count, places, field }: HiddenCharacter): string {
  const [first] = places;
  const at = first ? `:${first.line}:${first.column}` : field === undefined ? "" : ` ${field}`;
  return `${shown(file + at)}: ${codePoint}, which nobody sees${count === 1 ? "" : `, ${count} times`}`;
}
