import { compare as comparePublic, explain } from "@renovatebot/pep440";
import type { Naming } from "./ecosystem.ts";
import { isSpecifier, meetsSpecifier } from "./pip-specifier.ts";

const NAME = /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/i;
const MAX_NAME_CHARS = 128;
const MAX_VERSION_CHARS = 128;
/** Numbers of 16 digits and more are not counted exactly. */
const UNCOUNTABLE = /\d{16}/;

/** pip: names by PEP 508 in PEP 503's spelling, versions by PEP 440 in its normal form; `1.0` and `1.0.0` are two spellings of one version. */
export const pipNaming: Naming = {
  ecosystem: "pip",
  purlType: "pypi",
  osv: "PyPI",
  readName: (text) => {
    const fits = text.length <= MAX_NAME_CHARS && NAME.test(text);
    return fits ? text.toLowerCase().replace(/[-_.]+/g, "-") : undefined;
  },
  readVersion: (text) => {
    if (text.length > MAX_VERSION_CHARS || UNCOUNTABLE.test(text)) return undefined;
    const explained = explain(text);
    if (!explained) return undefined;
    const local = localOf(text.toLowerCase());
    return explained.public + (local.length > 0 ? `+${local.join(".")}` : "");
  },
  compare: comparePip,
  sameVersion: (version) => {
    const [, epoch = "", release = "", rest = ""] = /^(\d+!)?(\d+(?:\.\d+)*)(.*)$/s.exec(version) ?? [];
    return epoch + release.replace(/(?:\.0)+$/, "") + rest;
  },
  isPrerelease: (version) => explain(version)?.is_prerelease === true,
  isRange: isSpecifier,
  satisfies: (version, range) => meetsSpecifier(version, range, comparePip),
  namespace: () => [],
};

function comparePip(a: string, b: string): number {
  return comparePublic(publicOf(a), publicOf(b)) || compareLocal(localOf(a), localOf(b));
}

function publicOf(version: string): string {
  return version.replace(/\+.*/, "");
}

/** The parts behind `+`, numbers as numbers (the library would read `1e5` and `0x10` as numbers, too). */
function localOf(version: string): (string | number)[] {
  const [, local = ""] = version.split("+");
  const parts = local === "" ? [] : local.split(/[._-]/);
  return parts.map((it) => (/^\d+$/.test(it) ? Number(it) : it));
}

/** Part by part; a number is above a word, and more parts are above fewer. */
function compareLocal(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    if (left === right) continue;
    if (typeof left === typeof right) return left < right ? -1 : 1;
    return typeof left === "number" ? 1 : -1;
  }
  return a.length - b.length;
}
