import { z } from "zod";

const hex = z.string().regex(/^[0-9a-f]{64}$/);
const file = z.strictObject({
  /** Below the store. */
  path: z.string().regex(/^(guests|disks)\/[\w-]+\/[\w-]+(\.[\w-]+)*$/),
  sizeBytes: z.int().min(1),
  sha256: hex,
});

/** As a profile's `image` refers to it, and as its manifest is called. */
export const imageNameSchema = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/);

/** `<name>.json` in the store: the files of one image, and what they were made from. */
export const imageManifestSchema = z.strictObject({
  version: z.literal(1),
  name: imageNameSchema,
  /** Digests of the recipe: of the machine's part, and of the disk's. */
  recipe: z.strictObject({ guest: hex, disk: hex }),
  kernelRelease: z.string(),
  /** Id of the agent image in the inner engine. */
  agentImage: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  builtAt: z.iso.datetime(),
  files: z.strictObject({ kernel: file, initramfs: file, root: file, data: file, seal: file }),
  /** `name=version` of what is in the kernel, the engine, the compilers of our programs, and the agent image. */
  packages: z.record(z.string(), z.array(z.string())),
});

export type ImageManifest = z.infer<typeof imageManifestSchema>;
export type ImageFile = z.infer<typeof file>;
