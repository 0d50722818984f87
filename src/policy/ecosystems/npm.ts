import { compare, prerelease, satisfies, validRange } from "semver";
import type { Naming } from "./ecosystem.ts";
import { readSemantic } from "./semantic.ts";

const PART = "[A-Za-z0-9][A-Za-z0-9._-]*";
const NAME = new RegExp(`^(?:@${PART}/)?${PART}$`);
const MAX_NAME_CHARS = 214;
/** validate-npm-package-name refuses them. */
const NOBODYS = new Set(["node_modules", "favicon.ico"]);
const MAX_RANGE_CHARS = 256;

/**
 * npm (docs.npmjs.com/cli/configuring-npm/package-json#name). Names of old are in upper case, and `JSONStream` is another package than
 * `jsonstream`: a name is read as it is. Names that begin with `-`, `_` or `.`, or have one of `~'!()*`, are none here.
 */
export const npmNaming: Naming = {
  ecosystem: "npm",
  purlType: "npm",
  osv: "npm",
  readName: (text) => {
    const fits = text.length <= MAX_NAME_CHARS && NAME.test(text) && !text.includes("..");
    return fits && !NOBODYS.has(text.toLowerCase()) ? text : undefined;
  },
  // npm takes build metadata off whatever is published: what has it is another spelling of what has not.
  readVersion: (text) => (text.includes("+") ? undefined : readSemantic(text)),
  compare: (a, b) => compare(a, b),
  isPrerelease: (version) => prerelease(version) !== null,
  isRange: (text) => text.length <= MAX_RANGE_CHARS && text.trim() !== "" && validRange(text) !== null,
  satisfies: (version, range) => satisfies(version, range, { includePrerelease: true }),
  namespace: (name) => name.split("/").slice(0, -1),
};
