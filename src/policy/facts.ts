import { GatewayError } from "../errors.ts";
import type { Fact } from "./request.ts";

const MAX_PATH_BYTES = 4_095;
const MAX_NAME_BYTES = 255;
/** Cedar gets every ancestor of a path, so that its time grows with the square of the depth. */
const MAX_DEPTH = 256;
export const MAX_PREFIXES = 8;
/** A prefix longer than this is left out, and so are the longer ones: no rule names such a thing, and Cedar's time grows with it. */
const MAX_PREFIX_BYTES = 4_096;

/**
 * The one spelling of a path in the sandbox: absolute, without `.`, `..`, doubled or trailing slashes. `..` is resolved by name alone and
 * never climbs above `/`; the sandbox refuses symbolic links, so that this is also where the path leads. `field` is the argument to blame.
 * @throws GatewayError INVALID_ARGUMENTS
 */
export function normalisePath(path: string, cwd = "/workspace", field = "path"): string {
  const refuse = (problem: string) => new GatewayError("INVALID_ARGUMENTS", `${field}: must ${problem}`);
  if (path === "" || path.includes("\0") || !path.isWellFormed()) {
    throw refuse("be non-empty valid Unicode without NUL");
  }
  const names: string[] = [];
  for (const name of `${path.startsWith("/") ? "" : cwd}/${path}`.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  const normal = `/${names.join("/")}`;
  if (Buffer.byteLength(normal) > MAX_PATH_BYTES || names.some((it) => Buffer.byteLength(it) > MAX_NAME_BYTES)) {
    throw refuse(`have at most ${MAX_PATH_BYTES} bytes in all and ${MAX_NAME_BYTES} between slashes`);
  }
  if (names.length > MAX_DEPTH) throw refuse(`have at most ${MAX_DEPTH} names`);
  return normal;
}

/** The directories that a normalised path lies in, nearest first, up to `/`; none for `/` itself. */
export function pathAncestors(path: string): string[] {
  const ancestors: string[] = [];
  for (let at = path.lastIndexOf("/"); at > 0; at = path.lastIndexOf("/", at - 1)) ancestors.push(path.slice(0, at));
  return path === "/" ? [] : [...ancestors, "/"];
}

/**
 * An argv as policy sees it. Prefixes are JSON, so that `["git", "push"]` and `["git push"]` differ; Cedar's sets keep no order, so
 * that an argument's place can only be told from a prefix.
 */
export function argvFacts(argv: readonly string[]): Record<"argv0" | "argvPrefixes" | "argc", Fact> {
  const prefixes = argv
    .slice(0, MAX_PREFIXES)
    .map((_, index) => JSON.stringify(argv.slice(0, index + 1)))
    .filter((prefix) => Buffer.byteLength(prefix) <= MAX_PREFIX_BYTES);
  return { argv0: argv[0] ?? "", argvPrefixes: prefixes, argc: argv.length };
}

/** Whether some argv has this prefix among its facts. */
export function isArgvPrefix(text: string): boolean {
  try {
    const argv: unknown = JSON.parse(text);
    if (!Array.isArray(argv) || !argv.every((it) => typeof it === "string")) return false;
    const { argvPrefixes } = argvFacts(argv);
    return Array.isArray(argvPrefixes) && argvPrefixes.includes(text);
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}
