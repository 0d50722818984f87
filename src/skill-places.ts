import { dirname, join } from "node:path";
import type { SettingsPlaces } from "./settings.ts";

/** Where skills are looked for: those that Glovebox comes with, the system's beside its `glovebox.yaml`, and the user's beside theirs. */
export function skillPlaces(
  { systemDirectory, user }: Pick<SettingsPlaces, "systemDirectory" | "user">,
  packageRoot: string,
): readonly string[] {
  return [packageRoot, systemDirectory, dirname(user.file)].map((it) => join(it, "skills"));
}
