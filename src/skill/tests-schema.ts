import { z } from "zod";
import { plain, unicode, WORKSPACE } from "../capability/fields.ts";
import { ERROR_CODES, type ErrorCode, GatewayError } from "../errors.ts";
import { normalisePath } from "../policy/facts.ts";
import { line } from "./legible.ts";
import { packageNeed } from "./needs.ts";

const MAX_TESTS = 200;
const MAX_CHARS = 1_048_576;

/** Below /workspace, which is emptied between tests: what a test finds elsewhere another one may have left there. */
const workspacePath = plain(4_095).transform((text, context) => {
  const path = normalised(text);
  if (path?.startsWith(`${WORKSPACE}/`)) return path;
  context.addIssue(`\`${text}\` is not below ${WORKSPACE}`);
  return z.NEVER;
});

const content = z.union([unicode(MAX_CHARS), z.strictObject({ base64: z.base64().max(MAX_CHARS) })], {
  error: "must be text, or `{ base64: … }`",
});

const files = legibleKeys()
  .pipe(z.record(z.string(), content))
  .transform((stated, context) =>
    Object.entries(stated).map(([path, it]) => {
      const at = workspacePath.safeParse(path);
      if (!at.success) context.addIssue({ code: "custom", path: [path], message: at.error.issues[0]?.message ?? "" });
      return { path: at.data ?? "", ...(typeof it === "string" ? { text: it } : it) };
    }),
  );

const codes = Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]];

const expectation = z
  .strictObject({
    exitCode: z.int().min(0).max(255).optional(),
    contains: z.array(unicode(10_000).min(1)).min(1).max(64).optional(),
    json: z.json().optional(),
    image: z.boolean().optional(),
    files: z.array(workspacePath).min(1).max(64).optional(),
    error: z.enum(codes, "must be a code of docs/errors.md, e.g. INVALID_ARGUMENTS").optional(),
  })
  .superRefine((it, context) => {
    for (const key of ["exitCode", "json", "image"] as const) {
      if (it.error === undefined || it[key] === undefined) continue;
      context.addIssue({ code: "custom", path: [key], message: `a call that fails with ${it.error} has none` });
    }
  });

/** Of the kinds that the capability states, or one package that it can't state: `npm:is-number@7.0.0`. */
const need = z.union([z.enum(["packages", "hosts", "secrets"]), packageNeed], {
  error: "must be `packages`, `hosts`, `secrets` or a package such as `npm:is-number@7.0.0`",
});

const test = z.strictObject({
  name: line(200),
  files: files.prefault({}),
  capability: z.string(),
  arguments: legibleKeys().pipe(z.record(z.string(), z.json())).prefault({}),
  expect: expectation,
  needs: z.array(need).max(16).default([]),
});

/** The shape of tests.yaml. What is wrong beyond its shape `readTests` says. */
export const testsSchema = z.array(test).min(1).max(MAX_TESTS);

/** What `glovebox skill test` does once. */
export type SkillTest = z.output<typeof test>;
export type Expectation = z.output<typeof expectation>;
export type TestNeed = SkillTest["needs"][number];

/** A record leaves it out in silence. */
function legibleKeys() {
  return z
    .unknown()
    .refine((it) => typeof it !== "object" || it === null || !Object.hasOwn(it, "__proto__"), "has a key `__proto__`");
}

function normalised(text: string): string | undefined {
  try {
    return normalisePath(text, WORKSPACE);
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}
