import { fileURLToPath } from "node:url";
import type { Candidate } from "../../src/skill/find/document.ts";
import { readSkills } from "../../src/skill/load.ts";

/** The capabilities of the skills that come with Glovebox. */
export async function shippedCapabilities(): Promise<readonly Candidate[]> {
  const { skills, refused } = await readSkills([fileURLToPath(new URL("../../skills", import.meta.url))], new Set());
  if (refused.length > 0) throw new Error(JSON.stringify(refused));
  return skills.flatMap(({ name: skill, capabilities }) =>
    capabilities.map((capability) => ({ id: `${skill}_${capability.name}`, skill, capability })),
  );
}
