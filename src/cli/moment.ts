import { InvalidArgumentError } from "commander";
import { z } from "zod";

const momentSchema = z.union([z.iso.date(), z.iso.datetime({ offset: true })]);

/** A point in time as a person gives it, in milliseconds since 1970. @throws InvalidArgumentError */
export function parseMoment(text: string): number {
  const parsed = momentSchema.safeParse(text);
  if (parsed.success) return Date.parse(parsed.data);
  throw new InvalidArgumentError("give a date (2026-11-21, which begins at 0:00 UTC) or a time (2026-11-21T09:30:00Z)");
}
