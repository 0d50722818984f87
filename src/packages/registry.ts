import type { Readable } from "node:stream";
import type { Naming } from "../policy/ecosystems/ecosystem.ts";
import type { Verdict } from "../policy/verdict.ts";

/** A digest that a registry promises. `h1` is the Go checksum database's, over a zip's files (golang.org/x/mod/sumdb/dirhash). */
export interface Integrity {
  readonly algorithm: "sha512" | "sha384" | "sha256" | "sha1" | "h1";
  /** Lower-case hexadecimal, whatever the registry writes. */
  readonly hex: string;
}

/** A file of a release. */
export interface Artifact {
  /** Its name, unique in the release; no slash. */
  readonly file: string;
  /** Where the registry has it; absolute. */
  readonly url: string;
  /** None when the registry gives none. */
  readonly integrity: readonly Integrity[];
  /** See `PackageFacts`. */
  readonly buildsFromSource: boolean;
  /** Milliseconds since 1970, where files have a time of their own. */
  readonly publishedMs?: number;
}

/** A version of a package as its registry describes it. Nothing of it is trusted: names and versions have been read by `Naming`. */
export interface Release {
  readonly name: string;
  readonly version: string;
  /** Milliseconds since 1970; absent when the registry doesn't say. */
  readonly publishedMs?: number;
  /** As in `PackageFacts`; absent when the registry would tell, but has not been asked: that is done for the one that is wanted. */
  readonly licenses?: readonly string[];
  readonly hasInstallScript: boolean;
  readonly yanked: boolean;
  readonly artifacts: readonly Artifact[];
  /** What advisories know it by, where that is another name (Debian: the source package). */
  readonly source?: { readonly name: string; readonly version: string };
}

/** What a package manager asks, below the root of its registry. */
export interface RegistryRequest {
  /** Nothing else is answered. */
  readonly method: "GET" | "HEAD";
  /** Percent-decoded once where that is unambiguous, without query and without a slash at the beginning: `@acme/x/-/x-1.0.0.tgz`. */
  readonly path: string;
  readonly accept: string;
  /** Where the program finds this registry: absolute, with a slash at the end. Links in metadata begin with it. */
  readonly base: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Text of a refusal ends up on a person's screen: what a registry says must not be in it. */
  readonly body: Buffer | string | Readable;
}

export interface Document {
  readonly status: number;
  /** Lower case, without parameters. */
  readonly contentType: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
  /** Absolute, after redirects. */
  readonly url: string;
}

export interface DocumentOptions {
  readonly method?: "GET" | "HEAD";
  readonly accept?: string;
  /** A larger one is refused; 64 MiB when absent. */
  readonly maxBytes?: number;
}

/** What a registry's protocol stands on: one session's desk, for one ecosystem. */
export interface Desk {
  /** Where the upstream registry for this package has its root: absolute, with a slash at the end. The same for all documents of a package. */
  root(name: string): string;
  /** Every root, the default one first: for what belongs to no package. */
  readonly roots: readonly string[];
  /**
   * Metadata: from the cache while it is fresh, and when the upstream does not answer. 404 and 410 are answers; nothing else but 200 is.
   * @throws GatewayError REGISTRY_FAILED (unreachable, too large, another host), REGISTRY_MALFORMED is the caller's to throw
   */
  document(url: string, options?: DocumentOptions): Promise<Document>;
  /** Policy's word; `artifact` where files differ in what matters. Remembered while the policy stays in force, and not recorded. */
  verdict(release: Release, artifact?: Artifact): Verdict;
  /**
   * A file on its way into the sandbox: decided, taken from the cache or the upstream, checked, recorded. A refusal is a reply too
   * (403, with the reason, and which version would do).
   * @param others the package's other releases, for what would do instead
   */
  deliver(release: Release, artifact: Artifact, others: readonly Release[]): Promise<Reply>;
  /** A refusal, recorded: 403 with the reason. */
  refuse(subject: { readonly name: string; readonly version?: string }, reason: string): Reply;
}

/** An ecosystem's registry: its protocol towards package managers and towards the upstream. One file each. */
export interface Registry {
  readonly naming: Naming;
  /** Answers a package manager. What it asks for that is not known is 404; nothing is passed on that isn't understood. */
  answer(request: RegistryRequest, desk: Desk): Promise<Reply>;
  /**
   * All releases of a package, the highest version first, as the upstream describes them; `undefined` when it has no such package.
   * Where a registry describes versions one by one (go), those that are looked at are the newest.
   * @throws GatewayError REGISTRY_FAILED, REGISTRY_MALFORMED
   */
  releases(name: string, desk: Desk, version?: string): Promise<readonly Release[] | undefined>;
  /** Where the registry itself says that its files lie, besides its root (cargo's `dl`). @throws GatewayError as `releases` */
  files?(desk: Desk): Promise<readonly string[]>;
  /** How package managers of the sandbox find `base`; variables of its programs. */
  environment(base: string): Readonly<Record<string, string>>;
}
