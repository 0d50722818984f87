import type { Bundle, PolicySets } from "./bundle.ts";
import type { BundleIdentity } from "./decision.ts";
import type { Profile } from "./profile.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Who may set rules, the one who binds all others first. */
export const LAYERS = ["organisation", "team", "project", "user"] as const;
export type LayerName = (typeof LAYERS)[number];

/** A bundle in its place. */
export interface PolicyLayer {
  readonly name: LayerName;
  readonly bundle: Bundle;
  /** Where it was read from, for people. */
  readonly origin: string;
}

/** What is in force at one moment. Immutable: a call that has begun with it ends with it. */
export interface Policy {
  readonly identity: BundleIdentity;
  /** Outermost first, at least one: all of them have to permit. */
  readonly layers: readonly PolicyLayer[];
  /** Evaluated for the record, and deciding nothing. */
  readonly shadows: readonly PolicyLayer[];
  /** Their policies, parsed together. */
  readonly sets: PolicySets;
  /** Of all of them: they are loaded with the same skills. */
  readonly vocabulary: Vocabulary;
  /** The narrowest of what the layers state. */
  readonly profile: Profile;
}

/** The policy in force, which may be replaced as a whole at any time. */
export interface PolicyInForce {
  readonly current: Policy;
  /** Told after each replacement, with what is in force now. */
  onChange(listener: (policy: Policy) => void): Disposable;
}
