import { describe, expect, test } from "vitest";
import { redact } from "../../src/audit/redact.ts";
import { admit, type Door, TOKEN_NAME } from "../../src/egress/preview-door.ts";
import { forBrowser } from "../../src/egress/preview-headers.ts";

const DOOR: Door = { host: "preview-0a.localhost", port: 4000, token: `${"A".repeat(31)}-` };
const OWN = "preview-0a.localhost:4000";
const COOKIE = `${TOKEN_NAME}=${DOOR.token}`;
const BEARER = `Bearer ${DOOR.token}`;

interface Given {
  readonly method?: string;
  readonly url?: string;
  readonly headers: readonly (readonly [string, string])[];
}

function asked({ method = "GET", url = "/", headers }: Given) {
  return admit({ method, url, rawHeaders: headers.flat() }, DOOR);
}

const host = (value: string) => ["Host", value] as const;
const cookie = ["Cookie", COOKIE] as const;
const fetched = (site: string, mode: string, destination: string) =>
  [
    ["Sec-Fetch-Site", site],
    ["Sec-Fetch-Mode", mode],
    ["Sec-Fetch-Dest", destination],
  ] as const;

describe("a request is let in", () => {
  test.each([
    ["with the cookie", [host(OWN), cookie]],
    ["with the cookie among others of its name", [host(OWN), ["Cookie", `${TOKEN_NAME}=x; a=b; ${COOKIE}`] as const]],
    ["with the token in a header, by any of its names", [host("127.0.0.1:4000"), ["Authorization", BEARER] as const]],
    [
      "from its own page",
      [host(OWN), cookie, ["Origin", `http://${OWN}`] as const, ...fetched("same-origin", "cors", "empty")],
    ],
    ["that a person has typed", [host(OWN), cookie, ...fetched("none", "navigate", "document")]],
    ["by a link on another site's page", [host(OWN), cookie, ...fetched("cross-site", "navigate", "document")]],
  ])("%s", (_what, headers) => {
    const admission = asked({ headers });
    expect(admission).toMatchObject({ kind: "admitted", path: "/" });
    expect(JSON.stringify(admission)).not.toContain(DOOR.token);
  });

  test("with its own headers, cookies and credentials, and without the token", () => {
    const headers = [
      host(OWN),
      ["Cookie", `a=b; ${COOKIE}; c=d`],
      ["Authorization", "Basic eDp5"],
      ["X-A", "1"],
    ] as const;
    expect(asked({ headers })).toMatchObject({
      headers: ["Host", OWN, "Cookie", "a=b; c=d", "Authorization", "Basic eDp5", "X-A", "1"],
    });
    const byProgram = [host("localhost:4000"), ["Authorization", BEARER], ["Cookie", "a=b"]] as const;
    expect(asked({ headers: byProgram })).toMatchObject({ headers: ["Host", "localhost:4000", "Cookie", "a=b"] });
  });
});

describe("a request is refused", () => {
  const origin = (value: string) => ["Origin", value] as const;
  test.each<[string, Given]>([
    ["without a token", { headers: [host(OWN)] }],
    ["with the beginning of it", { headers: [host(OWN), ["Cookie", COOKIE.slice(0, -1)]] }],
    ["with another one", { headers: [host(OWN), ["Authorization", `Bearer ${"B".repeat(32)}`]] }],
    ["with the cookie at an address that other servers share", { headers: [host("127.0.0.1:4000"), cookie] }],
    ["with the link at such an address", { url: `/?${COOKIE}`, headers: [host("localhost:4000")] }],
    ["to a name that was rebound", { headers: [host("evil.example:4000"), ["Authorization", BEARER]] }],
    ["to another port's name", { headers: [host("preview-0a.localhost:4001"), cookie] }],
    ["to its name without a port", { headers: [host("preview-0a.localhost"), cookie] }],
    ["to a name below its own", { headers: [host(`x.${OWN}`), cookie] }],
    ["with two hosts", { headers: [host(OWN), host(OWN), cookie] }],
    ["with none", { headers: [cookie] }],
    ["for a proxy", { url: `http://${OWN}/`, headers: [host(OWN), cookie] }],
    ["for all of the server", { method: "OPTIONS", url: "*", headers: [host(OWN), cookie] }],
    ["with a wrong link", { url: `/?${TOKEN_NAME}=x`, headers: [host(OWN), cookie] }],
    ["that posts to the link", { method: "POST", url: `/?${COOKIE}`, headers: [host(OWN)] }],
    ["that upgrades at the link", { url: `/?${COOKIE}`, headers: [host(OWN), ["Upgrade", "websocket"]] }],
    ["of a service worker", { headers: [host(OWN), cookie, ["Service-Worker", "script"]] }],
    ["of another site's form", { method: "POST", headers: [host(OWN), cookie, origin("http://evil.example")] }],
    ["of another port's page", { method: "POST", headers: [host(OWN), cookie, origin("http://127.0.0.1:4000")] }],
    ["of a page without an origin", { method: "POST", headers: [host(OWN), cookie, origin("null")] }],
    [
      "of another site's WebSocket",
      { headers: [host(OWN), cookie, ...fetched("cross-site", "websocket", "websocket")] },
    ],
    ["of another site's picture", { headers: [host(OWN), cookie, ...fetched("cross-site", "no-cors", "image")] }],
    ["of another site's frame", { headers: [host(OWN), cookie, ...fetched("cross-site", "navigate", "iframe")] }],
    ["of a page of the same site", { headers: [host(OWN), cookie, ...fetched("same-site", "cors", "empty")] }],
    [
      "of another site's form, told by its kind",
      { method: "POST", headers: [host(OWN), cookie, ...fetched("cross-site", "navigate", "document")] },
    ],
  ])("%s", (_what, given) => {
    const admission = asked(given);
    expect(admission).toMatchObject({ kind: "refused" });
    expect(JSON.stringify(admission)).not.toContain(DOOR.token);
    expect(JSON.stringify(admission)).not.toContain(DOOR.host);
  });
});

test.each([
  [`/?${COOKIE}`, "/"],
  [`/a/b?c=d&${COOKIE}&e=f?g`, "/a/b?c=d&e=f?g"],
  [`//evil.example/?${COOKIE}`, "//evil.example/"],
])("the link %s leads to the same place without the token, and to no other host", (url, path) => {
  const headers = [host(OWN), ...fetched("cross-site", "navigate", "document")];
  expect(asked({ url, headers })).toEqual({ kind: "welcome", location: `http://${OWN}${path}` });
});

test("an answer keeps what is its own, and has nothing that reaches beyond it", () => {
  const raw = [
    ["Content-Type", "text/html"],
    ["Clear-Site-Data", '"*"'],
    ["Service-Worker-Allowed", "/"],
    ["Alt-Svc", 'h3=":1"'],
    ["Referrer-Policy", "unsafe-url"],
    ["Set-Cookie", "a=b; Path=/; domain=localhost; HttpOnly"],
    ["Set-Cookie", ` ${TOKEN_NAME} =x`],
    ["Connection", "X-Hop"],
    ["X-Hop", "1"],
  ].flat();
  expect(forBrowser(raw)).toEqual(
    [
      ["Content-Type", "text/html"],
      ["Set-Cookie", "a=b; Path=/; HttpOnly"],
      ["Cross-Origin-Resource-Policy", "same-origin"],
      ["Cross-Origin-Opener-Policy", "same-origin"],
      ["Referrer-Policy", "same-origin"],
    ].flat(),
  );
});

test("an agent that repeats the link, or the header, in a call does not write the token into the audit log", () => {
  const argv = ["curl", "-H", `Authorization: ${BEARER}`, `http://${OWN}/?${COOKIE}`, "-b", COOKIE];
  expect(JSON.stringify(redact({ argv, script: argv.join(" ") }))).not.toContain(DOOR.token);
});
