import type { MachineImage } from "../engine/engine.ts";

/** What `glovebox image list` shows of one image in the store. */
export interface StoredImage extends MachineImage {
  /** Name of the agent image, as a profile's `image` refers to it: `default`, or what `image add --name` gave. */
  readonly name: string;
  /** The digest of the recipe it was built from. */
  readonly recipe: string;
  readonly kernelRelease: string;
  readonly sizeBytes: number;
  readonly builtAt: string;
}
