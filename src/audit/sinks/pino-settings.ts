import { isAbsolute } from "node:path";
import { z } from "zod";
import { sinkName } from "./name.ts";

/** The transport that comes with pino: appends to a file. */
export const PINO_FILE = "pino/file";

const packageName =
  /^(?:@[a-z0-9][a-z0-9._-]{0,100}\/)?[a-z0-9][a-z0-9._-]{0,100}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,100}){0,4}$/;

/** A transport of pino's (a module whose default export makes a stream), which runs in a thread of the gateway. */
export const pinoSchema = z
  .strictObject({
    name: sinkName,
    type: z.literal("pino"),
    /** A package's name, or the absolute path of a module. */
    target: z
      .string()
      .max(4096)
      .refine((it) => isAbsolute(it) || packageName.test(it), "must be the name of a package or an absolute path"),
    /** For the transport, as its own documentation has them. */
    options: z.record(z.string(), z.json()).default({}),
    /** How long the transport may take to say that it has a batch. */
    timeoutSeconds: z.int().min(1).max(600).default(60),
  })
  .superRefine(({ target, options }, context) => {
    if (target !== PINO_FILE || typeof options["destination"] === "string") return;
    const message = "must be a path: standard output is what the MCP client reads";
    context.addIssue({ code: "custom", path: ["options", "destination"], message });
  });
export type PinoSettings = z.infer<typeof pinoSchema>;
