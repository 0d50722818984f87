import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createGate } from "../../src/egress/gate.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import { type Connection, connectRequest } from "../../src/policy/connect.ts";
import { alone } from "../../src/policy/decide.ts";
import { type EgressGrant, egressSchema, grantPolicy } from "../../src/policy/egress.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import type { Principal } from "../../src/policy/request.ts";
import { bundleOf } from "../support/bundle.ts";

const principal: Principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" };

const decide = (bundle: Bundle, connection: Connection) => evaluate(bundle, connectRequest(principal, connection));
const https = (host: string, request?: Connection["request"]): Connection => ({
  host,
  port: 443,
  scheme: "https",
  ...(request && { request }),
});

const permit = (resource: string, when = "true") =>
  `permit (principal, action == Glovebox::Action::"connect", ${resource}) when { ${when} };\n`;
const forbid = (id: string, resource: string, when = "true") =>
  `@id("${id}") @reason("${id}")\nforbid${permit(resource, when).slice(6)}`;
const inRange = (cidr: string) => `context has address && context.address.isInRange(ip("${cidr}"))`;

describe("a range", () => {
  test("is of addresses that a program gives, in IPv4 and IPv6", () => {
    const bundle = bundleOf(permit("resource", inRange("192.0.2.0/24")) + permit("resource", inRange("2001:db8::/32")));
    for (const it of ["192.0.2.0", "192.0.2.255", "2001:db8::", "2001:db8:ffff::1"])
      expect([it, decide(bundle, https(it)).outcome]).toEqual([it, "permit"]);
    for (const it of ["192.0.1.255", "192.0.3.0", "2001:db7::1", "2001:db9::", "example.org", "192.0.2.7.example.org"])
      expect([it, decide(bundle, https(it))]).toMatchObject([it, { outcome: "deny", policies: [], problems: [] }]);
  });

  test("forbids what another policy permits", () => {
    const bundle = bundleOf(
      permit("resource", inRange("192.0.2.0/24")) + forbid("no", "resource", inRange("192.0.2.128/25")),
    );
    expect(decide(bundle, https("192.0.2.127")).outcome).toBe("permit");
    expect(decide(bundle, https("192.0.2.128"))).toMatchObject({
      outcome: "deny",
      policies: [{ id: "t.cedar#no", effect: "forbid", reason: "no" }],
    });
  });
});

describe("a domain", () => {
  test("holds itself and every name below it, at any depth, and nothing that only ends so", () => {
    const bundle = bundleOf(permit('resource in Glovebox::Host::"example.org"'));
    for (const it of ["example.org", "a.example.org", "a.b.c.example.org"])
      expect([it, decide(bundle, https(it)).outcome]).toEqual([it, "permit"]);
    for (const it of ["org", "xexample.org", "example.org.evil.com", "example.com"])
      expect([it, decide(bundle, https(it)).outcome]).toEqual([it, "deny"]);
  });

  test("is forbidden with all below it, whatever permits one of them", () => {
    const bundle = bundleOf(
      permit('resource == Glovebox::Host::"a.b.example.org"') +
        forbid("org", 'resource in Glovebox::Host::"example.org"'),
    );
    expect(decide(bundle, https("a.b.example.org")).policies.map((it) => it.id)).toEqual(["t.cedar#org"]);
  });

  test("is none of an address, whose numbers look like labels", () => {
    const bundle = bundleOf(permit('resource in Glovebox::Host::"192.0.2.7"'));
    expect(decide(bundle, https("192.0.2.7")).outcome).toBe("permit");
    expect(decide(bundle, https("10.192.0.2")).outcome).toBe("deny");
  });
});

describe("facts of a request", () => {
  const bundle = bundleOf(
    permit('resource == Glovebox::Host::"example.org"') +
      forbid(
        "method",
        'resource in Glovebox::Host::"example.org"',
        'context has method && context.method == "DELETE"',
      ) +
      forbid("path", "resource", 'context has path && context.path in Glovebox::Path::"/admin"'),
  );

  test("are absent of a connection whose requests are not read", () => {
    expect(decide(bundle, https("example.org"))).toMatchObject({ outcome: "permit", problems: [] });
  });

  test("are those of the request; a path lies in all the folders above it", () => {
    const ask = (method: string, path: string) => decide(bundle, https("example.org", { method, path }));
    expect(ask("GET", "/").outcome).toBe("permit");
    expect(ask("GET", "/administration").outcome).toBe("permit");
    expect(ask("DELETE", "/").policies.map((it) => it.id)).toEqual(["t.cedar#method"]);
    for (const it of ["/admin", "/admin/users/1"])
      expect(ask("GET", it).policies.map((one) => one.id)).toEqual(["t.cedar#path"]);
  });

  test("are looked for where a policy asks for them, and nowhere else", () => {
    const gate = createGate({
      policy: () =>
        alone(
          bundleOf(
            permit('resource == Glovebox::Host::"plain.org"') +
              forbid("m", 'resource in Glovebox::Host::"example.org"', 'context has method && context.method == "PUT"'),
          ),
          "",
        ),
      decide: () => {
        throw new TypeError("not asked");
      },
      principal,
      hasSecret: (it) => it === "secret.org",
    });
    const read = ["example.org", "a.example.org", "secret.org"];
    for (const it of read) expect([it, gate.readsRequests(it)]).toEqual([it, true]);
    for (const it of ["plain.org", "org", "xexample.org"]) expect([it, gate.readsRequests(it)]).toEqual([it, false]);
    expect([gate.mayPermit("plain.org"), gate.mayPermit("example.org")]).toEqual([true, false]);
    expect(gate.grants).toEqual(["plain.org"]);
  });
});

test.each([
  "EXAMPLE.org",
  "example.org.",
  "bücher.example",
  "0x7f.1",
  "::ffff:192.0.2.7",
  "[::1]",
  "*.example.org",
  "a b",
  "",
])("a host that is spelt %j is denied, whatever the policies say [G3]", (host) => {
  const bundle = bundleOf(
    permit('resource in Glovebox::Host::"example.org"') + permit("resource", inRange("128.0.0.0/1")),
  );
  const { outcome, problems } = decide(bundle, https(host));
  expect(outcome).toBe("deny");
  expect(problems.join()).toContain("one spelling");
});

test("a path that isn't normalised is denied, whatever the policies say [G3]", () => {
  const bundle = bundleOf(permit('resource == Glovebox::Host::"example.org"'));
  for (const path of ["/a/../b", "/a/", "a", "//a", "/a\0"]) {
    const { outcome, problems } = decide(bundle, https("example.org", { method: "GET", path }));
    expect([path, outcome, problems.length]).toEqual([path, "deny", 1]);
  }
});

test("what no host is, and what lacks its facts, is denied", () => {
  const bundle = bundleOf(permit('resource == Glovebox::Host::"example.org"'));
  const request = connectRequest(principal, https("example.org"));
  expect(evaluate(bundle, request).outcome).toBe("permit");
  for (const wrong of [
    { ...request, context: { port: 443 } },
    { ...request, context: { ...request.context, more: 1 } },
    { ...request, context: { ...request.context, address: "example.org" } },
    { ...request, resource: { type: "session" as const, id: "s" } },
    { ...request, action: "exec" },
  ]) {
    const { outcome, problems } = evaluate(bundle, wrong);
    expect([outcome, problems.length > 0]).toEqual(["deny", true]);
  }
});

/** What the convenient form is documented to mean, without Cedar. */
interface Grant {
  readonly host: string;
  readonly ports?: number[];
  readonly methods?: string[];
  readonly paths?: string[];
}

function means({ host, ports, methods, paths }: Grant, { host: to, port, scheme, request }: Connection): boolean {
  const isHost =
    host === "192.0.2.0/24"
      ? /^192\.0\.2\.\d+$/.test(to)
      : host.startsWith("*.")
        ? to.endsWith(host.slice(1))
        : to === host;
  const isPort = ports ? ports.includes(port) : port === 443 && scheme === "https";
  const isMethod = !methods || (request !== undefined && methods.includes(request.method));
  const isPath =
    !paths ||
    (request?.path !== undefined &&
      paths.some((it) => it === "/" || request.path === it || request.path?.startsWith(`${it}/`)));
  return isHost && isPort && isMethod && isPath;
}

const some = <T>(...values: T[]) => fc.subarray(values, { minLength: 1 });
const grants = fc.record(
  {
    host: fc.constantFrom(
      "example.org",
      "*.example.org",
      "a.example.org",
      "192.0.2.7",
      "192.0.2.0/24",
      "2001:db8::1",
      "intranet",
    ),
    ports: some(80, 443, 8443),
    methods: some("GET", "POST"),
    paths: some("/", "/a", "/a/b", '/"ü'),
  },
  { requiredKeys: ["host"] },
);
const connections: fc.Arbitrary<Connection> = fc.record(
  {
    host: fc.constantFrom(
      "example.org",
      "a.example.org",
      "b.a.example.org",
      "xexample.org",
      "org",
      "192.0.2.7",
      "192.0.2.8",
      "192.0.3.7",
      "2001:db8::1",
      "2001:db8::2",
      "intranet",
    ),
    port: fc.constantFrom(80, 443, 8443, 22),
    scheme: fc.constantFrom("http", "https"),
    request: fc.record({
      method: fc.constantFrom("GET", "POST", "DELETE"),
      path: fc.constantFrom("/", "/a", "/ab", "/a/b", "/a/b/c", '/"ü', '/"ü/x'),
    }),
  },
  { requiredKeys: ["host", "port", "scheme"] },
);

const policyOf = (grant: EgressGrant, index: number) => grantPolicy(grant, `allow.${index + 1}`);

test("the convenient form decides as it is documented, and as the Cedar that it stands for", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(grants, { minLength: 1, maxLength: 3, selector: (it) => JSON.stringify(it) }),
      fc.array(connections, { minLength: 10, maxLength: 10 }),
      (list, asked) => {
        const { allow } = egressSchema.parse({ allow: list });
        const bundle = bundleOf(allow.map(policyOf).join("\n"));
        for (const connection of asked) {
          const { outcome, policies, problems } = decide(bundle, connection);
          const meant = list.flatMap((it, at) => (means(it, connection) ? [`t.cedar#egress.allow.${at + 1}`] : []));
          expect(problems).toEqual([]);
          expect(outcome).toBe(meant.length > 0 ? "permit" : "deny");
          expect(policies.map((it) => it.id)).toEqual(meant);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("a rule about requests to a range has those of addresses read, and of no name", () => {
  const { allow } = egressSchema.parse({
    allow: ["example.org", { host: "192.0.2.0/24", methods: ["GET"] }, { host: "192.0.3.0/24" }],
  });
  const bundle = bundleOf(
    allow.map(policyOf).join("\n") + forbid("v6", "resource", `${inRange("2001:db8::/32")} && context has method`),
  );
  const gate = createGate({
    policy: () => alone(bundle, ""),
    decide: (it) => evaluate(bundle, it),
    principal,
    hasSecret: () => false,
  });
  expect([gate.readsRequests("192.0.2.7"), gate.readsRequests("2001:db8::1")]).toEqual([true, true]);
  expect([gate.readsRequests("example.org"), gate.readsRequests("a.example.org")]).toEqual([false, false]);
  expect([gate.mayPermit("192.0.2.7"), gate.mayPermit("a.example.org")]).toEqual([true, false]);
  const named = ["egress.allow.2", "egress.allow.3"].map((it) => `addresses, by t.cedar#${it}`);
  expect(gate.grants).toEqual(["example.org", ...named]);
});

test("where requests have to be read, the proxy is told before there is one", () => {
  fc.assert(
    fc.property(grants, connections, (grant, { host }) => {
      const { allow } = egressSchema.parse({ allow: [grant] });
      const bundle = bundleOf(allow.map(policyOf).join("\n"));
      const gate = createGate({
        policy: () => alone(bundle, ""),
        decide: (it) => evaluate(bundle, it),
        principal,
        hasSecret: () => false,
      });
      const isAsked = grant.methods !== undefined || grant.paths !== undefined;
      if (!isAsked) expect(gate.readsRequests(host)).toBe(false);
      // Whatever could be permitted when it is read, is read.
      const read = (["http", "https"] as const).some((scheme) =>
        [80, 443, 8443].some((port) =>
          means(grant, {
            host,
            port,
            scheme,
            request: { method: grant.methods?.[0] ?? "GET", path: grant.paths?.[0] ?? "/" },
          }),
        ),
      );
      if (read) expect([gate.mayPermit(host), gate.readsRequests(host)]).toEqual([true, isAsked]);
    }),
    { numRuns: 40 },
  );
});
