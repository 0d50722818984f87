import { isAbsolute } from "node:path";
import { z } from "zod";

/** Where a secret's value is. It is read on the host, and never written anywhere. */
export type SecretSource =
  | { readonly env: string }
  | { readonly file: string }
  | { readonly command: readonly [program: string, ...args: string[]]; readonly timeoutMs: number };

/** How long a command has to print a value, in ms; a password manager may ask its user for a finger. */
const COMMAND_TIMEOUT_MS = 15_000;
const REFRESH_MS = 300_000;

const plain = (maxChars: number) =>
  z
    .string()
    .min(1)
    .max(maxChars)
    .refine((it) => !it.includes("\0"), "must not contain NUL");

const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "must be the name of an environment variable");

const file = plain(4096).refine((it) => isAbsolute(it) || it.startsWith("~/"), "must be absolute or begin with ~/");

const argv = z
  .tuple([plain(4096)], plain(4096))
  .refine(([program]) => isAbsolute(program) || !program.includes("/"), "the program must be absolute or a bare name")
  .refine((it) => it.length <= 64, "at most 64 words");

/** One object for all three kinds, so that what is wrong is named by its key. */
export const secretSource = z
  .strictObject({
    env: variable.optional(),
    file: file.optional(),
    /** Run without a shell; the value is what it prints. */
    command: argv.optional(),
    timeoutMs: z.int().min(100).max(120_000).optional(),
  })
  .transform(({ env, file, command, timeoutMs }, context): SecretSource => {
    const refuse = (message: string) => {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    };
    if ([env, file, command].filter((it) => it !== undefined).length !== 1) {
      return refuse("give exactly one of env, file and command");
    }
    if (command) return { command, timeoutMs: timeoutMs ?? COMMAND_TIMEOUT_MS };
    if (timeoutMs !== undefined) return refuse("timeoutMs belongs to a command");
    return env === undefined ? { file: file ?? "" } : { env };
  });

/** Headers of one connection, and those that say where a request goes and where it ends. */
const FRAMING =
  /^(?:host|content-length|content-encoding|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|http2-settings|proxy-.*)$/i;

/** Whether a secret may stand in the header of this name: a valid name (RFC 9110 token) of none that frames the request. */
export function mayCarrySecret(headerName: string): boolean {
  return /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/.test(headerName) && !FRAMING.test(headerName);
}

const headerName = z
  .string()
  .refine(mayCarrySecret, "must be the name of a header that neither frames the request nor belongs to the connection");

/** The one place of a request where the secret may stand. */
const present = z.discriminatedUnion("as", [
  /** `Authorization: Bearer` (or `token`, as GitHub's older tools say). */
  z.strictObject({ as: z.literal("bearer") }),
  /** The password of `Authorization: Basic`, of this user when one is given. */
  z.strictObject({
    as: z.literal("basic"),
    username: z
      .string()
      .regex(/^[\x20-\x39\x3b-\x7e]{1,256}$/, "must be printable ASCII without a colon")
      .optional(),
  }),
  z.strictObject({ as: z.literal("header"), name: headerName }),
  z.strictObject({ as: z.literal("query"), name: plain(128) }),
]);

/** A path made of plain segments: a server can read it in one way only. */
const pathPrefix = z
  .string()
  .max(1024)
  .refine(
    (it) => it === "/" || (/^(?:\/[A-Za-z0-9._~!$&'()*+,=:@-]+)+\/?$/.test(it) && !/\/\.{1,2}(?:\/|$)/.test(it)),
    "must begin with / and hold plain segments: no `.`, `..`, `//`, `;`, `?` or %-escape",
  );

const host = z.strictObject({
  /** `api.example.com`, or `*.example.com` for every name below it and not itself. */
  host: plain(255),
  ports: z.array(z.int().min(1).max(65_535)).min(1).max(64).default([443]),
  /** Whole segments: `/repos` admits `/repos` and `/repos/x`, not `/repository`. Left out: every path. */
  paths: z.array(pathPrefix).min(1).max(64).optional(),
  /** Left out: every method but CONNECT and TRACE. */
  methods: z
    .array(
      z
        .string()
        .regex(/^[A-Z][A-Z-]{0,31}$/, "must be a method in capitals")
        .refine((it) => it !== "CONNECT" && it !== "TRACE", "cannot carry a secret"),
    )
    .min(1)
    .max(32)
    .optional(),
});

const secret = z.strictObject({
  /** Also the variable in the sandbox, which holds the placeholder. */
  name: z.string().regex(/^[A-Z_][A-Z0-9_]{0,63}$/, "must be capitals, digits and underscores, at most 64"),
  source: secretSource,
  /** A value older than this is read again when it is next needed. */
  refreshMs: z.int().min(1000).max(86_400_000).default(REFRESH_MS),
  /** Where it may be sent: nowhere else. */
  hosts: z.array(host).min(1).max(64),
  /** Left out: any header, query parameter or part of the path in which a program puts it. */
  present: present.optional(),
});

export type Secret = z.infer<typeof secret>;

/** A profile's `secrets`. */
export const secretsSchema = z
  .array(secret)
  .max(64)
  .superRefine((secrets, context) => {
    for (const [at, { name }] of secrets.entries()) {
      if (secrets.findIndex((it) => it.name === name) === at) continue;
      context.addIssue({ code: "custom", path: [at, "name"], message: `there is a secret ${name} already` });
    }
  });
