import { z } from "zod";
import { plain } from "../capability/fields.ts";
import { line } from "./legible.ts";
import { fieldOf } from "./parameters.ts";
import { patternProblem } from "./pattern.ts";
import type { Parameter, ParameterType } from "./skill.ts";
import { listed, type Tell } from "./tell.ts";

const MAX_PARAMETERS = 32;
/** Of text that is an argument; standard input takes more. */
const MAX_TEXT_CHARS = 1_048_576;
/** A pattern's time may grow with a power of the length. */
const MAX_PATTERN_TEXT_CHARS = 1_000;

/** Names that a call or its request to policy has besides the parameters, or a template. */
const TAKEN: ReadonlySet<string> = new Set(["skill", "within", "sessionId"]);

const property = z.strictObject({
  type: z.enum(["string", "integer", "boolean", "array"]),
  description: line(500),
  default: z.union([z.string(), z.int(), z.boolean(), z.array(z.string())]).optional(),
  enum: z.array(plain(200).min(1)).min(1).max(100).optional(),
  format: z.enum(["path", "host", "url"]).optional(),
  minLength: z.int().min(0).max(MAX_TEXT_CHARS).optional(),
  maxLength: z.int().min(1).max(MAX_TEXT_CHARS).optional(),
  pattern: z.string().min(1).optional(),
  minimum: z.int().optional(),
  maximum: z.int().optional(),
  items: z.strictObject({ type: z.literal("string"), maxLength: z.int().min(1).max(MAX_TEXT_CHARS) }).optional(),
  maxItems: z.int().min(1).max(1_000).optional(),
});

/** The part of JSON Schema in which parameters are written. What is wrong with it beyond its shape `readParameters` says. */
export const parametersSchema = z.strictObject({
  type: z.literal("object"),
  required: z.array(z.string()).default([]),
  properties: z
    .unknown()
    // A record leaves it out in silence.
    .refine((it) => typeof it !== "object" || it === null || !Object.hasOwn(it, "__proto__"), "has a key `__proto__`")
    .pipe(z.record(z.string().regex(/^[a-z][A-Za-z0-9]{0,63}$/, "must be a name in camelCase"), property))
    .refine((it) => Object.keys(it).length <= MAX_PARAMETERS, `must have at most ${MAX_PARAMETERS} parameters`),
});

type Property = z.output<typeof property>;
type Key = keyof Property;

/** What each kind must have besides `type` and `description`, and may have. */
const KEYS: Readonly<Record<ParameterType["kind"], { must: readonly Key[]; may: readonly Key[] }>> = {
  string: { must: ["maxLength"], may: ["minLength", "pattern"] },
  enum: { must: ["enum"], may: [] },
  path: { must: ["format"], may: [] },
  host: { must: ["format"], may: [] },
  url: { must: ["format"], may: [] },
  integer: { must: ["minimum", "maximum"], may: [] },
  boolean: { must: [], may: [] },
  strings: { must: ["items", "maxItems"], may: [] },
};
const COMMON: readonly Key[] = ["type", "description", "default"];

/** Tells of everything that is wrong; what could be read is there all the same, so that the rest can be looked at too. */
export function readParameters(
  { required, properties }: z.output<typeof parametersSchema>,
  at: readonly PropertyKey[],
  tell: Tell,
): Parameter[] {
  for (const [index, name] of required.entries()) {
    const here = [...at, "required", index];
    if (!Object.hasOwn(properties, name)) tell(here, `\`${name}\` is no parameter`, "correct it, or remove it");
    else if (required.indexOf(name) !== index) tell(here, `\`${name}\` is required twice`, "remove one of them");
    else if (properties[name]?.default !== undefined) {
      tell(here, `\`${name}\` is required and has a default`, "remove one of the two");
    }
  }
  return Object.entries(properties).map(([name, it]) => {
    const here = [...at, "properties", name];
    if (TAKEN.has(name) || name in {}) tell(here, `the name \`${name}\` is taken`, "give it another name");
    const type = typeOf(name, it, here, tell);
    const initial = it.default;
    if (initial !== undefined) {
      const checked = fieldOf(type).safeParse(initial);
      const problem = checked.error?.issues.map((issue) => issue.message).join("; ");
      if (problem !== undefined) {
        tell(
          [...here, "default"],
          `the default of \`${name}\` is none of its values: ${problem}`,
          "correct one of them",
        );
      }
    }
    return {
      name,
      description: it.description,
      type,
      required: required.includes(name),
      ...(initial === undefined ? {} : { default: initial }),
    };
  });
}

function typeOf(name: string, it: Property, here: readonly PropertyKey[], tell: Tell): ParameterType {
  const kind = kindOf(it);
  const { must, may } = KEYS[kind];
  for (const key of Object.keys(it) as Key[]) {
    if (it[key] === undefined || [...COMMON, ...must, ...may].includes(key)) continue;
    tell([...here, key], `\`${key}\` means nothing for \`${name}\`, which is ${WORDS[kind]}`, "remove it");
  }
  const missing = must.filter((key) => it[key] === undefined);
  if (missing.length > 0) {
    tell(here, `\`${name}\` has no ${listed(missing)}`, `${WORDS[kind]} must have ${listed(must)}`);
  }
  switch (kind) {
    case "string":
      return textType(name, it, here, tell);
    case "integer": {
      const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = it;
      if (minimum > maximum) tell([...here, "minimum"], "`minimum` is above `maximum`", "exchange them");
      return { kind, minimum, maximum };
    }
    case "enum": {
      const values = it.enum ?? [];
      for (const [index, value] of values.entries()) {
        if (values.indexOf(value) === index) continue;
        tell([...here, "enum", index], `\`${value}\` is there twice`, "remove one of them");
      }
      return { kind, values };
    }
    case "strings":
      return { kind, maxItems: it.maxItems ?? 1, maxLength: it.items?.maxLength ?? 1 };
    default:
      return { kind };
  }
}

function textType(name: string, it: Property, here: readonly PropertyKey[], tell: Tell): ParameterType {
  const { minLength = 0, maxLength = MAX_TEXT_CHARS, pattern } = it;
  if (minLength > maxLength) tell([...here, "minLength"], "`minLength` is above `maxLength`", "exchange them");
  if (pattern === undefined) return { kind: "string", minLength, maxLength };
  const problem = patternProblem(pattern);
  if (problem !== undefined) {
    const fix = "write a simpler one: repeat characters and classes rather than groups";
    tell([...here, "pattern"], `the pattern of \`${name}\` ${problem}`, fix);
    return { kind: "string", minLength, maxLength };
  }
  if (it.maxLength !== undefined && maxLength > MAX_PATTERN_TEXT_CHARS) {
    const fix = "lower it, or do without the pattern";
    tell([...here, "maxLength"], `text with a pattern has at most ${MAX_PATTERN_TEXT_CHARS} characters`, fix);
  }
  return { kind: "string", minLength, maxLength, pattern };
}

function kindOf({ type, enum: values, format }: Property): ParameterType["kind"] {
  switch (type) {
    case "string":
      return values ? "enum" : (format ?? "string");
    case "array":
      return "strings";
    default:
      return type;
  }
}

const WORDS: Readonly<Record<ParameterType["kind"], string>> = {
  string: "text",
  enum: "one of several texts",
  path: "a path",
  host: "a host",
  url: "a URL",
  integer: "an integer",
  boolean: "a boolean",
  strings: "a list of texts",
};
