import { existsSync } from "node:fs";
import type { Json } from "./audit/record.ts";
import { describeWith } from "./call/describe.ts";
import type { Capability } from "./capability/capability.ts";
import { CAPABILITIES, findCapability } from "./capability/registry.ts";
import type { Language } from "./policy/assemble.ts";
import type { Profile } from "./policy/profile.ts";
import type { Principal } from "./policy/request.ts";
import { vocabularyOf } from "./policy/vocabulary.ts";
import { skillActions } from "./skill/facts.ts";
import type { FindPorts } from "./skill/find-capability.ts";
import { openSkills } from "./skill/open.ts";
import { meant } from "./skill/run-capability.ts";
import type { Shelf } from "./skill/shelf.ts";
import { SKILL_TOOLS, skillTools } from "./skill/tools.ts";

/** All tools of a gateway: Glovebox's own and those of its skills. */
export interface Tools {
  readonly shelf: Shelf;
  /** For policy. */
  readonly language: Language;
  /** For the record: the skills that are there, and those that are not used. */
  readonly skills: Json;
  readonly refused: readonly Record<string, Json>[];
  find(name: string): Capability | undefined;
  /** Those that a principal is shown: policy could permit them. */
  listed(principal: Principal, profile: Profile): readonly Capability[];
  /** The call that is meant: one through `runCapability` is one of the tool that it names. */
  meant<T extends { readonly tool: string; readonly args: unknown }>(call: T): T;
}

/** No skill may have the name of one of them. */
export const TOOL_NAMES: ReadonlySet<string> = new Set([...CAPABILITIES.map((it) => it.name), ...SKILL_TOOLS]);

/** What policy says, whenever it is asked. */
export type Permits = Pick<FindPorts, "mayPermit" | "mayUse">;

export async function openTools(
  { skillDirectories }: { readonly skillDirectories: readonly string[] },
  permits: Permits,
): Promise<Tools> {
  const { mayPermit } = permits;
  const there = skillDirectories.filter((it) => existsSync(it));
  const { shelf, loaded, refused } = await openSkills(there, TOOL_NAMES);
  const ofSkills = skillTools({ shelf, ...permits });
  const find = (name: string) => findCapability(name) ?? ofSkills.find(name);
  return {
    shelf,
    language: { describe: describeWith(find), vocabulary: vocabularyOf(skillActions(shelf.skills.values())) },
    skills: [...loaded],
    refused,
    find,
    listed: (principal, profile) => [
      ...CAPABILITIES.filter((it) => mayPermit(it.name) && (it.offered?.(profile) ?? true)),
      ...ofSkills.listed(principal),
    ],
    meant: (call) => meant(call, ofSkills.isSkillTool),
  };
}
