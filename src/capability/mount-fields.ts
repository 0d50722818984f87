import { z } from "zod";
import { normalisePath } from "../policy/facts.ts";
import { path, plain } from "./fields.ts";
import { oneLine } from "./render.ts";

export const mountName = plain(64)
  .regex(/^[a-z0-9][a-z0-9._-]*$/, "must be the name of a mount")
  .describe("Name of a mount: a folder of the user's.");

export const mountPath = path.describe("Within the mount; . is all of it.");

/** Where in a mount, as policy sees it (`/` is the mount's root), and name by name. */
export interface InMount {
  readonly path: string;
  readonly names: readonly string[];
}

/** @throws GatewayError INVALID_ARGUMENTS */
export function inMount(given: string, field: string): InMount {
  const normal = normalisePath(given, "/", field);
  return { path: normal, names: normal.split("/").filter((it) => it !== "") };
}

/** Results that both directions have. */
export const transferOutput = {
  mount: z.string(),
  files: z.number(),
  bytes: z.number(),
  sha256: z.string().describe("Of sha256sum's output for the files, sorted by name."),
  skipped: z.record(z.string(), z.number()).describe("Counts by reason."),
  skippedPaths: z.array(z.strictObject({ path: z.string(), reason: z.string() })),
};

/** How many skipped paths the text names. */
const MAX_SHOWN = 20;

export function skippedLines({ skipped, skippedPaths }: SkippedPart): string[] {
  const total = Object.values(skipped).reduce((sum, it) => sum + it, 0);
  if (total === 0) return [];
  const shown = skippedPaths.slice(0, MAX_SHOWN).map((it) => `  ${it.reason}: ${oneLine(it.path, 500)}`);
  const more = total > shown.length ? [`  and ${total - shown.length} more`] : [];
  return [`left out: ${total}`, ...shown, ...more];
}

interface SkippedPart {
  readonly skipped: Readonly<Record<string, number>>;
  readonly skippedPaths: readonly { readonly path: string; readonly reason: string }[];
}
