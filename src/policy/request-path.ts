import { GatewayError } from "../errors.ts";
import { normalisePath } from "./facts.ts";

/**
 * The path of a request's target as policy sees it: decoded, absolute, without a slash at its end. `undefined` when servers read it in more
 * than one way.
 */
export function requestPath(target: string): string | undefined {
  const segments = segmentsOf(target);
  if (!segments) return undefined;
  try {
    return normalisePath(`/${segments.join("/")}`, "/");
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/**
 * The decoded segments of a path, or `undefined` where servers disagree about which they are: `.` and `..` however they are
 * encoded, `//`, backslashes, `;` parameters, `#`, escapes of escapes, and what is no path at all. An encoded slash stays inside
 * its segment, as long as reading it as a slash climbs nowhere.
 */
export function segmentsOf(path: string): readonly string[] | undefined {
  const bare = path.split("?", 1)[0] ?? "";
  // A fragment doesn't belong on the wire (RFC 9112 §3.2): who reads one off cuts the path short, who doesn't has `..` behind it.
  if (path.includes("#") || !/^\/[\x21-\x7e]*$/.test(bare)) return undefined;
  const decoded = decode(bare);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  if (decoded === undefined || /[\\;#?\u0000-\u001f\u007f-\u009f]|%[0-9a-f]{2}/i.test(decoded)) return undefined;
  const readings = decoded.slice(1).split("/");
  // The last one is empty when the path ends with a slash.
  if (readings.some((it, at) => /^[. ]+$/.test(it) || (it === "" && at < readings.length - 1))) return undefined;
  return bare
    .slice(1)
    .split("/")
    .map((it) => decode(it) ?? "");
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
