import { z } from "zod";

/** As clients get it. Without `$schema`: MCP's default is 2020-12, which this is, and every conversation pays for each word. */
export function jsonSchema(schema: z.ZodObject, io: "input" | "output"): Record<string, unknown> & { type: "object" } {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return { ...rest, type: "object" };
}
