import type { BundleIdentity, DecidingPolicy } from "./decision.ts";
import type { Profile } from "./profile.ts";

/** A policy of a bundle, with the place it was read from. */
export interface BundlePolicy extends DecidingPolicy {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Tools that it can apply to. */
  readonly actions: ReadonlySet<string>;
  /** Whether it applies to every request for these tools: any principal, any resource, no condition. */
  readonly unconditional: boolean;
  /** Of a policy that can apply to connections. */
  readonly connect?: ConnectPolicy;
  /** Of a policy that can apply to packages: see `packageScope`. */
  readonly packages?: string;
}

/** What the proxy must know of a policy before there is a request to decide. */
export interface ConnectPolicy {
  /** What its head names, or its ranges; the policy may narrow it further. */
  readonly hosts:
    | { readonly kind: "all" }
    /** Those of ranges that a condition demands: no name. */
    | { readonly kind: "addresses" }
    | { readonly kind: "is" | "in"; readonly host: string };
  /** Whether it asks for method or path: TLS to these hosts has to end at the proxy. */
  readonly readsRequests: boolean;
}

/** A valid bundle, ready to decide. */
export interface Bundle {
  readonly identity: BundleIdentity;
  readonly profile: Profile;
  readonly policies: ReadonlyMap<string, BundlePolicy>;
  /** Name under which Cedar keeps the parsed policy set of this thread. */
  readonly preparsed: string;
}

/** A place in a text; both from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** What is wrong with a bundle, and where. Without a place, the file as a whole is meant. */
export interface Problem extends Partial<Place> {
  readonly file: string;
  readonly message: string;
  readonly fix?: string;
}

/** `file:line:column: message; fix: …`, as compilers and editors have it. */
export function problemText({ file, line, column, message, fix }: Problem): string {
  const place = [file, ...(line === undefined ? [] : [line, column ?? 1])].join(":");
  return `${place}: ${message}${fix === undefined ? "" : `; fix: ${fix}`}`;
}

/** The place of an offset in UTF-16 units. */
export function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - before.lastIndexOf("\n") };
}
