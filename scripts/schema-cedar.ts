import { schemaToJson } from "@cedar-policy/cedar-wasm/nodejs";
import { z } from "zod";

interface Attribute {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
}

const type = z.looseObject({
  type: z.string().optional(),
  name: z.string().optional(),
  element: z.unknown().optional(),
  required: z.boolean().optional(),
});
const record = z.looseObject({ attributes: z.record(z.string(), type).default({}) });
const namespace = z.looseObject({
  commonTypes: z.record(z.string(), record).default({}),
  entityTypes: z.record(
    z.string(),
    z.looseObject({ memberOfTypes: z.array(z.string()).default([]), shape: record.optional() }),
  ),
  actions: z.record(
    z.string(),
    z.looseObject({ appliesTo: z.looseObject({ resourceTypes: z.array(z.string()), context: record.optional() }) }),
  ),
});

function parsed(schema: string): z.output<typeof namespace> {
  const json = schemaToJson(schema);
  if (json.type === "failure") throw new Error(json.errors.map((it) => it.message).join("; "));
  return namespace.parse(json.json["Glovebox"]);
}

/** Entities and the records that they are made of, in the schema's order. */
export function entitiesIn(schema: string) {
  const { commonTypes, entityTypes } = parsed(schema);
  const entities = Object.entries(entityTypes).map(([name, { memberOfTypes, shape }]) => ({
    name,
    parents: memberOfTypes,
    attributes: attributesOf(shape),
  }));
  const records = Object.entries(commonTypes).map(([name, it]) => ({
    name,
    parents: [],
    attributes: attributesOf(it),
  }));
  return inOrder(schema, [...entities, ...records]);
}

export function actionsIn(schema: string) {
  const actions = Object.entries(parsed(schema).actions).map(([name, { appliesTo }]) => ({
    name,
    resources: appliesTo.resourceTypes,
    attributes: attributesOf(appliesTo.context),
  }));
  return inOrder(schema, actions);
}

export function attributesOf(of: z.output<typeof record> | undefined): readonly Attribute[] {
  return Object.entries(of?.attributes ?? {}).map(([name, it]) => ({
    name,
    type: typeName(it),
    optional: it.required === false,
  }));
}

function typeName(of: unknown): string {
  const { type: kind, name, element } = type.parse(of);
  return kind === "Set" ? `set of ${typeName(element)}` : (name ?? kind ?? "");
}

/** Cedar's JSON has them sorted by name; those who read the schema read it in its own order. */
function inOrder<T extends { readonly name: string }>(schema: string, all: readonly T[]): T[] {
  const at = (it: T) => schema.search(new RegExp(`\\b(entity|type) ${it.name}\\b|action "${it.name}"`));
  return all.toSorted((a, b) => at(a) - at(b));
}

/** What the comments of the schema's text say: they stand above what they are about, a line of attributes or a declaration. */
export function commentsIn(schema: string) {
  const declared = new Map<string, string>();
  const attributes = new Map<string, string>();
  let said: string[] = [];
  let inside = "";
  for (const line of schema.split("\n").map((it) => it.trim())) {
    const [, comment] = /^\/\/ ?(.*)$/.exec(line) ?? [];
    if (comment !== undefined) {
      said.push(comment);
      continue;
    }
    const text = said.join(" ");
    said = [];
    const declaration = /^(?:entity|type|action) "?(\w+)"?/.exec(line)?.[1];
    if (declaration !== undefined) {
      inside = declaration;
      declared.set(inside, text);
    } else if (text !== "") {
      for (const [, name = ""] of line.matchAll(/(\w+)\??: ?\w/g)) {
        attributes.set(`${inside}.${name}`, text);
        // The next action with the same fact need not say it again.
        if (!attributes.has(name)) attributes.set(name, text);
      }
    }
  }
  return {
    of: (name: string) => declared.get(name) ?? "",
    ofAttribute: (of: string, name: string) => attributes.get(`${of}.${name}`) ?? attributes.get(name) ?? "",
  };
}
