import { printable } from "../lib/text.ts";
import { segmentsOf } from "../policy/request-path.ts";
import { mayCarrySecret, type Secret } from "../policy/secret.ts";
import { findPlaceholders } from "./placeholders.ts";
import type { RequestHead } from "./secret-binding.ts";

/** A secret, what stands for it in one session, and what it is. */
export interface StandIn {
  readonly secret: Pick<Secret, "name" | "present">;
  readonly placeholder: string;
  readonly value: string;
}

export type Presented =
  | { readonly kind: "presented"; readonly request: RequestHead }
  /** `reason` says where the placeholder stood, and never the value. */
  | { readonly kind: "refused"; readonly reason: string };

/** Says that the placeholder must not stand there. */
type Refuse = (place: string) => void;

/**
 * The request with the value where the program put the placeholder: in a header, also as user or password of `Authorization: Basic`,
 * in the value of a query parameter, or in the path, escaped as each needs it. Adds nothing to a request without one. Refused where
 * the secret's `present` names another place, and where it stands in any other way, so that a request goes whole or not at all.
 */
export function presentSecret(standIn: StandIn, { method, path, headers }: RequestHead): Presented {
  const places: string[] = [];
  const refuse: Refuse = (place) => void places.push(place);
  const request: RequestHead = {
    method,
    path: inTarget(standIn, path, refuse),
    headers: headers.map(([name, text]) => [name, inHeader(standIn, name, text, refuse)] as const),
  };
  if (places.length === 0 && placeholdersIn(request).includes(standIn.placeholder)) {
    refuse("a place or an encoding in which it is not replaced");
  }
  if (places.length === 0) return { kind: "presented", request };
  const wanted = standIn.secret.present ? `; it belongs into ${described(standIn.secret.present)}` : "";
  return { kind: "refused", reason: `the placeholder of ${standIn.secret.name} is in ${places.join(", ")}${wanted}` };
}

/** Every session's placeholders in a request's head. */
export function placeholdersIn({ method, path, headers }: RequestHead): readonly string[] {
  return [...new Set([method, path, ...headers.flat()].flatMap(findPlaceholders))];
}

function described(present: NonNullable<Secret["present"]>): string {
  switch (present.as) {
    case "bearer":
      return "`Authorization: Bearer`";
    case "basic":
      return `the password of \`Authorization: Basic\`${present.username === undefined ? "" : ` of the user ${present.username}`}`;
    case "header":
      return `the header ${present.name}`;
    case "query":
      return `the query parameter ${present.name}`;
  }
}

function inHeader(standIn: StandIn, name: string, text: string, refuse: Refuse): string {
  const { secret, placeholder, value } = standIn;
  const isAuthorization = name.toLowerCase() === "authorization";
  const credentials = isAuthorization ? basicCredentials(text) : undefined;
  if (credentials?.includes(placeholder)) return inBasic(standIn, credentials, refuse);
  if (!text.includes(placeholder)) return text;
  if (!mayCarrySecret(name) || !mayStandIn()) refuse(`the header ${printable(name, 128)}`);
  return text.replaceAll(placeholder, () => value);

  function mayStandIn(): boolean {
    switch (secret.present?.as) {
      case undefined:
        return true;
      case "bearer":
        if (!isAuthorization || !text.endsWith(placeholder)) return false;
        return /^(?:bearer|token) +$/i.test(text.slice(0, -placeholder.length));
      case "header":
        return name.toLowerCase() === secret.present.name.toLowerCase();
      default:
        return false;
    }
  }
}

/** `user:password` (RFC 7617), byte for byte, or `undefined` when the header holds something else. */
function basicCredentials(text: string): string | undefined {
  const encoded = /^basic +([A-Za-z0-9+/_-]+={0,2}) *$/i.exec(text)?.[1];
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("latin1");
}

function inBasic({ secret: { present }, placeholder, value }: StandIn, credentials: string, refuse: Refuse): string {
  const colon = credentials.indexOf(":");
  const [user, password] =
    colon === -1 ? [credentials, undefined] : [credentials.slice(0, colon), credentials.slice(colon + 1)];
  if (user.includes(placeholder) && (present !== undefined || value.includes(":"))) {
    refuse("the user name of `Authorization: Basic`");
  }
  if (password?.includes(placeholder) && present && !isFor(present, user)) {
    refuse("the password of `Authorization: Basic`");
  }
  const replaced = credentials.replaceAll(placeholder, () => value);
  return `Basic ${Buffer.from(replaced, "latin1").toString("base64")}`;
}

function isFor(present: NonNullable<Secret["present"]>, user: string): boolean {
  return present.as === "basic" && (present.username ?? user) === user;
}

function inTarget(standIn: StandIn, target: string, refuse: Refuse): string {
  if (!target.includes(standIn.placeholder)) return target;
  const mark = target.indexOf("?");
  if (mark === -1) return inPath(standIn, target, refuse);
  return `${inPath(standIn, target.slice(0, mark), refuse)}?${inQuery(standIn, target.slice(mark + 1), refuse)}`;
}

/** Slashes of the value stay slashes, as a web hook's have to. */
function inPath({ secret, placeholder, value }: StandIn, path: string, refuse: Refuse): string {
  if (!path.includes(placeholder)) return path;
  const escaped = value.replaceAll(/[^A-Za-z0-9._~!$&'()*+,=:@/-]/g, encodeURIComponent);
  // A value that climbs, or that servers would read in different ways, would make it another path than the one that was allowed.
  if (secret.present || !segmentsOf(`/${escaped}`)) refuse("the path");
  return path.replaceAll(placeholder, () => escaped);
}

function inQuery({ secret: { present }, placeholder, value }: StandIn, query: string, refuse: Refuse): string {
  const parameters = query.split("&").map((parameter) => {
    if (!parameter.includes(placeholder)) return parameter;
    const [name = "", ...rest] = parameter.split("=");
    const isWanted = present === undefined || (present.as === "query" && decodedName(name) === present.name);
    if (!isWanted || name.includes(placeholder)) refuse(`the query parameter ${printable(name, 128)}`);
    return [name, ...rest.map((it) => it.replaceAll(placeholder, () => encodeURIComponent(value)))].join("=");
  });
  return parameters.join("&");
}

function decodedName(name: string): string | undefined {
  return new URLSearchParams(`${name}=`).keys().next().value;
}
