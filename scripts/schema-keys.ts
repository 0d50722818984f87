/** The parts of JSON Schema that zod writes. */
interface Json {
  readonly type?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Json>>;
  readonly items?: Json | boolean;
  readonly additionalProperties?: Json | boolean;
  readonly anyOf?: readonly Json[];
  readonly oneOf?: readonly Json[];
  readonly required?: readonly string[];
}

interface Key {
  readonly key: string;
  readonly value: string;
  readonly initial: string;
  readonly comment: string;
}

/** By the keys that they stand below, texts of TypeScript in which comments are looked up; the longest that fits is taken. */
export type Sources = ReadonlyMap<string, string>;

/** A row of a table; what would end a cell is escaped. */
export function row(cells: readonly string[]): string {
  return `|${cells.map((it) => (it === "" ? " |" : ` ${it.replaceAll("|", "\\|")} |`)).join("")}`;
}

/** Of alternatives: what a key means in one of them it may not mean in another. */
const NO_SOURCES: Sources = new Map();

/** Every key that a person may write, with the comment above it in its source. */
export function keysOf(schema: object, sources: Sources, prefix = ""): readonly Key[] {
  const {
    properties = {},
    items,
    additionalProperties,
    anyOf = [],
    oneOf = [],
    required: needed = [],
  } = schema as Json;
  const below = [
    ...(typeof items === "object" ? keysOf(items, sources, `${prefix}[]`) : []),
    ...(typeof additionalProperties === "object" ? keysOf(additionalProperties, sources, `${prefix}.*`) : []),
    ...[...anyOf, ...oneOf].flatMap((it) => keysOf(it, NO_SOURCES, prefix)),
  ];
  const own = Object.entries(properties).flatMap(([name, it]) => {
    const key = [...(prefix === "" ? [] : [prefix]), name].join(".").replace(/^\[\]\./, "");
    const initial = needed.includes(name) ? "required" : it.default === undefined ? "" : code(it.default);
    const keys = keysOf(it, sources, key);
    const value = kindOf(it);
    // What has keys of its own is told of by them.
    const isGroup = value === "map" && it.properties !== undefined;
    const comment = commentOf(key, name, sources);
    return isGroup && comment === "" ? keys : [{ key, value, initial: isGroup ? "" : initial, comment }, ...keys];
  });
  const seen = new Set<string>();
  return [...own, ...below].filter(({ key, value }) => {
    const isNew = !seen.has(`${key} ${value}`);
    seen.add(`${key} ${value}`);
    return isNew;
  });
}

function kindOf(it: Json): string {
  if (it.const !== undefined) return code(it.const);
  if (it.enum) return it.enum.map(code).join(", ");
  const choices = [...(it.anyOf ?? []), ...(it.oneOf ?? [])];
  if (choices.length > 0) return [...new Set(choices.map(kindOf))].join(", or ");
  if (it.type === "array")
    return typeof it.items === "object" && it.items.type ? `list of ${kindOf(it.items)}` : "list";
  if (it.type === "object") return "map";
  const { minimum, maximum } = it;
  const ends = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? "or more" : `to ${maximum}`;
  const range = minimum === undefined ? "" : `, ${minimum} ${ends}`;
  return typeof it.type === "string" ? `${it.type}${range}` : "text";
}

function code(value: unknown): string {
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

/** Of a key that stands in its source with one comment. */
function commentOf(key: string, name: string, sources: Sources): string {
  const above = [...sources.keys()].filter((it) => key.startsWith(it)).toSorted((a, b) => b.length - a.length);
  const source = sources.get(above[0] ?? "") ?? "";
  const pattern = new RegExp(`/\\*\\*((?:(?!\\*/)[^])*?)\\*/\\s*${name}(?::|,$)`, "gm");
  const [comment, ...others] = [...source.matchAll(pattern)].map(([, text = ""]) => text);
  return comment === undefined || others.length > 0 ? "" : comment.replaceAll(/\s*\n\s*\*?\s*/g, " ").trim();
}
