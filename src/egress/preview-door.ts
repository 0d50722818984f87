import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { forwarded, pairs } from "./headers.ts";

/**
 * Of the parameter in the link, and of the cookie that it is exchanged for. A name that says "token", so that the audit log hides the value
 * wherever an agent repeats it.
 */
export const TOKEN_NAME = "glovebox-token";

/** Where an exposed port is found on this computer, and what opens it. */
export interface Door {
  /** A name under `localhost` of its own: cookies are by host and not by port, so 127.0.0.1 would share them with every other server there. */
  readonly host: string;
  readonly port: number;
  /** 192 random bits, base64url. */
  readonly token: string;
}

type Asked = Pick<IncomingMessage, "method" | "url" | "rawHeaders">;

/** To be sent on, as it stands here: nothing of the token is left in it. */
export interface Admitted {
  readonly kind: "admitted";
  readonly path: string;
  readonly headers: readonly string[];
}

type Admission =
  | Admitted
  /** It came by the link: the token goes into a cookie, and the browser to the same place without it. */
  | { readonly kind: "welcome"; readonly location: string }
  | { readonly kind: "refused"; readonly status: 400 | 403; readonly reason: string };

const BY_LINK =
  "this port of a sandbox is shown to who has its link: open the whole link that exposePort gave, or send `Authorization: Bearer <token>`";

/**
 * Whether a request may go into the sandbox. Whoever asks may be any user of this computer, or any page in the person's browser: only the
 * token says otherwise, and from a browser only requests of the preview's own pages, and links to it.
 */
export function admit({ method = "", url = "", rawHeaders }: Asked, door: Door): Admission {
  if (!url.startsWith("/")) return refused(400, "a request's target must be a path");
  const [host, ...more] = valuesOf(rawHeaders, "host");
  if (host === undefined || more.length > 0) return refused(400, "a request must have one Host");
  const own = `${door.host}:${door.port}`;
  const isOwn = host.toLowerCase() === own;
  // A name that leads here and is not ours is another site's, which has had it rebound.
  if (!isOwn && host !== `127.0.0.1:${door.port}` && host !== `localhost:${door.port}`) return refused(403, BY_LINK);
  if (valuesOf(rawHeaders, "service-worker").length > 0) {
    return refused(403, "a preview has no service workers: they would outlive it in the browser");
  }
  const isUpgrade = valuesOf(rawHeaders, "upgrade").length > 0;
  const { bearer, rest } = withoutToken(rawHeaders, door);
  const headers = forwarded(rest, isUpgrade);
  if (bearer) return { kind: "admitted", path: url, headers };
  if (!isOwn) return refused(403, BY_LINK);
  const link = readLink(url, door);
  if (link) {
    if (!link.isRight || method !== "GET" || isUpgrade) return refused(403, BY_LINK);
    return { kind: "welcome", location: `http://${own}${link.path}` };
  }
  const cookies = cookiesOf(rawHeaders).filter(isTokenCookie);
  if (!cookies.some((it) => isToken(it.slice(TOKEN_NAME.length + 1), door))) return refused(403, BY_LINK);
  if (isForeign(method, rawHeaders, `http://${own}`))
    return refused(403, "another site's page may link here, and no more");
  return { kind: "admitted", path: url, headers };
}

/** The request's headers without what opens the door, and whether a program presented it. */
function withoutToken(raw: readonly string[], door: Door): { bearer: boolean; rest: string[] } {
  let bearer = false;
  const rest = pairs(raw).flatMap(([name, value]) => {
    const lower = name.toLowerCase();
    if (lower === "authorization") {
      const [, given] = /^Bearer +(\S+)$/i.exec(value) ?? [];
      if (given === undefined || !isToken(given, door)) return [name, value];
      bearer = true;
      return [];
    }
    if (lower !== "cookie") return [name, value];
    const kept = cookiesOf([name, value]).filter((it) => !isTokenCookie(it));
    return kept.length === 0 ? [] : [name, kept.join("; ")];
  });
  return { bearer, rest };
}

/** The token in an address, and the address without it; `undefined` when there is none. */
function readLink(url: string, door: Door): { isRight: boolean; path: string } | undefined {
  const [path = "", ...query] = url.split("?");
  const parameters = query.join("?").split("&");
  const given = parameters.filter((it) => it.startsWith(`${TOKEN_NAME}=`));
  if (given.length === 0) return undefined;
  const kept = parameters.filter((it) => !given.includes(it)).join("&");
  const isRight = given.every((it) => isToken(it.slice(TOKEN_NAME.length + 1), door));
  return { isRight, path: kept === "" ? path : `${path}?${kept}` };
}

/** Whether a browser says that another site's page caused it, and it is more than a link that was followed. */
function isForeign(method: string, raw: readonly string[], origin: string): boolean {
  if (valuesOf(raw, "origin").some((it) => it !== origin)) return true;
  const [site = "none"] = valuesOf(raw, "sec-fetch-site");
  if (site === "same-origin" || site === "none") return false;
  const [mode] = valuesOf(raw, "sec-fetch-mode");
  const [destination] = valuesOf(raw, "sec-fetch-dest");
  return !(method === "GET" && mode === "navigate" && destination === "document");
}

function cookiesOf(raw: readonly string[]): string[] {
  return valuesOf(raw, "cookie")
    .flatMap((it) => it.split(";"))
    .map((it) => it.trim());
}

function isTokenCookie(cookie: string): boolean {
  return cookie.startsWith(`${TOKEN_NAME}=`);
}

/** In a time that tells nothing of where they differ. */
function isToken(given: string, { token }: Door): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function valuesOf(raw: readonly string[], name: string): string[] {
  return pairs(raw).flatMap(([it, value]) => (it.toLowerCase() === name ? [value] : []));
}

function refused(status: 400 | 403, reason: string): Admission {
  return { kind: "refused", status, reason };
}
