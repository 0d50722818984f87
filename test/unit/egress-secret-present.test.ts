import fc from "fast-check";
import { expect, test } from "vitest";
import { mintPlaceholders } from "../../src/egress/placeholders.ts";
import { type Presented, presentSecret } from "../../src/egress/present.ts";
import type { RequestHead } from "../../src/egress/secret-binding.ts";
import type { Secret } from "../../src/policy/secret.ts";

const NAME = "GITHUB_TOKEN";
const PH = mintPlaceholders([{ name: NAME }]).get(NAME) ?? "";
const VALUE = "sv/4f+1c=$&x";

const request = (over: Partial<RequestHead>): RequestHead => ({ method: "GET", path: "/", headers: [], ...over });
const basic = (credentials: string) => `Basic ${Buffer.from(credentials).toString("base64")}`;

function present(over: Partial<RequestHead>, as?: Secret["present"], value = VALUE): Presented {
  return presentSecret({ secret: { name: NAME, present: as }, placeholder: PH, value }, request(over));
}

function header(name: string, text: string, as?: Secret["present"], value = VALUE): string {
  const presented = present({ headers: [[name, text]] }, as, value);
  return presented.kind === "presented" ? (presented.request.headers[0]?.[1] ?? "") : presented.reason;
}

function path(text: string, as?: Secret["present"], value = VALUE): string {
  const presented = present({ path: text }, as, value);
  return presented.kind === "presented" ? presented.request.path : presented.reason;
}

test("without `present` the value stands where the program put the placeholder", () => {
  expect(header("authorization", `Bearer ${PH}`)).toBe(`Bearer ${VALUE}`);
  expect(header("Authorization", `token ${PH}`)).toBe(`token ${VALUE}`);
  expect(header("X-Api-Key", PH)).toBe(VALUE);
  expect(header("Cookie", `a=1; s=${PH}; t=${PH}`)).toBe(`a=1; s=${VALUE}; t=${VALUE}`);
  expect(header("authorization", basic(`x-access-token:${PH}`))).toBe(basic(`x-access-token:${VALUE}`));
  expect(header("authorization", basic(`${PH}:`))).toBe(basic(`${VALUE}:`));
  expect(header("authorization", basic(`${PH}`))).toBe(basic(VALUE));
  expect(header("authorization", `basic  ${basic(`ü:${PH}`).slice(6).replaceAll("=", "")}`)).toBe(basic(`ü:${VALUE}`));
  expect(path(`/x?a=1&key=${PH}&b=${PH}%20z`)).toBe("/x?a=1&key=sv%2F4f%2B1c%3D%24%26x&b=sv%2F4f%2B1c%3D%24%26x%20z");
  expect(path(`/services/${PH}?x`)).toBe(`/services/${VALUE}?x`);
  expect(path(`/bot${PH}/send`, undefined, "123:AA bb%?#é".slice(0, 9))).toBe("/bot123:AA%20bb/send");
});

test("nothing is added to a request without a placeholder, and nothing else changes", () => {
  const heads = fc.record({
    method: fc.constantFrom("GET", "POST"),
    path: fc.webPath().map((it) => `/${it}?q=${it}`),
    headers: fc.array(
      fc.tuple(fc.constantFrom("accept", "authorization", "x-y"), fc.oneof(fc.string(), fc.string().map(basic))),
    ),
  });
  fc.assert(
    fc.property(heads, (head) => {
      expect(present(head)).toEqual({ kind: "presented", request: head });
      expect(present(head, { as: "bearer" })).toEqual({ kind: "presented", request: head });
    }),
  );
});

test("bearer: alone behind its scheme", () => {
  const bearer = { as: "bearer" } as const;
  const belongs = "; it belongs into `Authorization: Bearer`";
  expect(header("authorization", `Bearer ${PH}`, bearer)).toBe(`Bearer ${VALUE}`);
  expect(header("authorization", `TOKEN  ${PH}`, bearer)).toBe(`TOKEN  ${VALUE}`);
  for (const text of [PH, `${PH}Bearer `, `Bearer ${PH} `, `Bearer x${PH}`, `Digest ${PH}`, `Bearer ${PH}${PH}`]) {
    expect(header("authorization", text, bearer)).toBe(
      `the placeholder of ${NAME} is in the header authorization${belongs}`,
    );
  }
  expect(header("x-token", `Bearer ${PH}`, bearer)).toContain("is in the header x-token");
  expect(header("authorization", basic(`u:${PH}`), bearer)).toContain("is in the password of");
  expect(path(`/?q=${PH}`, bearer)).toBe(`the placeholder of ${NAME} is in the query parameter q${belongs}`);
  expect(path(`/${PH}`, bearer)).toBe(`the placeholder of ${NAME} is in the path${belongs}`);
});

test("basic: in the password, and of its user", () => {
  const any = { as: "basic" } as const;
  const git = { as: "basic", username: "git" } as const;
  expect(header("authorization", basic(`u:${PH}`), any)).toBe(basic(`u:${VALUE}`));
  expect(header("authorization", basic(`git:${PH}`), git)).toBe(basic(`git:${VALUE}`));
  expect(header("authorization", basic(`u:${PH}`), git)).toMatch(/the password of .* of the user git$/);
  expect(header("authorization", basic(`${PH}:x`), any)).toContain("is in the user name of");
  expect(header("authorization", basic(PH), any)).toContain("is in the user name of");
  expect(header("authorization", `Bearer ${PH}`, any)).toContain("is in the header authorization");
});

test("header and query: there and nowhere else", () => {
  const key = { as: "header", name: "X-Api-Key" } as const;
  const query = { as: "query", name: "api key" } as const;
  expect(header("x-api-key", `key=${PH}`, key)).toBe(`key=${VALUE}`);
  expect(header("authorization", `Bearer ${PH}`, key)).toContain("is in the header authorization");
  expect(path(`/?api+key=${PH}`, query)).toBe("/?api+key=sv%2F4f%2B1c%3D%24%26x");
  expect(path(`/?api%20key=${PH}`, query)).toContain("/?api%20key=sv");
  expect(path(`/?other=${PH}`, query)).toContain("is in the query parameter other");
  expect(path(`/?${PH}=1`, query)).toContain("is in the query parameter");
});

test.each<[string, Partial<RequestHead>]>([
  ["a framing header", { headers: [["Host", `${PH}.example.com`]] }],
  ["a header of the connection", { headers: [["Proxy-Authorization", `Bearer ${PH}`]] }],
  ["a header's name", { headers: [[PH, "x"]] }],
  ["the method", { method: PH }],
  ["the name of a parameter", { path: `/?${PH}=1` }],
  ["base64 where nobody decodes it", { headers: [["x-key", Buffer.from(`a:${PH}`).toString("base64")]] }],
  ["escapes", { path: `/?a=${PH.replace("g", "%67")}` }],
  ["escapes in the path", { path: `/${PH.replace("-", "%2D")}` }],
  [
    "a good place and a bad one",
    {
      headers: [
        ["authorization", `Bearer ${PH}`],
        ["te", PH],
      ],
    },
  ],
])("a placeholder in %s is refused, and the reason holds no value", (_name, over) => {
  const presented = present(over);
  expect(presented.kind).toBe("refused");
  expect(JSON.stringify(presented)).not.toContain(VALUE);
});

test("a value that would make it another request is refused", () => {
  expect(header("authorization", basic(`${PH}:x`), undefined, "user:password")).toContain("is in the user name of");
  for (const value of ["../../../etc", "/absolute", "a//b//c//d", "12345;a=b", "back\\slash", "12345%2e%2e"]) {
    expect([value, path(`/x/${PH}`, undefined, value)]).toEqual([value, `the placeholder of ${NAME} is in the path`]);
  }
});

test("another secret's placeholder stays for its own turn", () => {
  const other = mintPlaceholders([{ name: "OTHER" }]).get("OTHER") ?? "";
  expect(header("x", `${PH} ${other}`)).toBe(`${VALUE} ${other}`);
});
