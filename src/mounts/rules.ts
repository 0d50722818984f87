import type { Mount } from "../policy/mount.ts";
import { covers, type Patterns, parsePatterns } from "./pattern.ts";
import { folded, isSensitive } from "./sensitive.ts";

/** Why something was not copied. */
export type SkipReason =
  | "sensitive" // may hold credentials, or a program of the host would obey it
  | "excluded" // by the mount, or not included
  | "ignored" // by a .gitignore
  | "name" // not UTF-8, not printable, or Glovebox's own
  | "link" // leads out of what is copied, or would have to be followed
  | "special" // pipe, socket or device
  | "taken" // something that is no file has the name
  | "unreadable"; // the gateway's user may not read it, or it went away

export interface Rules {
  /** Why the path may not be copied in this direction, whatever it is; `names` are relative to the mount's root. */
  refusal(names: readonly string[], isDirectory: boolean, direction: "import" | "export"): SkipReason | undefined;
  /** Whether a file is included; of a directory, whether all in it is. */
  includes(names: readonly string[], isDirectory: boolean): boolean;
}

/** Names of what an export has not finished. */
export const DRAFT_PREFIX = ".glovebox-";

/** The rules of a mount: a pure function of the profile. `asked` are the patterns of a call that narrow what is included. */
export function rulesOf({ include, exclude, allowSensitive }: Mount, asked: readonly string[] = []): Rules {
  const excluded = parsePatterns(exclude, folded);
  const allowed = parsePatterns(allowSensitive);
  const included = [include, asked].filter((it) => it.length > 0).map((it): Patterns => parsePatterns(it));
  return {
    refusal(names, isDirectory, direction) {
      if (names.some((it) => !isUsableName(it, direction))) return "name";
      if (isSensitive(names, direction) && !covers(allowed, names, isDirectory)) return "sensitive";
      return covers(excluded, names, isDirectory) ? "excluded" : undefined;
    },
    includes: (names, isDirectory) => included.every((it) => covers(it, names, isDirectory)),
  };
}

/** A host's own names may hold anything but what is not UTF-8; a guest's must be what they look like. */
function isUsableName(name: string, direction: "import" | "export"): boolean {
  if (name.includes("\ufffd") || !name.isWellFormed() || folded(name).startsWith(DRAFT_PREFIX)) return false;
  return direction === "import" || !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\\]/u.test(name);
}
