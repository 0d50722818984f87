import type { Constant } from "./constants.ts";
import type { BundleIdentity, ChannelName, DecidingPolicy } from "./decision.ts";
import type { LayerName } from "./layer.ts";
import type { Profile } from "./profile.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A policy of a bundle, with the place it was read from. */
export interface BundlePolicy extends DecidingPolicy {
  readonly text: string;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** `shadow`: it is evaluated for the record, and decides nothing. */
  readonly mode: "enforce" | "shadow";
  /** Of a forbid that a person may lift: by which ways. */
  readonly ask?: readonly ChannelName[];
  /** Counters of usage that it reads: attributes of `principal.usage`, `principal.session`, `openSessions` and `sessionIsOpen`. */
  readonly usage: readonly string[];
  /** Of a policy that applies only while a counter, the only one that it reads, has come to a number: that number. */
  readonly usageLimit?: number;
  /** Whether it depends on how far central logging is behind. */
  readonly readsLag: boolean;
  /** Tools that it can apply to. */
  readonly actions: ReadonlySet<string>;
  /** Whether it applies to every request for these tools: any principal, any resource, no condition. */
  readonly unconditional: boolean;
  /** Of a policy that can apply to connections. */
  readonly connect?: ConnectPolicy;
  /** Of a policy that can apply to packages: see `packageScope`. */
  readonly packages?: string;
  /** What it compares requests with, for who explains it. */
  readonly constants: readonly Constant[];
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
  /** The profile as it is written, for a merger of layers: what it leaves out is no opinion. */
  readonly stated: unknown;
  readonly policies: ReadonlyMap<string, BundlePolicy>;
  /** `narrows`: it says what is forbidden, and leaves it to other layers to say what is permitted. */
  readonly narrows: boolean;
  /** Where it is made for; anywhere when absent. */
  readonly layer?: LayerName;
  readonly mode: "enforce" | "shadow";
  readonly sets: PolicySets;
  /** What it can speak of. */
  readonly vocabulary: Vocabulary;
}

/** Names under which Cedar keeps parsed sets of policies, of this thread. */
export interface PolicySets {
  readonly enforced: string;
  /** The same without the forbids that a person may lift; absent when there are none. */
  readonly withoutAsks?: string;
  /** The enforced ones and those in shadow mode; absent when there are none. */
  readonly withShadows?: string;
}

/** Those that decide. */
export function enforcedPolicies({ policies }: Pick<Bundle, "policies">): readonly BundlePolicy[] {
  return [...policies.values()].filter((it) => it.mode === "enforce");
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
