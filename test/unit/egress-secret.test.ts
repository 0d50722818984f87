import { expect, test } from "vitest";
import { isBound, type RequestHead } from "../../src/egress/secret-binding.ts";
import { segmentsOf } from "../../src/policy/request-path.ts";
import { secretsSchema } from "../../src/policy/secret.ts";

const token = { name: "TOKEN", source: { env: "TOKEN" }, hosts: [{ host: "api.example.com" }] };

function parsed(over: object) {
  const [secret] = secretsSchema.parse([{ ...token, ...over }]);
  if (!secret) throw new Error("nothing parsed");
  return secret;
}

test("a secret needs its name, its source and where it may go; the rest has defaults", () => {
  expect(parsed({})).toEqual({
    name: "TOKEN",
    source: { env: "TOKEN" },
    refreshMs: 300_000,
    hosts: [{ host: "api.example.com", ports: [443] }],
  });
  expect(parsed({ source: { command: ["op", "read", "op://x"] } }).source).toEqual({
    command: ["op", "read", "op://x"],
    timeoutMs: 15_000,
  });
  expect(parsed({ source: { file: "~/token" } }).source).toEqual({ file: "~/token" });
});

test("what was parsed can be parsed again", () => {
  const once = secretsSchema.parse([
    { ...token, source: { command: ["op"] }, present: { as: "basic", username: "x" } },
    { ...token, name: "OTHER", present: { as: "header", name: "X-Api-Key" } },
  ]);
  expect(secretsSchema.parse(once)).toEqual(once);
});

const refused: [over: object, problem: string][] = [
  [{ name: "token" }, "0.name: must be capitals"],
  [{ value: "x" }, "0: Unrecognized key"],
  [{ hosts: [] }, "0.hosts: Too small"],
  [{ hosts: [{ host: "x", port: 443 }] }, "0.hosts.0: Unrecognized key"],
  [{ hosts: [{ host: "x", paths: ["repos"] }] }, "0.hosts.0.paths.0: must begin with /"],
  [{ hosts: [{ host: "x", paths: ["/a/../b"] }] }, "0.hosts.0.paths.0: must begin with /"],
  [{ hosts: [{ host: "x", paths: ["/a%2fb"] }] }, "0.hosts.0.paths.0: must begin with /"],
  [{ hosts: [{ host: "x", methods: ["get"] }] }, "0.hosts.0.methods.0: must be a method"],
  [{ hosts: [{ host: "x", methods: ["TRACE"] }] }, "0.hosts.0.methods.0: cannot carry a secret"],
  [{ source: {} }, "0.source: give exactly one of"],
  [{ source: { env: "A", file: "/a" } }, "0.source: give exactly one of"],
  [{ source: { env: "A", timeoutMs: 1000 } }, "0.source: timeoutMs belongs to a command"],
  [{ source: { file: "token" } }, "0.source.file: must be absolute"],
  [{ source: { command: [] } }, "0.source.command.0: Invalid input"],
  [{ source: { command: ["./op"] } }, "0.source.command: the program must be absolute"],
  [{ present: { as: "cookie" } }, "0.present.as: Invalid"],
  [{ present: { as: "bearer", name: "x" } }, "0.present: Unrecognized key"],
  [{ present: { as: "header", name: "a b" } }, "0.present.name: must be the name of a header"],
  ...["Host", "content-length", "Transfer-Encoding", "Connection", "Proxy-Authorization", "TE", ":authority"].map(
    (name): [object, string] => [{ present: { as: "header", name } }, "0.present.name: must be the name of a header"],
  ),
];
test.each(refused)("%j is refused: %s", (over, problem) => {
  const { error } = secretsSchema.safeParse([{ ...token, ...over }]);
  const told = error?.issues.map((it) => `${it.path.join(".")}: ${it.message}`).join("\n");
  expect(told).toMatch(new RegExp(`^${problem.replaceAll(/[./]/g, "\\$&")}`));
});

test("a name is given once", () => {
  const { error } = secretsSchema.safeParse([token, token]);
  expect(error?.issues).toMatchObject([{ path: [1, "name"], message: "there is a secret TOKEN already" }]);
});

const to = { host: "api.example.com", port: 443 };
const get = (path: string, over: Partial<RequestHead> = {}): RequestHead => ({
  method: "GET",
  path,
  headers: [],
  ...over,
});

test("a secret is bound to its hosts and ports only", () => {
  const exact = parsed({});
  expect(isBound(exact, to, get("/"))).toBe(true);
  expect(isBound(exact, { ...to, host: "API.Example.com." }, get("/"))).toBe(true);
  for (const host of ["example.com", "xapi.example.com", "a.api.example.com", "api.example.com.evil.org", ""]) {
    expect([host, isBound(exact, { ...to, host }, get("/"))]).toEqual([host, false]);
  }
  expect(isBound(exact, { ...to, port: 8443 }, get("/"))).toBe(false);
  const below = parsed({ hosts: [{ host: "*.example.com", ports: [443, 8443] }] });
  expect(isBound(below, { host: "a.b.example.com", port: 8443 }, get("/"))).toBe(true);
  for (const host of ["example.com", ".example.com.evil", "badexample.com"]) {
    expect([host, isBound(below, { ...to, host }, get("/"))]).toEqual([host, false]);
  }
});

test("a secret is bound to its methods, and none that echoes or tunnels", () => {
  const reading = parsed({ hosts: [{ host: "api.example.com", methods: ["GET"] }] });
  expect(isBound(reading, to, get("/"))).toBe(true);
  expect(isBound(reading, to, get("/", { method: "POST" }))).toBe(false);
  expect(isBound(reading, to, get("/", { headers: [["X-HTTP-Method-Override", "DELETE"]] }))).toBe(false);
  expect(isBound(parsed({}), to, get("/", { method: "POST" }))).toBe(true);
  expect(isBound(parsed({}), to, get("/", { method: "TRACE" }))).toBe(false);
  expect(isBound(parsed({}), to, get("/", { method: "CONNECT" }))).toBe(false);
});

const repos = parsed({ hosts: [{ host: "api.example.com", paths: ["/repos/own", "/user/"] }] });

test.each([
  "/repos/own",
  "/repos/own/",
  "/repos/own/x?q=/../..",
  "/repos/%6fwn/x",
  "/user",
  "/user/emails",
  "/repos/own/group%2Fproject",
  "/repos/own/100%25",
  "/repos/own/caf%C3%A9",
])("%s is below what the secret is bound to", (path) => {
  expect(isBound(repos, to, get(path))).toBe(true);
});

test.each([
  "/",
  "",
  "*",
  "repos/own",
  "//repos/own",
  "/repos",
  "/repos/owner",
  "/repos/OWN",
  "/repos/own/../other",
  "/repos/own/..",
  "/repos/own/.",
  "/repos/own/%2e%2e/other",
  "/repos/own/.%2E/other",
  "/repos/own/%2e%2e%2fother",
  "/repos/own/x%2f..%2f..%2fother",
  "/repos/own/%252e%252e/other",
  "/repos/own//x",
  "/repos/own/..;/other",
  "/repos/own;a=b",
  "/repos/own%3ba",
  "/repos/own/..\\other",
  "/repos/own/%5c..%5cother",
  "/repos%2fown",
  "/repos/own%2fx",
  "/repos/own/%",
  "/repos/own/%c0%ae%c0%ae/other",
  "/repos/own/%00",
  "/repos/own/%3f",
  "/repos/own/#/../../other",
  "/repos/own/é",
  "/repos/own/a b",
  "https://api.example.com/repos/own",
])("%s is not, or could be read as what is not", (path) => {
  expect(isBound(repos, to, get(path))).toBe(false);
});

test("a header that some servers take for the path is not bound where paths are", () => {
  const headers = [["X-Original-URL", "/admin"]] as const;
  expect(isBound(repos, to, get("/user", { headers }))).toBe(false);
  expect(isBound(parsed({}), to, get("/user", { headers }))).toBe(true);
});

test("an encoded slash stays inside its segment", () => {
  expect(segmentsOf("/a/b%2Fc/")).toEqual(["a", "b/c", ""]);
});
