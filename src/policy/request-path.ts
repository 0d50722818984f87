import { GatewayError } from "../errors.ts";
import { normalisePath } from "./facts.ts";

/**
 * The path of a request's target as policy sees it: decoded, absolute, without doubled or trailing slashes. `undefined` when servers
 * read it in more than one way: dot segments however they are written, a backslash, NUL and other control characters, broken escapes. (An
 * escaped slash counts as one: scoped packages have them.)
 */
export function requestPath(target: string): string | undefined {
  const [path = ""] = target.split(/[?#]/, 1);
  if (!path.startsWith("/")) return undefined;
  try {
    const decoded = decodeURIComponent(path);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    if (/[\u0000-\u001f\u007f\\]/.test(decoded) || decoded.split("/").some((it) => /^\.{1,2}(;|$)/.test(it)))
      return undefined;
    return normalisePath(decoded, "/");
  } catch (error) {
    if (error instanceof URIError || error instanceof GatewayError) return undefined;
    throw error;
  }
}
