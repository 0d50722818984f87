import { createHash } from "node:crypto";
import { cpus } from "node:os";
import { machineArguments } from "./command-line.ts";
import type { Attempt } from "./parts.ts";

/** Digest of whatever decides whether the state of one machine can be taken up by another. */
export function shapeOf({ qemu, verdict, spec }: Pick<Attempt, "qemu" | "verdict" | "spec">): string {
  const { acceleration } = verdict;
  const common = { ...spec, directory: "", acceleration, origin: "boot" as const, layered: false };
  const facts = {
    // Of what is saved: raised when a machine that was saved before can't be taken up any more.
    format: 3,
    arguments: machineArguments({ ...qemu, ...spec.image, ...common, kernel: "", initramfs: "" }),
    image: spec.image.digest,
    diskMiB: spec.diskMiB,
    qemu: qemu.version.text,
    // An accelerated machine has the features of this computer's processor.
    processor: acceleration === "tcg" ? "" : cpus()[0]?.model,
  };
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}
