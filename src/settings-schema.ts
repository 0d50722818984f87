import { z } from "zod";
import { loggingSchema } from "./audit/sinks/settings.ts";
import { publicKeySchema } from "./policy/distribution/keys.ts";
import { bundleNameSchema, versionSchema } from "./policy/distribution/manifest.ts";
import { policySourceSchema } from "./policy/policy-source.ts";

const layer = z.strictObject({
  policy: policySourceSchema,
  /** Public keys, one of which has to have signed the bundle. */
  keys: z
    .array(publicKeySchema)
    .min(1, "an empty list would trust nobody: leave it out, or name a key")
    .max(32)
    .optional(),
  /** The name of the bundle that is meant: a key may sign several. */
  bundle: bundleNameSchema.optional(),
  /** An older bundle is refused, so that nobody can put one back. */
  minimumVersion: versionSchema.optional(),
});
export type LayerSettings = z.infer<typeof layer>;

/** What root has to vouch for. */
const ownLayer = layer.superRefine(({ policy, keys }, context) => {
  if ("directory" in policy && policy.directory.startsWith("~")) {
    const message = "must be absolute, or relative to this file: everybody has another home directory";
    context.addIssue({ code: "custom", path: ["policy"], message });
  }
  if (!("directory" in policy) && !keys) {
    const message = "is fetched to where others than root may write: name the `keys` that have to have signed it";
    context.addIssue({ code: "custom", path: ["policy"], message });
  }
});

const shared = {
  /** Read by whoever asks people. */
  approvals: z.unknown().optional(),
  /** Where the audit log goes besides. */
  logging: loggingSchema.optional(),
  /** How often bundles from elsewhere are looked for anew, in s. */
  pollSeconds: z.int().min(10).max(86_400).optional(),
};

/** The system's `glovebox.yaml`: its `organisation` is what enrols a computer. */
export const systemFileSchema = z.strictObject({
  organisation: ownLayer.safeExtend({ name: z.string().min(1).max(200) }).optional(),
  team: ownLayer.optional(),
  ...shared,
});
export type SystemFile = z.infer<typeof systemFileSchema>;

/** A user's `glovebox.yaml`. */
export const userFileSchema = z.strictObject({
  organisation: z.never({ error: "only the system's file, which is root's, can name an organisation" }).optional(),
  team: layer.optional(),
  project: layer.optional(),
  user: z.strictObject({ policy: policySourceSchema }).optional(),
  ...shared,
});
export type UserFile = z.infer<typeof userFileSchema>;
