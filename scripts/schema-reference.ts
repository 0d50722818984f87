import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { manifestSchema } from "../src/policy/assemble.ts";
import { CHANNELS } from "../src/policy/decision.ts";
import { profileSchema } from "../src/policy/profile.ts";
import { SCHEMA } from "../src/policy/schema.ts";
import { testsSchema } from "../src/policy/tests.ts";
import { actionsIn, type attributesOf, commentsIn, entitiesIn } from "./schema-cedar.ts";
import { keysOf, row } from "./schema-keys.ts";

const ROOT = join(import.meta.dirname, "..");
const PAGE = join(ROOT, "docs", "policy-schema.md");

/** What stands in the schemas, as docs/policy-schema.md: made anew by `npm run docs:schema`, and a test fails when it is stale. */
export function schemaReference(): string {
  const comments = commentsIn(SCHEMA);
  const attributeTable = (of: string, attributes: ReturnType<typeof attributesOf>) => [
    "| fact | type | |",
    "|---|---|---|",
    ...attributes.map(({ name, type, optional }) =>
      row([`\`${name}\``, `${type}${optional ? ", optional" : ""}`, comments.ofAttribute(of, name)]),
    ),
    "",
  ];
  const entities = entitiesIn(SCHEMA).flatMap(({ name, parents, attributes }) => [
    `### \`${name}\``,
    "",
    ...[comments.of(name), parents.length > 0 ? `Lies in: ${parents.map((it) => `\`${it}\``).join(", ")}.` : ""]
      .filter((it) => it !== "")
      .flatMap((it) => [it, ""]),
    ...(attributes.length > 0 ? attributeTable(name, attributes) : []),
  ]);
  const actions = actionsIn(SCHEMA).flatMap(({ name, resources, attributes }) => [
    `### \`${name}\``,
    "",
    `On ${resources.map((it) => `\`${it}\``).join(" or ")}. ${comments.of(name)}`.trim(),
    "",
    ...(attributes.length > 0 ? attributeTable(name, attributes) : ["No facts.", ""]),
  ]);
  return `${[
    "# Schema of policies",
    "",
    "Made from the source by `npm run docs:schema`. [policy.md](policy.md) teaches it; the [cookbook](policy-cookbook.md) uses it.",
    "",
    'Everything is in the namespace `Glovebox`: `Glovebox::Action::"exec"`, `Glovebox::Path::"/workspace"`. `Long` is a 64-bit integer. An optional fact has to',
    "be asked for before it is read: `context has mode && context.mode == 420`. A `Path`, a `Host` and a `Package` lie in what is above them: `resource in …`.",
    "",
    "## Entities",
    "",
    ...entities,
    "## Actions",
    "",
    "The context of each. A tool has an action of its own name; `connect` is what a program in the sandbox does, and `installPackage` is both.",
    "",
    ...actions,
    ...ANNOTATIONS,
    ...keyTable("`profile.yaml`", profileSchema, {
      "": "profile.ts",
      "egress.": "egress.ts",
      "packages.": "packages.ts",
      "mounts[]": "mount.ts",
      "secrets[]": "secret.ts",
    }),
    ...keyTable("`bundle.yaml`", manifestSchema, { "": "assemble.ts" }),
    ...keyTable("`tests.yaml`", testsSchema, { "": "tests.ts" }),
  ].join("\n")}`;
}

const ANNOTATIONS = [
  "## Annotations",
  "",
  "| annotation | on | |",
  "|---|---|---|",
  row(['`@id("name")`', "any", "The policy's name: `file.cedar#name`. Without it, its number in the file, from 0."]),
  row(['`@reason("…")`', "forbid, where it is required; permit", "Read by people and models who are refused."]),
  row(['`@outcome("ask")`', "forbid", "A person may lift it, for one exact call."]),
  row([
    `\`@channels("…")\``,
    "forbid that asks",
    `The only ways that are enough: ${CHANNELS.map((it) => `\`${it}\``).join(", ")}, separated by spaces or commas.`,
  ]),
  row(['`@mode("shadow")`', "any", "It is evaluated for the record, and decides nothing."]),
  "",
];

function keyTable(title: string, schema: z.ZodType, files: Readonly<Record<string, string>>): string[] {
  const text = (file: string) => readFileSync(join(ROOT, "src", "policy", file), "utf8");
  const sources = new Map(Object.entries(files).map(([below, file]) => [below, text(file)]));
  const json = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return [
    `## ${title}`,
    "",
    "| key | value | left out | |",
    "|---|---|---|---|",
    ...keysOf(json, sources).map(({ key, value, initial, comment }) => row([`\`${key}\``, value, initial, comment])),
    "",
  ];
}

if (import.meta.main) writeFileSync(PAGE, schemaReference());
