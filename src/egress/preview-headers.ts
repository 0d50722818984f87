import { forwarded, pairs } from "./headers.ts";
import { TOKEN_NAME } from "./preview-door.ts";

/** What a server in the sandbox has no say in: each reaches beyond its pages, or is said by us. */
const REMOVED = new Set([
  "alt-svc",
  "clear-site-data",
  "cross-origin-opener-policy",
  "cross-origin-resource-policy",
  "referrer-policy",
  "service-worker-allowed",
  "strict-transport-security",
]);

const ADDED = [
  // No other site's page embeds it…
  ["Cross-Origin-Resource-Policy", "same-origin"],
  // …nor has the page that linked to it, or is opened by it, in its hands.
  ["Cross-Origin-Opener-Policy", "same-origin"],
  // `no-referrer` would make the Origin of the page's own forms "null".
  ["Referrer-Policy", "same-origin"],
].flat();

/** Headers of an answer of the sandbox as a browser may have them. */
export function forBrowser(raw: readonly string[], isUpgrade = false): string[] {
  const kept = pairs(forwarded(raw, isUpgrade)).flatMap(([name, value]): string[] => {
    const lower = name.toLowerCase();
    if (REMOVED.has(lower)) return [];
    if (lower !== "set-cookie") return [name, value];
    const cookie = ownCookie(value);
    return cookie === undefined ? [] : [name, cookie];
  });
  return [...kept, ...ADDED];
}

/** A cookie of the preview's host alone; `undefined` when it is the one that opens the door. */
function ownCookie(value: string): string | undefined {
  const [pair = "", ...attributes] = value.split(";");
  if (pair.split("=", 1)[0]?.trim() === TOKEN_NAME) return undefined;
  return [pair, ...attributes.filter((it) => !/^\s*domain\s*(=|$)/i.test(it))].join(";");
}
