import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const attributeSchema = z.strictObject({
  /** A type of the dictionary, or an object's name. */
  type: z.string(),
  requirement: z.enum(["required", "recommended", "optional"]),
  object: z.boolean().optional(),
  array: z.boolean().optional(),
  profiles: z.array(z.string()).optional(),
  sibling: z.string().optional(),
  enum: z.record(z.string(), z.string()).optional(),
  deprecated: z.boolean().optional(),
});
const entitySchema = z.strictObject({
  caption: z.string(),
  attributes: z.record(z.string(), attributeSchema),
  constraints: z
    .strictObject({ at_least_one: z.array(z.string()).optional(), just_one: z.array(z.string()).optional() })
    .optional(),
  uid: z.number().optional(),
  category_uid: z.number().optional(),
  category_name: z.string().optional(),
  profiles: z.array(z.string()).optional(),
});
const schema = z.strictObject({
  version: z.string(),
  source: z.string(),
  types: z.record(
    z.string(),
    z.strictObject({
      type: z.string().optional(),
      regex: z.string().optional(),
      max_len: z.number().optional(),
      range: z.tuple([z.number(), z.number()]).optional(),
    }),
  ),
  classes: z.record(z.string(), entitySchema),
  objects: z.record(z.string(), entitySchema),
});
type Attribute = z.infer<typeof attributeSchema>;
type Entity = z.infer<typeof entitySchema>;
type Members = Readonly<Record<string, unknown>>;

export const OCSF = schema.parse(JSON.parse(readFileSync(join(import.meta.dirname, "schema-1.8.0.json"), "utf8")));
const classes = new Map(Object.values(OCSF.classes).map((it) => [it.uid, it]));

/** What is wrong with an event by the tables of its version; empty when nothing is. */
export function ocsfProblems(event: unknown): string[] {
  if (!isMembers(event)) return ["an event is an object"];
  const of = classes.get(Number(event["class_uid"]));
  if (!of) return [`class_uid: there is no class ${String(event["class_uid"])}`];
  const metadata = isMembers(event["metadata"]) ? event["metadata"] : {};
  const profiles = Array.isArray(metadata["profiles"]) ? metadata["profiles"].map(String) : [];
  const { class_uid: uid, category_uid: category, activity_id: activity, type_uid: type, class_name: name } = event;
  return [
    ...(metadata["version"] === OCSF.version ? [] : ["metadata.version: of another version"]),
    ...(category === of.category_uid ? [] : ["category_uid: not the class's"]),
    ...(name === of.caption ? [] : ["class_name: not the class's"]),
    ...(type === Number(uid) * 100 + Number(activity) ? [] : ["type_uid: not class_uid * 100 + activity_id"]),
    ...profiles.filter((it) => !of.profiles?.includes(it)).map((it) => `metadata.profiles: the class has no ${it}`),
    ...problemsOf(event, of, profiles, ""),
  ];
}

function problemsOf(value: Members, { attributes, constraints }: Entity, profiles: string[], at: string): string[] {
  const applies = (it: Attribute) => it.profiles === undefined || it.profiles.some((name) => profiles.includes(name));
  const missing = Object.entries(attributes)
    .filter(([name, it]) => it.requirement === "required" && applies(it) && !Object.hasOwn(value, name))
    .map(([name]) => `${at}${name}: is required`);
  const wrong = Object.entries(value).flatMap(([name, it]) => {
    const attribute = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
    const place = `${at}${name}`;
    if (!attribute) return [`${place}: there is no such attribute`];
    if (attribute.deprecated) return [`${place}: is deprecated`];
    if (!applies(attribute)) return [`${place}: none of its profiles applies (${attribute.profiles?.join(", ")})`];
    if (!attribute.array)
      return valueProblems(it, attribute, profiles, place).concat(siblingProblems(value, name, attribute, at));
    if (!Array.isArray(it)) return [`${place}: is no array`];
    return it.flatMap((item, index) => valueProblems(item, attribute, profiles, `${place}[${index}]`));
  });
  const has = (names: string[]) => names.filter((name) => Object.hasOwn(value, name)).length;
  const { at_least_one: any, just_one: one } = constraints ?? {};
  return [
    ...missing,
    ...wrong,
    ...(any && has(any) === 0 ? [`${at}: needs one of ${any.join(", ")}`] : []),
    ...(one && has(one) !== 1 ? [`${at}: needs just one of ${one.join(", ")}`] : []),
  ];
}

function valueProblems(value: unknown, attribute: Attribute, profiles: string[], at: string): string[] {
  if (attribute.enum && !Object.hasOwn(attribute.enum, String(value)))
    return [`${at}: ${String(value)} is none of its values`];
  if (!attribute.object) return scalarProblems(value, attribute.type, at);
  if (!isMembers(value)) return [`${at}: is no object`];
  // The one that is free in form.
  if (attribute.type === "object") return [];
  const of = OCSF.objects[attribute.type];
  return of ? problemsOf(value, of, profiles, `${at}.`) : [`${at}: the tables lack the object ${attribute.type}`];
}

/** Beside a number of an enumeration stands its caption; beside 99, what the source calls it. */
function siblingProblems(value: Members, name: string, { sibling, enum: captions }: Attribute, at: string): string[] {
  const caption = captions?.[String(value[name])];
  if (sibling === undefined || caption === undefined) return [];
  const said = value[sibling];
  // Of `type_uid`, 99 is one of the captions.
  if (value[name] === 99) return typeof said === "string" && said !== "" ? [] : [`${at}${sibling}: 99 needs a word`];
  return said === caption ? [] : [`${at}${sibling}: ${String(said)} is not ${caption}`];
}

function scalarProblems(value: unknown, name: string, at: string): string[] {
  const type = OCSF.types[name];
  if (!type) return [`${at}: there is no type ${name}`];
  const { type: base = name, regex, max_len: maxChars, range } = type;
  switch (base) {
    case "boolean_t":
      return typeof value === "boolean" ? [] : [`${at}: is no boolean`];
    case "integer_t":
    case "long_t":
      if (!Number.isSafeInteger(value)) return [`${at}: is no integer`];
      return range && (Number(value) < range[0] || Number(value) > range[1]) ? [`${at}: is out of range`] : [];
    case "float_t":
      return typeof value === "number" ? [] : [`${at}: is no number`];
    case "json_t":
      return value === undefined ? [`${at}: is nothing`] : [];
    default:
      if (typeof value !== "string") return [`${at}: is no string`];
      if (maxChars !== undefined && value.length > maxChars) return [`${at}: is too long`];
      return regex !== undefined && !new RegExp(regex).test(value) ? [`${at}: does not look like ${name}`] : [];
  }
}

function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
