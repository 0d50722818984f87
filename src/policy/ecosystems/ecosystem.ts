/** Where packages come from, by the tool that installs them. */
export const ECOSYSTEMS = ["pip", "npm", "apt", "cargo", "go", "maven"] as const;
export type EcosystemName = (typeof ECOSYSTEMS)[number];

/**
 * How an ecosystem writes names and versions, and which version is the higher one: its own grammar, exactly. Pure. What has been read
 * is safe as a part of an argument, a URL's path or a file's name: no control character, space, quote, backslash, `..`, and no `-` at
 * the beginning.
 */
export interface Naming {
  readonly ecosystem: EcosystemName;
  /** A purl's type and, where every package has the same, its namespace: `npm`, `deb/debian`. */
  readonly purlType: string;
  /** The ecosystem in OSV records: `npm`, `PyPI`, `crates.io`, `Go`, `Maven`, `Debian`. */
  readonly osv: string;
  /** The name in its one spelling (pip: PEP 503); `undefined` when it is none. */
  readName(text: string): string | undefined;
  /** A version, exactly, in its one spelling; `undefined` for a range, a tag, a URL, a path and everything else. */
  readVersion(text: string): string | undefined;
  /** Below 0 when `a` is the older one. Both have been read. */
  compare(a: string, b: string): number;
  /** One spelling for all names that are the same package: cargo's `serde_json` and `serde-json`. Each is its own when absent. */
  sameName?(name: string): string;
  /** The same for versions: pip's `1.0` and `1.0.0`. */
  sameVersion?(version: string): string;
  isPrerelease(version: string): boolean;
  /** Whether the text is a range of versions as this ecosystem writes them: npm `^4.17`, pip `>=2,<3`. */
  isRange(text: string): boolean;
  /** Whether a version lies in a range; pre-releases lie in a range as in any other. */
  satisfies(version: string, range: string): boolean;
  /** What the name stands below, outermost first and without the name's last part: `["@acme"]`, `["github.com", "google"]`. */
  namespace(name: string): readonly string[];
}
