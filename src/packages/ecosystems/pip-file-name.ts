import { pipNaming } from "../../policy/ecosystems/pip.ts";

/** What a file's name says: the project, and a version of it. */
export interface PipFileName {
  readonly name: string;
  readonly version: string;
  /** It has to be built, by a program of its own. */
  readonly isSource: boolean;
}

const SAFE = /^[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}$/;
const SOURCE = /^(.+)\.(?:tar\.gz|tgz|zip|tar\.bz2|tbz|tar\.xz|txz|tar)$/i;
/** Places where a name could end and a version begin, at most. */
const MAX_READINGS = 4;

/**
 * A wheel's name (PEP 427), or a source archive's (PEP 625, and those of before, whose names may have a `-` themselves: there may be
 * several readings). None for what pip does not install.
 */
export function readFileName(file: string): readonly PipFileName[] {
  if (!SAFE.test(file) || file.includes("..")) return [];
  if (/\.whl$/i.test(file)) return readWheel(file.slice(0, -4));
  const [, stem = ""] = SOURCE.exec(file) ?? [];
  const dashes = [...stem.matchAll(/-/g)].map((it) => it.index);
  const readings = dashes.flatMap((at) => reading(stem.slice(0, at), stem.slice(at + 1), true));
  return readings.slice(0, MAX_READINGS);
}

/** `name-version[-build]-python-abi-platform` */
function readWheel(stem: string): readonly PipFileName[] {
  const parts = stem.split("-");
  const [name = "", version = ""] = parts;
  if (parts.length !== 5 && parts.length !== 6) return [];
  // Old tools wrote `_` for `-` in versions, too.
  return [version, version.replaceAll("_", "-")].flatMap((it) => reading(name, it, false)).slice(0, 1);
}

function reading(nameText: string, versionText: string, isSource: boolean): PipFileName[] {
  const [name, version] = [pipNaming.readName(nameText), pipNaming.readVersion(versionText)];
  return name === undefined || version === undefined ? [] : [{ name, version, isSource }];
}
