import type { Principal } from "../policy/request.ts";
import type { Skill } from "./skill.ts";

/** A skill that may be used, as policy lets it, with what vouches for it. */
export interface KnownSkill {
  readonly skill: Skill;
  /** Whether the lock beside it has its digest. One that it has under another digest is not known at all. */
  readonly pinned: boolean;
  /** Fingerprints of the keys whose signature over that lock is valid, sorted. */
  readonly signedBy: readonly string[];
}

/** The skills of a gateway, and who uses which. */
export interface Shelf {
  /** By name, sorted. */
  readonly skills: ReadonlyMap<string, KnownSkill>;
  isUsed(principal: Principal, skill: string): boolean;
  /** From now on its capabilities are tools of this principal. */
  use(principal: Principal, skill: string): void;
  /** Told when somebody has begun to use another one. */
  onChange(listener: () => void): Disposable;
}

export function createShelf(known: readonly KnownSkill[]): Shelf {
  const sorted = known.toSorted((a, b) => (a.skill.name < b.skill.name ? -1 : 1));
  const skills = new Map(sorted.map((it) => [it.skill.name, it]));
  const used = new Map<string, Set<string>>();
  const listeners = new Set<() => void>();
  return {
    skills,
    isUsed: ({ id }, skill) => used.get(id)?.has(skill) ?? false,
    use: ({ id }, skill) => {
      const theirs = used.get(id) ?? new Set();
      used.set(id, theirs);
      if (theirs.has(skill)) return;
      theirs.add(skill);
      for (const listener of listeners) listener();
    },
    onChange: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
  };
}
