import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { loadBundle } from "../../src/policy/load.ts";

const SOME = 'permit (principal, action == Glovebox::Action::"exec", resource);\n';

/** A bundle of a `profile.yaml`, and of policies and tests besides. */
function load(profile: string, { cedar = "", tests = "" } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-policy-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const files = {
    "bundle.yaml": "name: test\nversion: 1.0.0\n",
    "profile.yaml": profile,
    "rules.cedar": SOME + cedar,
    "tests.yaml": tests,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o644 });
  return loadBundle(directory, { describe: describeCall });
}

const refused = (problem: string | RegExp) => ({
  code: "POLICY_INVALID",
  message: typeof problem === "string" ? expect.stringContaining(problem) : expect.stringMatching(problem),
});

const allow = (...lines: string[]) => `egress:\n  allow:\n${lines.map((it) => `    - ${it}\n`).join("")}`;

test("every form of a grant is taken", async () => {
  const profile = allow(
    "example.org",
    "'*.example.org'",
    "example.org:8443",
    "192.0.2.7:80",
    "192.0.2.0/24",
    "'2001:db8::/32'",
    "{host: api.example.org, ports: [443, 8443], methods: [GET, HEAD], paths: [/public, /]}",
  );
  const { profile: read, policies } = await load(profile);
  expect(read.egress.allow.map(({ host, ...rest }) => ({ ...host.pattern, ...rest }))).toEqual([
    { kind: "exact", host: "example.org" },
    { kind: "below", domain: "example.org" },
    { kind: "exact", host: "example.org", ports: [8443] },
    { kind: "range", cidr: "192.0.2.7/32", ports: [80] },
    { kind: "range", cidr: "192.0.2.0/24" },
    { kind: "range", cidr: "2001:db8::/32" },
    {
      kind: "exact",
      host: "api.example.org",
      ports: [443, 8443],
      methods: ["GET", "HEAD"],
      paths: ["/public", "/"],
    },
  ]);
  const granted = [...policies.values()].filter((it) => it.file === "profile.yaml");
  expect(granted.map(({ id, line, effect }) => ({ id, line, effect }))).toEqual(
    Array.from({ length: 7 }, (_, at) => ({
      id: `profile.yaml#egress.allow.${at + 1}`,
      line: at + 3,
      effect: "permit",
    })),
  );
  expect(granted.map((it) => it.connect?.readsRequests)).toEqual([...Array(6).fill(false), true]);
});

test("an IPv6 address is granted as it is, with a port in brackets as in a URL", async () => {
  const { profile } = await load(
    allow(
      "{host: '2001:db8::1', ports: [8080]}",
      "'2001:db8::1:443'",
      "'[2001:db8::2]:8443'",
      "'[2001:db8::2]'",
      "'::1'",
    ),
  );
  expect(profile.egress.allow.map(({ host, ports }) => [host.pattern, ports])).toEqual([
    [{ kind: "range", cidr: "2001:db8::1/128" }, [8080]],
    [{ kind: "range", cidr: "2001:db8::1:443/128" }, undefined],
    [{ kind: "range", cidr: "2001:db8::2/128" }, [8443]],
    [{ kind: "range", cidr: "2001:db8::2/128" }, undefined],
    [{ kind: "range", cidr: "::1/128" }, undefined],
  ]);
});

test.each<[what: string, line: string, problem: string]>([
  ["every host", "'*'", "3:7: egress.allow.0.host: `*` would be every host: name the hosts, or `*.` and a domain"],
  ["a public suffix", "'*.github.io'", "3:7: egress.allow.0.host: `*.github.io` would be hosts of many owners"],
  ["a URL", "https://example.org", "3:7: egress.allow.0.host: `https://example.org` is no"],
  ["a path", "example.org/x", "3:7: egress.allow.0.host: `example.org/x` is no CIDR range"],
  ["another spelling", "Example.ORG", "3:7: egress.allow.0.host: `Example.ORG` is spelt `example.org`"],
  ["a range of another spelling", "192.0.2.1/24", "3:7: egress.allow.0.host: `192.0.2.1/24` is spelt `192.0.2.0/24`"],
  ["port 0", "example.org:0", "3:7: egress.allow.0.ports.0: Too small"],
  ["port 65536", "example.org:65536", "3:7: egress.allow.0.ports.0: Too big"],
  ["a port that is none", "example.org:http", "3:7: egress.allow.0.host: `example.org:http` is no host"],
  ["an unknown key", "{host: example.org, port: 443}", "3:33: egress.allow.0.port: Unrecognized key"],
  ["no ports", "{host: example.org, ports: []}", "3:34: egress.allow.0.ports: Too small"],
  ["a method in lower case", "{host: example.org, methods: [get]}", "must be a method such as GET"],
  ["no methods", "{host: example.org, methods: []}", "3:36: egress.allow.0.methods: Too small"],
  ["a relative path", "{host: example.org, paths: [api]}", "must be a path such as /api, without a slash at its end"],
  ["a path with a slash at its end", "{host: example.org, paths: [/api/]}", "must be a path such as /api"],
  ["a path with dots", "{host: example.org, paths: [/api/..]}", "must be a path such as /api"],
  ["a path with an escape", "{host: example.org, paths: [/a%20b]}", "must be a path such as /api"],
  ["a path with a query", "{host: example.org, paths: ['/api?x']}", "must be a path such as /api"],
  ["a rule without a host", "{ports: [443]}", "3:7: egress.allow.0.host: "],
  ["a number", "443", "3:7: egress.allow.0: Invalid input: expected object"],
])("a grant of %s is refused at its line", async (_, line, problem) => {
  const message = await load(allow(line)).then(
    () => "loaded",
    (error: Error) => error.message,
  );
  expect(message).toContain("profile.yaml:3:");
  expect(message).toContain(problem);
});

test("the line is the wrong grant's, among right ones", async () => {
  const profile = `# network\n${allow("example.org", "example.com", "'*.com'")}`;
  await expect(load(profile)).rejects.toMatchObject(refused("profile.yaml:6:7: egress.allow.2.host: `*.com` would be"));
});

test("what is granted twice is refused, and the first place is named", async () => {
  const same = allow(
    "example.org",
    "{host: a.example.org, ports: [443, 80]}",
    "{ports: [80, 443], host: a.example.org}",
  );
  const problem = "profile.yaml:5:7: egress.allow.2: `a.example.org` is granted twice: it is number 2 already";
  await expect(load(same)).rejects.toMatchObject(refused(problem));
  // With another port, or another method, it is another grant.
  await load(allow("example.org", "example.org:80", "{host: example.org, methods: [GET]}", "'*.example.org'"));
});

test("`private` takes exact names and ranges; a wildcard would be whatever somebody makes resolve to here", async () => {
  const good = await load("egress:\n  private: [intranet, git.example.org, 10.0.0.0/8, '::1']\n");
  expect(good.profile.egress.private.map((it) => it.pattern.kind)).toEqual(["exact", "exact", "range", "range"]);
  const bad = "egress:\n  private:\n    - intranet\n    - '*.example.org'\n";
  await expect(load(bad)).rejects.toMatchObject(
    refused("profile.yaml:4:7: egress.private.1: must be an exact name or a CIDR range"),
  );
  await expect(load("egress: {private: [0.0.0.0/0]}\n")).rejects.toMatchObject(refused("is too large a range"));
});

test("`private` and `hosts` grant nothing by themselves", async () => {
  const { policies } = await load("egress: {private: [10.0.0.0/8, intranet], hosts: {intranet: 10.0.0.1}}\n");
  expect([...policies.values()].filter((it) => it.connect)).toEqual([]);
});

test.each([
  ["{Intranet: 10.0.0.1}", "profile.yaml:1:28: egress.hosts.Intranet: must be a host's name, in lower case"],
  ["{10.0.0.2: 10.0.0.1}", /profile\.yaml:1:\d+: egress\.hosts/],
  ["{'*.lan': 10.0.0.1}", /profile\.yaml:1:\d+: egress\.hosts/],
  ["{intranet: example.org}", /profile\.yaml:1:\d+: egress\.hosts\.intranet: must be an IP address/],
  ["{intranet: 10.0.1}", /profile\.yaml:1:\d+: egress\.hosts\.intranet: must be an IP address/],
  ["{intranet: '::ffff:10.0.0.1'}", /profile\.yaml:1:\d+: egress\.hosts\.intranet: must be an IP address/],
  ["{intranet: 10.0.0.0/8}", /profile\.yaml:1:\d+: egress\.hosts\.intranet: must be an IP address/],
])("hosts: %s is refused", async (hosts, problem) => {
  await expect(load(`egress: {hosts: ${hosts}}\n`)).rejects.toMatchObject(refused(problem));
});

test.each([
  ["egress: {alow: []}", "profile.yaml:1:16: egress.alow: Unrecognized key"],
  ["egress: {onExfiltration: ignore}", "profile.yaml:1:26: egress.onExfiltration: "],
  ["egress: []", "profile.yaml:1:9: egress: "],
])("%s is refused", async (profile, problem) => {
  await expect(load(`${profile}\n`)).rejects.toMatchObject(refused(problem));
});

const secret = (over: string, host = "api.example.org") =>
  `secrets:\n  - name: TOKEN\n    source: {env: TOKEN}\n    hosts:\n      - host: ${host}\n${over}`;

test("a secret is bound to somebody's own hosts", async () => {
  for (const host of ["api.example.org", "'*.example.org'"]) {
    const { profile } = await load(secret("", host));
    expect(profile.secrets).toHaveLength(1);
  }
});

test.each([
  ["'*'", "profile.yaml:5:15: secrets.0.hosts.0.host: `*` would be every host"],
  ["'*.com'", "profile.yaml:5:15: secrets.0.hosts.0.host: `*.com` would be hosts of many owners"],
  ["github.io", "profile.yaml:5:15: secrets.0.hosts.0.host: `github.io` would be hosts of many owners"],
  ["API.example.org", "profile.yaml:5:15: secrets.0.hosts.0.host: `API.example.org` is spelt `api.example.org`"],
  ["192.0.2.7", "profile.yaml:5:15: secrets.0.hosts.0.host: `192.0.2.7` must be a name: certificates are checked"],
  ["192.0.2.0/24", "profile.yaml:5:15: secrets.0.hosts.0.host: `192.0.2.0/24` must be a name"],
  ["api.example.org:443", "profile.yaml:5:15: secrets.0.hosts.0.host: `api.example.org:443` is no host"],
])("a secret for %s is refused", async (host, problem) => {
  await expect(load(secret("", host))).rejects.toMatchObject(refused(problem));
});

test.each([
  "PATH",
  "HOME",
  "LD_PRELOAD",
  "NODE_OPTIONS",
  "PYTHONPATH",
  "GIT_SSH_COMMAND",
  "HTTPS_PROXY",
  "NO_PROXY",
  "SSL_CERT_FILE",
  "GLOVEBOX_X",
  "BASH_ENV",
  "ENV",
  "LC_ALL",
])("a secret of the name %s is refused: programs would be told something else", async (name) => {
  const profile = secret("").replace("name: TOKEN", `name: ${name}`);
  const problem = `profile.yaml:2:11: secrets.0.name: the variable ${name} means something else to programs`;
  await expect(load(profile)).rejects.toMatchObject(refused(problem));
});

test("a name that only begins or ends like a reserved one is taken", async () => {
  for (const name of ["PATHS", "MY_PATH", "ENVOY", "GITHUB_TOKEN", "NODEJS_TOKEN", "PROXY"]) {
    const { profile } = await load(secret("").replace("name: TOKEN", `name: ${name}`));
    expect(profile.secrets[0]?.name).toBe(name);
  }
});

test.each([
  [
    "no host",
    "secrets:\n  - name: A\n    source: {env: A}\n    hosts: []\n",
    "profile.yaml:4:12: secrets.0.hosts: Too small",
  ],
  ["no list of hosts", "secrets:\n  - name: A\n    source: {env: A}\n", "profile.yaml:2:5: secrets.0.hosts: "],
  [
    "two sources",
    "secrets:\n  - name: A\n    source: {env: A, file: /a}\n    hosts: [{host: a.example.org}]\n",
    "profile.yaml:3:13: secrets.0.source: give exactly one of env, file and command",
  ],
  [
    "a name used twice",
    `${secret("")}${secret("").replace("secrets:\n", "")}`,
    "profile.yaml:6:11: secrets.1.name: there is a secret TOKEN already",
  ],
])("a secret with %s is refused", async (_, profile, problem) => {
  await expect(load(profile)).rejects.toMatchObject(refused(problem));
});

const CONNECT = 'action == Glovebox::Action::"connect"';

test.each([
  [
    "a permit without hosts",
    `permit (principal, ${CONNECT}, resource);`,
    /rules\.cedar:2:1: it permits connections to every host; fix: name the hosts/,
  ],
  [
    "a permit of everything",
    "permit (principal, action, resource);",
    /rules\.cedar:2:1: it permits connections to every host; fix: .*leave `connect` out/,
  ],
  [
    "a permit of hosts that a condition names",
    `permit (principal, ${CONNECT}, resource) when { resource in Glovebox::Host::"example.org" };`,
    /permits connections to every host/,
  ],
  [
    "a permit that only names a range",
    `permit (principal, ${CONNECT}, resource) when { context.port == 443 || (context has address && context.address.isInRange(ip("192.0.2.0/24"))) };`,
    /permits connections to every host/,
  ],
  [
    "a permit of what isn't in a range",
    `permit (principal, ${CONNECT}, resource) unless { context has address && context.address.isInRange(ip("192.0.2.0/24")) };`,
    /permits connections to every host/,
  ],
  [
    "a permit of what isn't in a range, said otherwise",
    `permit (principal, ${CONNECT}, resource) when { !(context has address && context.address.isInRange(ip("192.0.2.0/24"))) };`,
    /permits connections to every host/,
  ],
  [
    "a permit of a range that isn't about the address",
    `permit (principal, ${CONNECT}, resource) when { ip("192.0.2.7").isInRange(ip("192.0.2.0/24")) };`,
    /permits connections to every host/,
  ],
  [
    "a top-level domain",
    `permit (principal, ${CONNECT}, resource in Glovebox::Host::"com");`,
    /rules\.cedar:2:1: `com` is a public suffix: it would be hosts of many owners; fix: name a domain below it/,
  ],
  [
    "a provider's customers",
    `permit (principal, ${CONNECT}, resource in Glovebox::Host::"github.io");`,
    /`github\.io` is a public suffix/,
  ],
  [
    "a host in upper case",
    `permit (principal, ${CONNECT}, resource == Glovebox::Host::"EXAMPLE.org");`,
    /rules\.cedar:2:\d+: no host of a request is spelt "EXAMPLE\.org": .*; fix: write "example\.org"/,
  ],
  [
    "a wildcard",
    `permit (principal, ${CONNECT}, resource == Glovebox::Host::"*.example.org");`,
    /no host of a request is spelt "\*\.example\.org": .*; fix: write `resource in` and "example\.org"/,
  ],
  [
    "a host in a forbid's condition that no request has",
    `@reason("r") forbid (principal, ${CONNECT}, resource) when { resource in [Glovebox::Host::"bücher.example"] };`,
    /no host of a request is spelt "bücher\.example": .*; fix: write "xn--bcher-kva\.example"/,
  ],
  [
    "an address in another spelling",
    `@reason("r") forbid (principal, ${CONNECT}, resource == Glovebox::Host::"0x7f.1");`,
    /no host of a request is spelt "0x7f\.1": .*; fix: write "127\.0\.0\.1"/,
  ],
  [
    "what is no host at all",
    `@reason("r") forbid (principal, ${CONNECT}, resource == Glovebox::Host::"a b");`,
    /no host of a request is spelt "a b"/,
  ],
  [
    "a method without asking whether there is one",
    `permit (principal, ${CONNECT}, resource == Glovebox::Host::"example.org") when { context.method == "GET" };`,
    /rules\.cedar:2:\d+: /,
  ],
  [
    "an address as text",
    `permit (principal, ${CONNECT}, resource == Glovebox::Host::"example.org") when { context has address && context.address == "192.0.2.7" };`,
    /rules\.cedar:2:\d+: /,
  ],
])("%s is refused in Cedar", async (_, cedar, problem) => {
  await expect(load("", { cedar })).rejects.toMatchObject(refused(problem));
});

test.each([
  ["a host", `permit (principal, ${CONNECT}, resource == Glovebox::Host::"example.org");`],
  [
    "a domain",
    `permit (principal, ${CONNECT}, resource in Glovebox::Host::"example.org") when { context.port == 443 };`,
  ],
  [
    "a range",
    `permit (principal, ${CONNECT}, resource) when { context has address && context.address.isInRange(ip("192.0.2.0/24")) };`,
  ],
  [
    "either of two ranges",
    `permit (principal, ${CONNECT}, resource) when { context.port == 443 } when { context has address && (context.address.isInRange(ip("192.0.2.0/24")) || context.address.isInRange(ip("2001:db8::/32"))) };`,
  ],
  ["a suffix's own host", `permit (principal, ${CONNECT}, resource == Glovebox::Host::"github.io");`],
  ["a forbid of every host", `@reason("r") forbid (principal, ${CONNECT}, resource);`],
  ["a forbid of a top-level domain", `@reason("r") forbid (principal, ${CONNECT}, resource in Glovebox::Host::"com");`],
])("%s is taken in Cedar", async (_, cedar) => {
  const { policies } = await load("", { cedar });
  expect([...policies.values()].filter((it) => it.connect)).toHaveLength(1);
});

const TESTS = `- { name: granted, tool: connect, arguments: { host: example.org }, expect: permit, policies: ["profile.yaml#egress.allow.1"] }
- { name: any spelling, tool: connect, arguments: { host: EXAMPLE.org., port: 443, scheme: https }, expect: permit }
- { name: another port, tool: connect, arguments: { host: example.org, port: 8443 }, expect: deny, policies: [] }
- { name: plain, tool: connect, arguments: { host: example.org, scheme: http }, expect: deny }
- { name: plain on 443, tool: connect, arguments: { host: example.org, port: 443, scheme: http }, expect: deny }
- { name: below, tool: connect, arguments: { host: a.example.org }, expect: deny }
- { name: not read, tool: connect, arguments: { host: api.example.org }, expect: deny }
- { name: read, tool: connect, arguments: { host: api.example.org, method: GET, path: /v1/things?q=1 }, expect: permit }
- { name: beside, tool: connect, arguments: { host: api.example.org, method: GET, path: /v10 }, expect: deny }
- { name: decoded, tool: connect, arguments: { host: api.example.org, method: GET, path: /%761/things }, expect: permit }
- { name: another method, tool: connect, arguments: { host: api.example.org, method: POST, path: /v1 }, expect: deny }
- { name: by address, tool: connect, arguments: { host: 0xC0.0.2.7 }, expect: permit }
`;

test("a bundle's tests ask about connections and requests", async () => {
  const profile = allow("example.org", "{host: api.example.org, methods: [GET], paths: [/v1]}", "192.0.2.0/24");
  const { tests } = await load(profile, { tests: TESTS });
  expect(tests.filter((it) => !it.passed)).toEqual([]);
  expect(tests).toHaveLength(12);
});

test.each([
  ["{}", "host"],
  ["{ host: a b }", "host: is neither a name nor an address"],
  ["{ host: example.org, port: 0 }", "port"],
  ["{ host: example.org, scheme: ftp }", "scheme"],
  ["{ host: example.org, method: get }", "method"],
  ["{ host: example.org, method: GET, path: /a/../b }", "path: can be read in more than one way"],
  ["{ host: example.org, method: GET, path: a }", "path: can be read in more than one way"],
  ["{ host: example.org, prot: 443 }", "prot"],
])("a test with arguments %s fails at its line", async (args, problem) => {
  const tests = `- { name: t, tool: connect, arguments: ${args}, expect: deny }\n`;
  const message = await load("", { tests }).then(String, String);
  expect(message).toMatch(/tests\.yaml:1:\d+: test "t" failed: /);
  expect(message).toContain(problem);
});

test("a denial says which policies decided, those of profile.yaml with their number", async () => {
  const tests = "- { name: t, tool: connect, arguments: { host: example.org }, expect: deny }\n";
  await expect(load(allow("example.org"), { tests })).rejects.toMatchObject(
    refused('tests.yaml:1:11: test "t" failed: expected deny, got permit (profile.yaml#egress.allow.1)'),
  );
});
