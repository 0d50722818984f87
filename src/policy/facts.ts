import { GatewayError } from "../errors.ts";
import type { Fact } from "./request.ts";

const MAX_PATH_BYTES = 4_095;
const MAX_NAME_BYTES = 255;
const MAX_PREFIXES = 8;
/** A prefix longer than this is left out, and so are the longer ones: no rule names such a thing, and Cedar's time grows with it. */
const MAX_PREFIX_BYTES = 4_096;

/**
 * The one spelling of a path in the sandbox: absolute, without `.`, `..`, doubled or trailing slashes. `..` is resolved by name alone and
 * never climbs above `/`; the sandbox refuses symbolic links, so that this is also where the path leads.
 * @throws GatewayError INVALID_ARGUMENTS
 */
export function normalisePath(path: string, cwd = "/workspace"): string {
  if (path === "" || path.includes("\0") || !path.isWellFormed()) {
    throw new GatewayError("INVALID_ARGUMENTS", "path: must be non-empty valid Unicode without NUL");
  }
  const names: string[] = [];
  for (const name of `${path.startsWith("/") ? "" : cwd}/${path}`.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  const normal = `/${names.join("/")}`;
  if (Buffer.byteLength(normal) > MAX_PATH_BYTES || names.some((it) => Buffer.byteLength(it) > MAX_NAME_BYTES)) {
    const limits = `${MAX_PATH_BYTES} bytes in all and ${MAX_NAME_BYTES} between slashes`;
    throw new GatewayError("INVALID_ARGUMENTS", `path: must have at most ${limits}`);
  }
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
