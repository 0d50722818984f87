import { z } from "zod";

/** What a sink is called in settings, in the status and in the name of its folder. */
export const sinkName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9-]{0,62}$/,
    "must be small letters, digits and hyphens, at most 63, and not begin with a hyphen",
  );
