import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Approval, AskPerson } from "../../src/approval/approval.ts";
import type { PolicyQuestion } from "../../src/policy/verdict.ts";
import { createSessionAuthority } from "../support/egress.ts";
import { openNpmRegistry, type TestRegistry } from "../support/npm-registry.ts";
import { NO_ADVISORIES, openTestPackages, type PackageSettings, type TestPackages } from "../support/packages.ts";

/** What registries, and whoever publishes there, may try; and what a sandbox may try to get past the rules. */
let registry: TestRegistry;
let acme: TestRegistry;
beforeAll(async () => {
  registry = await openNpmRegistry();
  acme = await openNpmRegistry();
});
afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  await acme?.[Symbol.asyncDispose]();
});

const profile = (rules: string, more = "") => `egress:
  hosts: {registry.test: 127.0.0.1}
  private: [registry.test]
${more}packages:
  registries:
    npm:
      - url: ${registry.url}
      - {url: "${acme.url}", only: ["@acme/*"]}
${rules.replaceAll(/^/gm, "  ")}
`;

const BASE = "http://packages.glovebox.internal/npm/";
const ALL = 'allow: ["npm:*"]';

async function sandboxed(
  rules: string,
  check: (packages: TestPackages) => Promise<void>,
  more: Omit<PackageSettings, "profile"> = {},
) {
  await using packages = await openTestPackages({ profile: profile(rules), ...more });
  await check(packages);
}

async function versionsOf({ get }: TestPackages, name: string): Promise<string[]> {
  const { body } = await get(`${BASE}${name}`);
  return Object.keys(JSON.parse(body?.toString() ?? "{}").versions ?? {});
}

const errorOf = (body: Buffer | undefined) => JSON.parse(body?.toString() ?? "{}").error as string;
const tarball = (name: string, version: string) => `${BASE}${name}/-/${name.replace(/.*\//, "")}-${version}.tgz`;

test("a version that is too young, or of unknown age, can't be seen, nor fetched by who knows its address [G24]", async () => {
  await registry.publish(
    "young",
    { version: "1.0.0" },
    { version: "1.1.0", ageHours: null },
    { version: "1.2.0", ageHours: 71 },
  );
  await sandboxed(ALL, async (packages) => {
    const { body } = await packages.get(`${BASE}young`);
    const document = JSON.parse(body?.toString() ?? "");
    expect(Object.keys(document.versions)).toEqual(["1.0.0"]);
    expect(document["dist-tags"]).toEqual({ latest: "1.0.0" });
    expect(Object.keys(document.time)).toEqual(["1.0.0"]);
    for (const version of ["1.1.0", "1.2.0"]) {
      const refused = await packages.get(tarball("young", version));
      expect(refused.status).toBe(403);
      expect(errorOf(refused.body)).toContain("published less than 72 hours ago, or nobody knows when; 1.0.0 would do");
      expect((await packages.get(`${BASE}young/${version}`)).status).toBe(403);
    }
    expect(packages.events("package-refused")[0]).toMatchObject({
      ecosystem: "npm",
      name: "young",
      version: "1.1.0",
      policies: ["profile.yaml#packages.minimumAgeHours"],
      calls: ["call-test"],
    });
    // The refusal, and not all that the registry says of the version.
    expect(packages.events("package-refused")[0]).not.toHaveProperty("artifacts");
    expect((await packages.get(tarball("young", "1.0.0"))).status).toBe(200);
    expect(packages.events("package-admitted")).toHaveLength(1);
    expect(registry.requests).not.toContain("/young/-/young-1.2.0.tgz");
  });
});

test("what enters is on record with its digest before its last byte is there [G25]", async () => {
  await registry.publish("whole", { version: "1.0.0", manifest: { license: "(MIT OR Apache-2.0)" } });
  await sandboxed(ALL, async (packages) => {
    const { body = Buffer.alloc(0) } = await packages.get(tarball("whole", "1.0.0"));
    const hash = (algorithm: string) => createHash(algorithm).update(body).digest("hex");
    expect(packages.events("package-admitted")).toEqual([
      {
        purl: "pkg:npm/whole@1.0.0",
        ecosystem: "npm",
        name: "whole",
        version: "1.0.0",
        file: "whole-1.0.0.tgz",
        registry: `registry.test:${registry.port}`,
        integrity: `sha512-${hash("sha512")}`,
        sha256: hash("sha256"),
        bytes: body.length,
        licenses: ["MIT", "Apache-2.0"],
        ageHours: 10_000,
        requested: false,
        cached: false,
        policies: ["profile.yaml#packages.allow.1"],
        calls: ["call-test"],
      },
    ]);
  });
});

describe("a file that is not what the registry promises", () => {
  const cases: [string, Parameters<TestRegistry["publish"]>[1]][] = [
    ["is another", { version: "1.0.0", serve: (_, response) => void response.end("something else, and long enough") }],
    [
      "has one byte changed",
      {
        version: "1.0.0",
        serve: (_, response, tarball) => void response.end(tarball.map((it, at) => (at === 9 ? it ^ 1 : it))),
      },
    ],
    [
      "is cut short",
      {
        version: "1.0.0",
        serve: (_, response, tarball) => {
          response.writeHead(200, { "content-length": tarball.length });
          response.write(tarball.subarray(0, 40));
          setTimeout(() => response.destroy(), 50);
        },
      },
    ],
    ["has no digest", { version: "1.0.0", dist: { integrity: undefined } }],
    ["has a digest that is none", { version: "1.0.0", dist: { integrity: "sha512-AAAA" } }],
    ["lies elsewhere", { version: "1.0.0", dist: { tarball: "http://elsewhere.test/evil.tgz" } }],
    ["lies on the host itself", { version: "1.0.0", dist: { tarball: "http://127.0.0.1:9/evil.tgz" } }],
    ["lies in a file of the host", { version: "1.0.0", dist: { tarball: "file:///etc/passwd" } }],
    [
      "is a redirect to elsewhere",
      {
        version: "1.0.0",
        serve: (_, response) => void response.writeHead(302, { location: "http://elsewhere.test/x" }).end(),
      },
    ],
    [
      "is a redirect for ever",
      { version: "1.0.0", serve: (request, response) => void response.writeHead(302, { location: request.url }).end() },
    ],
    [
      "is compressed on the way",
      {
        version: "1.0.0",
        serve: (_, response, tarball) => void response.writeHead(200, { "content-encoding": "br" }).end(tarball),
      },
    ],
  ];
  test.each(cases)("%s: no program gets the whole of it, and it is on record [G25]", async (what, version) => {
    const name = what.replaceAll(" ", "-");
    await registry.publish(name, version);
    await sandboxed(ALL, async (packages) => {
      const { status, body } = await packages.get(tarball(name, "1.0.0"));
      expect(status === 403 || body === undefined, `${status}: ${body}`).toBe(true);
      expect(packages.events("package-admitted")).toEqual([]);
      await expect.poll(() => packages.events("package-refused")).toHaveLength(1);
      // Nor does the next one, out of the cache.
      await using next = await packages.again();
      const again = await next.get(tarball(name, "1.0.0"));
      expect(again.status === 403 || again.body === undefined).toBe(true);
    });
  });
});

test("a private scope is never asked of the public registry, nor the other way round [G26]", async () => {
  await registry.publish("@acme/tool", { version: "99.0.0" });
  await acme.publish("@acme/tool", { version: "1.0.0" });
  await acme.publish("left", { version: "6.6.6" });
  await sandboxed(ALL, async (packages) => {
    expect(await versionsOf(packages, "@acme/tool")).toEqual(["1.0.0"]);
    expect(await versionsOf(packages, "@acme%2ftool")).toEqual(["1.0.0"]);
    expect((await packages.get(`${BASE}@acme/none`)).status).toBe(404);
    expect((await packages.get(`${BASE}left`)).status).toBe(404);
    expect(registry.requests.filter((it) => it.includes("acme"))).toEqual([]);
    expect(acme.requests.filter((it) => it.includes("left"))).toEqual([]);
  });
});

test("what an advisory calls malicious never enters; what is vulnerable where policy says so", async () => {
  await registry.publish("worm", { version: "1.0.0" }, { version: "1.0.1" }, { version: "1.0.2" });
  const advisories = {
    ...NO_ADVISORIES,
    imported: () => ({ atMs: Date.now() - 3_600_000, digest: "d", records: 2 }),
    about: (_: string, name: string, version: string) => {
      if (name !== "worm") return [];
      if (version === "1.0.2") return [{ id: "MAL-2026-1", malicious: true }];
      return version === "1.0.1" ? [{ id: "GHSA-x", malicious: false }] : [];
    },
  };
  await sandboxed(ALL, async (packages) => expect(await versionsOf(packages, "worm")).toEqual(["1.0.1", "1.0.0"]), {
    advisories,
  });
  await sandboxed(
    `${ALL}\nvulnerable: deny\nmaximumAdvisoryAgeHours: 2`,
    async (packages) => {
      expect(await versionsOf(packages, "worm")).toEqual(["1.0.0"]);
      const { body } = await packages.get(tarball("worm", "1.0.2"));
      expect(errorOf(body)).toContain("an advisory says that it is malicious");
      const said = { advisories: { digest: "d", importedAt: expect.stringMatching(/^\d{4}-/) } };
      expect(packages.events("package-refused").at(-1)).toMatchObject(said);
      await packages.get(tarball("worm", "1.0.0"));
      expect(packages.events("package-admitted").at(-1)).toMatchObject(said);
    },
    { advisories },
  );
  await sandboxed(
    `${ALL}\nmaximumAdvisoryAgeHours: 0`,
    async (packages) => expect((await packages.get(`${BASE}worm`)).status).toBe(403),
    {
      advisories,
    },
  );
  await sandboxed(`${ALL}\nmaximumAdvisoryAgeHours: 24`, async (packages) =>
    expect((await packages.get(`${BASE}worm`)).status).toBe(403),
  );
});

test("lists, pins and licences are obeyed, and Cedar sees every fact", async () => {
  await registry.publish(
    "many",
    { version: "1.0.0", manifest: { license: "MIT" } },
    { version: "1.5.0", manifest: { license: "GPL-3.0-only" } },
    {
      version: "2.0.0",
      manifest: { license: "MIT", scripts: { postinstall: "node evil.js" } },
    },
  );
  await registry.publish("other", { version: "1.0.0" });
  const visible =
    (rules: string, cedar = "") =>
    async () => {
      await using packages = await openTestPackages({ profile: profile(rules), cedar });
      return await versionsOf(packages, "many");
    };
  expect(await visible('allow: ["npm:many"]')()).toEqual(["2.0.0", "1.5.0", "1.0.0"]);
  expect(await visible('allow: ["npm:other", "npm:@acme/*"]')()).toEqual([]);
  expect(await visible(`${ALL}\ndeny: ["npm:many@1.5.0"]`)()).toEqual(["2.0.0", "1.0.0"]);
  expect(await visible(`${ALL}\ndeny: ["npm:many"]`)()).toEqual([]);
  expect(await visible(`${ALL}\npin: {"npm:many": "^1.0.0"}`)()).toEqual(["1.5.0", "1.0.0"]);
  expect(await visible(`${ALL}\nlicenses: [MIT]`)()).toEqual(["2.0.0", "1.0.0"]);
  const noScripts = `@id("no-scripts") @reason("it runs a script")
forbid (principal, action == Glovebox::Action::"installPackage", resource is Glovebox::Package) when { resource.hasInstallScript };`;
  expect(await visible(ALL, noScripts)()).toEqual(["1.5.0", "1.0.0"]);
});

test("metadata that is enormous, malformed, of another package, or slow is an error that says which, and the gateway goes on", async () => {
  const said = (text: string) => (_: unknown, response: { end(text: string): void }) => response.end(text);
  registry.at("/malformed", said("{"));
  registry.at("/array", said("[]"));
  registry.at("/another", said(JSON.stringify({ name: "other", versions: {} })));
  registry.at("/nested", said(`${"[".repeat(100_000)}`));
  registry.at("/failing", (_, response) => response.writeHead(500).end("internal \u001b[31m error"));
  registry.at("/enormous", (_, response) => {
    const piece = Buffer.alloc(1 << 20, 32);
    const more = () => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
  });
  registry.at(
    "/odd",
    said(
      JSON.stringify({
        name: "odd",
        versions: { "1.0.0": 7, "../../x": {}, "1.0.1": { version: "2.0.0", dist: { tarball: "x" } } },
        time: 4,
      }),
    ),
  );
  registry.at(
    "/proto",
    said(
      '{"name":"proto","__proto__":{"polluted":true},"versions":{"__proto__":{"version":"1.0.0"}},"dist-tags":{"latest":"1.0.0"}}',
    ),
  );
  await sandboxed(ALL, async (packages) => {
    for (const name of ["malformed", "array", "another", "nested", "failing", "enormous", "odd"]) {
      const { status, body } = await packages.get(`${BASE}${name}`);
      expect([502, 404], `${name}: ${body}`).toContain(status);
      expect(body?.toString()).not.toContain("\u001b");
    }
    expect(await versionsOf(packages, "proto")).toEqual([]);
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });
});

test("what is no name, path or method of a registry leads nowhere", async () => {
  await sandboxed(ALL, async (packages) => {
    const before = registry.requests.length;
    for (const path of [
      "..%2f..%2fx",
      "a%2f..%2fb",
      "%00",
      "a/b/c",
      "-/all",
      "-/v1/search?text=x",
      "a%252fb",
      "@acme",
      ".hidden",
    ]) {
      const { status } = await packages.get(`${BASE}${path}`);
      expect(status, path).toBe(404);
    }
    expect(registry.requests.slice(before)).toEqual([]);
    expect((await packages.get("http://packages.glovebox.internal/gem/x")).status).toBe(404);
  });
});

test("what the cache holds is served without the registry, after the same decision", async () => {
  const own = await openNpmRegistry();
  await own.publish("kept", { version: "1.0.0" });
  const kept = (rules: string) => profile(rules).replace(registry.url, own.url);
  await using first = await openTestPackages({ profile: kept(ALL) });
  expect((await first.get(tarball("kept", "1.0.0"))).status).toBe(200);
  await own[Symbol.asyncDispose]();
  await using second = await first.again();
  expect((await second.get(tarball("kept", "1.0.0"))).status).toBe(200);
  expect(second.events("package-admitted")[0]).toMatchObject({ cached: true });
  const { directory } = first;
  await using third = await openTestPackages({ profile: kept(`${ALL}\ndeny: ["npm:kept"]`), directory });
  expect((await third.get(tarball("kept", "1.0.0"))).status).toBe(403);
});

test("a registry's own addresses lead to the same rules [G24]", async () => {
  await registry.publish("direct", { version: "1.0.0" }, { version: "1.1.0", ageHours: 1 });
  await sandboxed(ALL, async (packages) => {
    await packages.site.site.ready;
    expect(packages.site.site.claims("registry.test", registry.port)).toBe(true);
    expect(packages.site.site.claims("elsewhere.test", 443)).toBe(false);
    const { body } = await packages.get(`${registry.url}direct`);
    const { versions } = JSON.parse(body?.toString() ?? "");
    expect(Object.keys(versions)).toEqual(["1.0.0"]);
    expect(versions["1.0.0"].dist.tarball).toBe(`${registry.url}direct/-/direct-1.0.0.tgz`);
    expect((await packages.get(`${registry.url}direct/-/direct-1.1.0.tgz`)).status).toBe(403);
  });
});

test("a private registry gets its secret, and no other host does, whatever it leads to [G26]", async () => {
  const authority = await createSessionAuthority();
  await using own = await openNpmRegistry(authority);
  const VALUE = "token-1f2e3d4c5b6a";
  process.env["GLOVEBOX_TEST_TOKEN"] = VALUE;
  await own.publish("@own/kept", { version: "1.0.0" });
  await own.publish("@own/led-away", {
    version: "1.0.0",
    serve: (_, response) => void response.writeHead(302, { location: `https://files.test:${own.port}/away.tgz` }).end(),
  });
  const source = `{url: "${own.url}", secret: OWN_TOKEN, files: ["files.test:${own.port}"]}`;
  const withSecret = `egress:
  hosts: {registry.test: 127.0.0.1, files.test: 127.0.0.1}
  private: [registry.test, files.test]
secrets:
  - {name: OWN_TOKEN, source: {env: GLOVEBOX_TEST_TOKEN}, hosts: [{host: registry.test, ports: [${own.port}]}]}
packages:
  allow: ["npm:*"]
  registries: {npm: [${source}]}
`;
  await using packages = await openTestPackages({ profile: withSecret, authority });
  const { status, body } = await packages.get(tarball("@own/kept", "1.0.0"));
  expect(status, String(body)).toBe(200);
  expect(own.headers.map((it) => it.authorization)).toEqual([`Bearer ${VALUE}`, `Bearer ${VALUE}`]);
  await packages.get(tarball("@own/led-away", "1.0.0"));
  expect(own.requests.at(-1)).toBe("/away.tgz");
  expect(own.headers.at(-1)?.authorization).toBeUndefined();
  expect(JSON.stringify(packages.events("package-admitted"))).not.toContain(VALUE);
  // What only a secret opens is not served from the cache to who hasn't it.
  const without = withSecret.replace("secret: OWN_TOKEN, ", "");
  await using other = await openTestPackages({ profile: without, authority, directory: packages.directory });
  const asked = own.requests.length;
  await other.get(`${BASE}@own/kept`);
  expect(own.requests.length).toBe(asked + 1);
  expect(own.headers.at(-1)?.authorization).toBeUndefined();
});

test("a registry whose secret could not be sent is refused when the bundle is loaded", async () => {
  const secret = (port: number) =>
    `secrets:\n  - {name: ACME_TOKEN, source: {env: HOME}, hosts: [{host: registry.test, ports: [${port}]}]}\n`;
  const named = profile(ALL, secret(acme.port)).replace(`only: ["@acme/*"]`, `only: ["@acme/*"], secret: ACME_TOKEN`);
  await expect(openTestPackages({ profile: named })).rejects.toThrow("the secret ACME_TOKEN goes by HTTPS only");
  const elsewhere = named.replace(`url: "http:`, `url: "https:`).replace(`ports: [${acme.port}]`, "ports: [443]");
  await expect(openTestPackages({ profile: elsewhere })).rejects.toThrow("is not bound to registry.test");
  await expect(openTestPackages({ profile: named.replace("secret: ACME_TOKEN", "secret: NONE") })).rejects.toThrow(
    "there is no secret NONE",
  );
});

test("a file of half a gigabyte passes in bounded memory", async () => {
  const MIB = 2 ** 20;
  const piece = randomBytes(MIB);
  const hash = createHash("sha512");
  for (let at = 0; at < 500; at += 1) hash.update(piece);
  await registry.publish("huge", {
    version: "1.0.0",
    dist: { integrity: `sha512-${hash.digest("base64")}` },
    serve: (_, response) => {
      response.writeHead(200, { "content-length": 500 * MIB });
      Readable.from(repeat(piece, 500)).pipe(response);
    },
  });
  await sandboxed(ALL, async (packages) => {
    let highest = 0;
    let received = 0;
    const before = process.memoryUsage.rss();
    const { hostname: host, port } = new URL(packages.proxy);
    const asked = request({ host, port, path: tarball("huge", "1.0.0"), agent: false }).end();
    const [message] = (await once(asked, "response")) as [IncomingMessage];
    for await (const chunk of message) {
      received += (chunk as Buffer).length;
      highest = Math.max(highest, process.memoryUsage.rss());
    }
    expect(received).toBe(500 * MIB);
    // The server that gives it, and the program that takes it, are in this process too.
    expect((highest - before) / MIB).toBeLessThan(160);
    expect(packages.events("package-admitted")[0]).toMatchObject({ bytes: 500 * MIB });
  });
});

function* repeat(piece: Buffer, times: number): Generator<Buffer> {
  for (let at = 0; at < times; at += 1) yield piece;
}

describe("a package that policy leaves to a person", () => {
  const ASK = `@id("ask") @outcome("ask") @reason("somebody looks at it first")
    forbid (principal, action == Glovebox::Action::"installPackage", resource in Glovebox::Package::"pkg:npm/asked");`;
  const asking = (answer: Approval) => {
    const questions: PolicyQuestion[] = [];
    const ask: AskPerson = async (question) => {
      questions.push(question);
      return answer;
    };
    return { questions, settings: { cedar: ASK, ask } };
  };
  const yes = { approved: true, approvalId: "apr_1", approver: "local:ada", channel: "terminal" } as const;

  test("can be seen, is asked about once whoever fetches it how often, and enters when the person says so", async () => {
    await registry.publish("asked", { version: "1.0.0" }, { version: "2.0.0" });
    await registry.publish("plain", { version: "1.0.0" });
    const { questions, settings } = asking(yes);
    await sandboxed(
      ALL,
      async (packages) => {
        expect((await versionsOf(packages, "asked")).sort()).toEqual(["1.0.0", "2.0.0"]);
        expect((await packages.get(tarball("plain", "1.0.0"))).status).toBe(200);
        expect(questions).toEqual([]);
        const both = [packages.get(tarball("asked", "1.0.0")), packages.get(tarball("asked", "1.0.0"))];
        for (const { status } of await Promise.all(both)) expect(status).toBe(200);
        expect((await packages.get(tarball("asked", "1.0.0"))).status).toBe(200);
        expect(questions).toHaveLength(1);
        expect((await packages.get(tarball("asked", "2.0.0"))).status).toBe(200);
        expect(questions).toHaveLength(2);
        const entered = packages.events("package-admitted").map((it) => [it["purl"], it["approvalId"]]);
        expect(entered).toContainEqual(["pkg:npm/asked@2.0.0", "apr_1"]);
        expect(entered).toContainEqual(["pkg:npm/plain@1.0.0", undefined]);
      },
      settings,
    );
  });

  test("does not enter when the person says no, nor when nobody can be asked", async () => {
    await registry.publish("asked", { version: "3.0.0" });
    const { settings } = asking({ approved: false, why: "denied", text: "Ada said no." });
    await sandboxed(
      ALL,
      async (packages) => {
        const { status, body } = await packages.get(tarball("asked", "3.0.0"));
        expect(status).toBe(403);
        expect(errorOf(body)).toContain("Ada said no.");
        expect(packages.events("package-admitted")).toEqual([]);
      },
      settings,
    );
    await sandboxed(ALL, async (packages) => expect((await packages.get(tarball("asked", "3.0.0"))).status).toBe(403), {
      cedar: ASK,
    });
  });
});
