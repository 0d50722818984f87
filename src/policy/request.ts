import type { LoggingFacts } from "./logging.ts";
import type { PackageFacts } from "./package.ts";
import type { UsageFacts } from "./usage.ts";

/** Who calls: the operating system's user (stdio) and the client it uses. */
export interface Principal {
  /** Stable id, e.g. `local:ada`. */
  readonly id: string;
  readonly client: { readonly name: string; readonly version: string };
  readonly transport: "stdio";
}

/** A fact as Cedar sees it. Numbers are integers (Cedar `Long`); arrays are sets: no order, no duplicates. */
export type Fact = string | number | boolean | readonly Fact[] | { readonly [name: string]: Fact };

/**
 * What is acted on. `session`: the sandbox as a whole. `path`: an absolute, normalised path in the sandbox; the evaluator
 * adds all its ancestors up to `/` as Cedar parents, so that policies say `resource in Glovebox::Path::"/workspace"`. `host`: a name or an
 * address in its one spelling; its parents are the domains that it lies in. `package`: one version, by its purl; its parents are the
 * package, what its name stands below, and the ecosystem.
 */
export type Resource =
  | { readonly type: "session"; readonly id: string }
  | { readonly type: "path"; readonly path: string }
  | { readonly type: "host"; readonly host: string }
  | { readonly type: "package"; readonly facts: PackageFacts };

/** One question to policy, complete in itself: evaluation reads nothing else (no clock, no I/O). */
export interface PolicyRequest {
  readonly principal: Principal;
  /** The tool's name; a Cedar action of the same name is in the schema. */
  readonly action: string;
  readonly resource: Resource;
  readonly context: { readonly [name: string]: Fact };
  /** What has been used so far; absent for a would-be request: nothing. */
  readonly usage?: UsageFacts;
  /** How far central logging is behind; absent for a would-be request: not at all. */
  readonly logging?: LoggingFacts;
}
