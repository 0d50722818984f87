import { z } from "zod";
import { fieldProblem } from "./audit-fields.ts";

const days = z.int().min(1).max(36_500).optional();

/** A bundle's `profile.yaml`, at `audit`: what the log keeps, and for how long. */
export const auditSchema = z.strictObject({
  /** Names of fields whose values the log never has, besides those that every log leaves out; `tool.argument`: of that tool alone. */
  redact: z
    .array(
      z
        .string()
        .regex(/^[A-Za-z][A-Za-z0-9_.-]{0,99}$/, "must be a name: letters, digits, `_`, `.` and `-`")
        .superRefine((name, context) => {
          const message = fieldProblem(name);
          if (message !== undefined) context.addIssue({ code: "custom", message });
        }),
    )
    .max(256)
    .readonly()
    .default([]),
  /** Whether what goes into calls and comes out of them is kept beside the log, encrypted with a key of the session. */
  bodies: z.enum(["off", "encrypted"]).default("off"),
  /** What is older goes: bodies with the key of their session, records with whole segments of the log. Without these, nothing does. */
  retention: z.strictObject({ bodyDays: days, recordDays: days }).prefault({}),
});
