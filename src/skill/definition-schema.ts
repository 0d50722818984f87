import { valid } from "semver";
import { z } from "zod";
import { plain } from "../capability/fields.ts";
import { line, lines } from "./legible.ts";
import { needsSchema } from "./needs.ts";
import { parametersSchema } from "./read-parameters.ts";

const MAX_TIMEOUT_MS = 3_600_000;
const TIMEOUT_MS = 120_000;

const VERSION = 'must be a semantic version in quotes, e.g. "1.0.0"';

/** A template as it is written. */
const template = plain(8_192);
const name = z.string().regex(/^[a-z][A-Za-z0-9]{0,62}$/, "must be a name in camelCase");

/** `--file={path}`, or with the parameter without which it is left out. */
const argument = z.preprocess(
  (it) => (typeof it === "string" ? { arg: it } : it),
  z.strictObject({ arg: template, when: z.string().optional() }),
);

const step = z.strictObject({
  argv: z.array(argument).min(1).max(64),
  stdin: plain(65_536).optional(),
  cwd: template.min(1).optional(),
  success: z.array(z.int().min(0).max(255)).min(1).max(256).default([0]),
  when: z.string().optional(),
});

const output = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("text") }),
  z.strictObject({ kind: z.literal("json") }),
  z.strictObject({ kind: z.literal("image"), path: template.min(1) }),
  z.strictObject({ kind: z.literal("files"), paths: z.array(template.min(1)).min(1).max(16) }),
]);

const capability = z
  .strictObject({
    name,
    title: line(100),
    description: lines(1024),
    examples: z.array(line(300)).min(3).max(12),
    readOnly: z.boolean().default(false),
    destructive: z.boolean().default(false),
    openWorld: z.boolean().default(false),
    timeoutMs: z.int().min(1000).max(MAX_TIMEOUT_MS).default(TIMEOUT_MS),
    needs: needsSchema.prefault({}),
    parameters: parametersSchema.prefault({ type: "object", properties: {} }),
    steps: z.array(step).min(1).max(16),
    output: output.prefault({ kind: "text" }),
  })
  .refine((it) => !(it.readOnly && it.destructive), { error: "cannot be both", path: ["destructive"] });

/** The shape of capabilities.yaml. What is wrong beyond its shape `readDefinition` says. */
export const definitionSchema = z.strictObject({
  version: z.string(VERSION).refine((it) => valid(it) === it, VERSION),
  needs: needsSchema.prefault({}),
  capabilities: z.array(capability).min(1).max(32),
});

export type StatedCapability = z.output<typeof capability>;
export type StatedStep = z.output<typeof step>;
export type StatedOutput = z.output<typeof output>;
