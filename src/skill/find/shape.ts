import { parse } from "tldts";
import { readHost } from "../../policy/host.ts";
import { isStopWord } from "./stem.ts";

/** What a word of a request is by its looks alone. */
export type Shape =
  | "url"
  | "host"
  | "path"
  | "version"
  | "date"
  | "package"
  /** What only git calls so: `HEAD~3`, `feature/login`, `4f2a91c`. */
  | "ref"
  /** `#general` */
  | "tag"
  | "mail"
  /** `--dry-run` */
  | "option"
  | "integer"
  /** `C0123456789` */
  | "id"
  /** What no sentence has: `order_id`, `bugfix-12`, `userName`. */
  | "name"
  | "word";

/** Endings that are both a file's and a domain's: in a request they are a file's far more often. */
const FILES_FIRST = new Set([
  "ai",
  "app",
  "cc",
  "in",
  "md",
  "mov",
  "my",
  "pl",
  "ps",
  "pub",
  "py",
  "rs",
  "sc",
  "sh",
  "so",
  "st",
  "zip",
]);
/** As people name them; `+1` is none. */
const INTEGER = /^-?\d{1,15}$|^\d{1,3}(,\d{3}){1,4}$/;
const VERSION = /^[v=^~]{0,2}\d+\.\d+(\.\d+){0,2}([-+.]?[a-z0-9]+([.-][a-z0-9]+)*)?$/i;
const PACKAGE =
  /^(@[a-z0-9][\w.-]*\/)?[a-z0-9][\w.-]*(@[v^~]?\d[\w.+-]*|[=~]=\d[\w.+-]*)$|^@[a-z0-9][\w.-]*\/[a-z0-9][\w.-]*$/i;
/** What git itself calls a commit, and abbreviated hashes; a word of a-f alone is more likely a word. */
const COMMIT = /^(HEAD|ORIG_HEAD|FETCH_HEAD)([~^]\d*)*$|^[\w./-]+([~^]\d*)+$|^(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}$/;
const FILE_NAME = /^[^\s/\\]*[^\s/\\.]\.[a-z][a-z0-9]{0,9}$/i;
const SLASHED = /^[\w.@+-]+(\/[\w.@+-]+)+\/?$/;

export function shapeOf(text: string): Shape {
  if (/^[a-z][a-z0-9+.-]*:\/\/./i.test(text)) return "url";
  if (INTEGER.test(text)) return "integer";
  if (/^\d{4}-\d\d-\d\d(T[\d:.]+Z?)?$/.test(text)) return "date";
  if (/^--?[a-z][\w-]*$/i.test(text)) return "option";
  if (VERSION.test(text)) return readHost(text)?.kind === "address" ? "host" : "version";
  if (/^#[\p{L}_][\p{L}\p{N}._-]*$/u.test(text)) return "tag";
  if (PACKAGE.test(text)) return "package";
  if (/^[^\s@/:]+@[^\s@/]+\.[^\s@]+$/.test(text)) return "mail";
  if (COMMIT.test(text)) return "ref";
  if (isHost(text)) return "host";
  if (/^(\/|\.{1,2}\/|~\/)./.test(text) || text === "." || FILE_NAME.test(text)) return "path";
  if (SLASHED.test(text) && !isAlternative(text)) return isBranchLike(text) ? "ref" : "path";
  if (/^(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{6,}$/.test(text)) return "id";
  return isName(text) ? "name" : "word";
}

/** A file name's ending, in lower case. */
export function extensionOf(path: string): string | undefined {
  return /[^/.]\.([a-z][a-z0-9]{0,9})$/i.exec(path)?.[1]?.toLowerCase();
}

function isHost(text: string): boolean {
  const [, name = "", port, rest] = /^(\[[0-9a-f:.]+\]|[^:/\s]+)(:\d{1,5})?(\/\S*)?$/i.exec(text) ?? [];
  const host = readHost(name);
  if (!host) return false;
  if (host.kind === "address") return true;
  if (port) return true;
  if (host.host === "localhost") return true;
  if (!host.host.includes(".") || /^[._]|[A-Z_]/.test(name)) return false;
  const { isIcann, publicSuffix, domain } = parse(host.host);
  const isFile = !rest && FILES_FIRST.has(publicSuffix ?? "") && name.split(".").length === 2;
  return isIcann === true && domain !== null && !isFile;
}

/** `feature/login` and `origin/main` are branches by what teams call them. */
function isBranchLike(text: string): boolean {
  return (
    !extensionOf(text) &&
    /^(origin|upstream|feature|feat|bugfix|fix|hotfix|release|chore|refactor|users?|dependabot|renovate|heads|tags|refs)\//.test(
      text,
    ) &&
    !text.endsWith("/")
  );
}

/** `and/or`, `24/7`, `TCP/IP`: a slash between words. */
function isAlternative(text: string): boolean {
  if (extensionOf(text) !== undefined) return false;
  const words = text.split("/");
  const isShort = words.every((it) => /^(\d{1,4}|[A-Z]{1,4})$/.test(it));
  return isShort || words.some((it) => isStopWord(it.toLowerCase()));
}

function isName(text: string): boolean {
  if (!/^[\p{L}\p{N}_:-]+$/u.test(text)) return false;
  if (/[\p{L}\p{N}][_:][\p{L}\p{N}]|^\p{Ll}+\p{Lu}/u.test(text)) return true;
  return /\p{L}/u.test(text) && /\d/.test(text) && /[\p{L}\p{N}]-[\p{L}\p{N}]/u.test(text);
}
