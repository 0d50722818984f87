import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ECOSYSTEMS } from "../../src/policy/ecosystems/ecosystem.ts";
import { openNpmRegistry, profileFor, type TestRegistry } from "../support/npm-registry.ts";
import { openTestPackages, type TestPackages } from "../support/packages.ts";

/** What a program of a sandbox asks in unusual ways, and what it gets. */
let registry: TestRegistry;
beforeAll(async () => {
  registry = await openNpmRegistry();
});
afterAll(async () => registry?.[Symbol.asyncDispose]());

const BASE = "http://packages.glovebox.internal/npm/";
const profile = () => profileFor(registry);

async function head({ proxy }: TestPackages, path: string): Promise<number | undefined> {
  const { hostname: host, port } = new URL(proxy);
  const asked = request({ host, port, path, method: "HEAD", agent: false }).end();
  const [message] = (await once(asked, "response")) as [IncomingMessage];
  message.resume();
  return message.statusCode;
}

test("HEAD of a file fetches nothing and records nothing; of a forbidden one it is a refusal", async () => {
  await registry.publish("headed", { version: "1.0.0" }, { version: "1.1.0", ageHours: 1 });
  await using packages = await openTestPackages({ profile: profile() });
  expect(await head(packages, `${BASE}headed/-/headed-1.0.0.tgz`)).toBe(200);
  expect(registry.requests.filter((it) => it.endsWith(".tgz"))).toEqual([]);
  expect(packages.events("package-admitted")).toEqual([]);
  expect(packages.events("package-refused")).toEqual([]);
  expect(await head(packages, `${BASE}headed/-/headed-1.1.0.tgz`)).toBe(403);
  expect(packages.events("package-refused")).toHaveLength(1);
});

test("of an ecosystem that policy permits nothing of, no registry is asked: it would tell others the name", async () => {
  const go = profile().replace("{npm: [{", `{go: [{url: "${registry.url}"}], npm: [{`);
  const path = "http://packages.glovebox.internal/go/collector.example/c2VjcmV0/@v/list";
  const before = registry.requests.length;
  await using packages = await openTestPackages({ profile: go });
  expect((await packages.get(path)).status).toBe(404);
  expect((await packages.get(path.replace("list", "v1.0.0.mod"))).status).toBe(404);
  expect(packages.site.packages.base("go")).toBeUndefined();
  expect(packages.site.environment["GOPROXY"]).toBeUndefined();
  expect(registry.requests.length).toBe(before);
  const permit = (head: string) =>
    `@id("own") permit (principal, action == Glovebox::Action::"installPackage", ${head});`;
  const heads: [string, readonly string[]][] = [
    ["resource", ["go", "pip", "apt"]],
    ["resource is Glovebox::Package", ["go", "pip", "apt"]],
    ["resource is Glovebox::Session", []],
    ['resource in Glovebox::Package::"pkg:golang/example.org"', ["go"]],
    ['resource == Glovebox::Package::"pkg:golang/example.org/x@v1.0.0"', ["go"]],
    ['resource is Glovebox::Package in Glovebox::Package::"pkg:golang"', ["go"]],
    ['resource in Glovebox::Package::"pkg:deb"', ["apt"]],
  ];
  for (const [head, ecosystems] of heads) {
    await using permitted = await openTestPackages({ profile: go, cedar: permit(head) });
    const { base } = permitted.site.packages;
    const open = (["go", "pip", "apt"] as const).filter((it) => base(it) !== undefined);
    expect(open, head).toEqual(ecosystems);
  }
});

test("the gateway's own registries are at their own address, and no part of another is taken for a path", async () => {
  await registry.publish("npm", { version: "1.0.0" });
  await using packages = await openTestPackages({ profile: profile() });
  const { site } = packages.site;
  const asked = { method: "GET", accept: "*/*" };
  const target = { host: "packages.glovebox.internal", path: "/npm/npm" } as const;
  const { signal } = new AbortController();
  await site.ready;
  expect((await site.answer({ ...target, scheme: "http", port: 80 }, asked, signal)).status).toBe(200);
  expect((await site.answer({ ...target, scheme: "https", port: 80 }, asked, signal)).status).toBe(404);
  expect((await site.answer({ ...target, scheme: "http", port: 8080 }, asked, signal)).status).toBe(404);
});

test("metadata that the registry does not give any more to who asks is not given from the cache either", async () => {
  await registry.publish("revoked", { version: "1.0.0" });
  let nowMs = Date.now();
  await using packages = await openTestPackages({ profile: profile(), nowMs: () => nowMs });
  expect((await packages.get(`${BASE}revoked`)).status).toBe(200);
  nowMs += 3_600_000;
  registry.at("/revoked", (_, response) => response.writeHead(503).end());
  expect((await packages.get(`${BASE}revoked`)).status).toBe(200);
  for (const status of [401, 403]) {
    registry.at("/revoked", (_, response) => response.writeHead(status).end());
    expect((await packages.get(`${BASE}revoked`)).status).toBe(502);
  }
});

test("where no registry is known, that is said, and not that the package does not exist", async () => {
  const permitted = '@id("own") permit (principal, action == Glovebox::Action::"installPackage", resource);';
  await using packages = await openTestPackages({ profile: "packages: {allow: []}\n", cedar: permitted });
  for (const ecosystem of ECOSYSTEMS) {
    const asked = packages.site.packages.candidates(ecosystem, "left", undefined, AbortSignal.timeout(60_000));
    await expect(asked, ecosystem).rejects.toMatchObject({
      code: "REGISTRY_FAILED",
      message: expect.stringContaining("no registry is known"),
    });
  }
});
