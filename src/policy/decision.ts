/** A policy that took part in a decision: its id (`file.cedar#name`) and the text of its `@reason` annotation. */
export interface DecidingPolicy {
  readonly id: string;
  readonly effect: "permit" | "forbid";
  readonly reason?: string;
}

export interface BundleIdentity {
  readonly name: string;
  readonly version: string;
  /** `sha256:` of the bundle's files. */
  readonly digest: string;
}

/**
 * The answer of policy. A denial is a value, not an error. `policies` are those that determined it: empty on a default
 * deny. `problems` are evaluation errors; any of them makes the outcome `deny`.
 */
export interface Decision {
  readonly outcome: "permit" | "deny";
  readonly policies: readonly DecidingPolicy[];
  readonly problems: readonly string[];
  readonly bundle: BundleIdentity;
}
