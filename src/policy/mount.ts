import { z } from "zod";

/** A home directory as a whole, or what belongs to the system: too much to hand over. What `host` leads to is looked at again when it is used. */
const TOO_MUCH =
  /^(~|\/|\/home(\/[^/]+)?|\/Users(\/[^/]+)?|\/root|\/(bin|boot|dev|etc|lib|lib64|mnt|opt|proc|run|sbin|srv|sys|tmp|usr|var))$/;

const host = z
  .string()
  .min(1)
  .max(4_095)
  .refine((it) => it.isWellFormed() && !it.includes("\0"), "must be valid Unicode without NUL")
  .refine((it) => /^(\/|~\/|~$)/.test(it), "must be absolute, or begin with ~/")
  .refine((it) => it.split("/").every((name) => name !== "." && name !== ".."), "must not contain . or ..")
  .transform((it) => it.replaceAll(/\/+/g, "/").replace(/(?<=.)\/$/, ""))
  .refine((it) => !TOO_MUCH.test(it), "is too much to hand over: name the one folder that an agent works on");

const patterns = z
  .array(
    z
      .string()
      .min(1)
      .max(256)
      .refine((it) => it.isWellFormed() && !/\p{Cc}/u.test(it), "must be printable")
      .refine((it) => !/^[!#]/.test(it), "must not begin with ! or #: the list says what it means"),
  )
  .max(256)
  .default([]);

/** A folder of the host that `importFiles` and `exportFiles` may copy from and to. The patterns are those of a .gitignore file. */
const mountSchema = z.strictObject({
  /** What calls name it by. */
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "must be lower-case letters, digits, dots, underscores and dashes"),
  /** Absolute, or below the home directory of the gateway's user (`~/…`). */
  host,
  /** What it has to lie in once links are followed, as it does by its text: a merger of layers says so. */
  within: z.array(host).max(16).optional(),
  /** `ro`: import only. */
  mode: z.enum(["ro", "rw"]).default("ro"),
  /** When there are any, only what they match. */
  include: patterns,
  /** Whatever the case of letters. */
  exclude: patterns,
  /** What is copied although it may hold credentials, or a program of the host would obey it. */
  allowSensitive: patterns,
});
export type Mount = z.infer<typeof mountSchema>;

export const mountsSchema = z
  .array(mountSchema)
  .max(32)
  .default([])
  .superRefine((mounts, context) => {
    for (const [index, { name }] of mounts.entries()) {
      if (mounts.findIndex((it) => it.name === name) === index) continue;
      context.addIssue({
        code: "custom",
        path: [index, "name"],
        message: `another mount is called \`${name}\` already`,
      });
    }
  });
