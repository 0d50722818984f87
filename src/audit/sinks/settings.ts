import { z } from "zod";
import { httpsSchema } from "./https-settings.ts";
import { otlpSchema } from "./otlp-settings.ts";
import { pinoSchema } from "./pino-settings.ts";
import { postgresSchema } from "./postgres-settings.ts";
import { syslogSchema } from "./syslog-settings.ts";

/** One sink of `logging.sinks`; a line for each driver. */
export const sinkSchema = z.discriminatedUnion("type", [
  httpsSchema,
  otlpSchema,
  pinoSchema,
  postgresSchema,
  syslogSchema,
]);
export type SinkSettings = z.infer<typeof sinkSchema>;

/** `logging` of glovebox.yaml: where the audit log goes besides. */
export const loggingSchema = z
  .strictObject({ sinks: z.array(sinkSchema).max(16).default([]) })
  .superRefine(({ sinks }, context) => {
    const names = new Set<string>();
    for (const [at, { name }] of sinks.entries()) {
      if (names.has(name)) context.addIssue({ code: "custom", path: ["sinks", at, "name"], message: "is used twice" });
      names.add(name);
    }
  });
