import { describe, expect, it } from "vitest";
import { cargoRegistry } from "../../src/packages/ecosystems/cargo.ts";
import { indexPath } from "../../src/packages/ecosystems/cargo-index.ts";
import type { RegistryRequest } from "../../src/packages/registry.ts";
import { fakeDesk } from "../support/registry-desk.ts";

const ROOT = "https://index.test/";
const BASE = "http://packages.test/cargo/";
const SHA = "b".repeat(64);
const CONFIG = JSON.stringify({ dl: "https://crates.test/api/v1/crates", api: "https://crates.test" });

function ask(path: string, method: RegistryRequest["method"] = "GET"): RegistryRequest {
  return { method, path, accept: "*/*", base: BASE };
}

function line(vers: string, more: object = {}): string {
  return JSON.stringify({ name: "Demo_x", vers, deps: [], cksum: SHA, features: {}, yanked: false, v: 2, ...more });
}

const INDEX = [
  line("0.9.0", { pubtime: "2020-01-01T00:00:00Z" }),
  line("0.10.0+meta", { pubtime: "2021-01-01T00:00:00Z", unknown: [1] }),
  line("0.10.0-rc.1"),
  line("1.0.0", { yanked: true, pubtime: "2024-06-01T00:00:00Z" }),
  line("nonsense"),
  line("2.0.0", { name: "other" }),
  line("0.9.0", { cksum: "c".repeat(64) }),
  "",
].join("\n");

const DOCUMENTS = { [`${ROOT}config.json`]: CONFIG, [`${ROOT}de/mo/demo_x`]: INDEX };

describe("releases", () => {
  it("has each version by the name that the index spells, the highest first, with digest and time", async () => {
    const releases = (await cargoRegistry.releases("demo_X", fakeDesk(ROOT, DOCUMENTS))) ?? [];
    expect(releases.map((it) => [it.name, it.version, it.yanked, it.publishedMs])).toEqual([
      ["Demo_x", "1.0.0", true, Date.UTC(2024, 5, 1)],
      ["Demo_x", "0.10.0+meta", false, Date.UTC(2021, 0, 1)],
      ["Demo_x", "0.10.0-rc.1", false, undefined],
      ["Demo_x", "0.9.0", false, Date.UTC(2020, 0, 1)],
    ]);
    expect(releases[0]?.artifacts).toEqual([
      {
        file: "Demo_x-1.0.0.crate",
        url: "https://crates.test/api/v1/crates/Demo_x/1.0.0/download",
        integrity: [{ algorithm: "sha256", hex: SHA }],
        buildsFromSource: true,
        publishedMs: Date.UTC(2024, 5, 1),
      },
    ]);
  });

  it("fills in where the registry says that crates are", async () => {
    const dl = "https://crates.test/{prefix}/{lowerprefix}/{crate}/{version}/{sha256-checksum}";
    const documents = { ...DOCUMENTS, [`${ROOT}config.json`]: JSON.stringify({ dl }) };
    const [release] = (await cargoRegistry.releases("demo_x", fakeDesk(ROOT, documents))) ?? [];
    expect(release?.artifacts[0]?.url).toBe(`https://crates.test/De/mo/de/mo/Demo_x/1.0.0/${SHA}`);
  });

  it("has licences of a version that is asked for, where there is a web API", async () => {
    const api = { "https://crates.test/api/v1/crates/Demo_x/0.9.0": '{"version":{"license":"MIT/Apache-2.0"}}' };
    const releases = (await cargoRegistry.releases("demo_x", fakeDesk(ROOT, { ...DOCUMENTS, ...api }), "0.9.0")) ?? [];
    expect(releases.map((it) => it.licenses)).toEqual([undefined, undefined, undefined, ["MIT", "Apache-2.0"]]);
  });

  it("is nothing when there is no such crate, or only another", async () => {
    expect(await cargoRegistry.releases("none", fakeDesk(ROOT, DOCUMENTS))).toBeUndefined();
    const other = { ...DOCUMENTS, [`${ROOT}no/ne/none`]: INDEX };
    expect(await cargoRegistry.releases("none", fakeDesk(ROOT, other))).toBeUndefined();
  });

  it.each([
    ["a line that isn't JSON", { [`${ROOT}de/mo/demo_x`]: "<html>" }],
    ["a line of another shape", { [`${ROOT}de/mo/demo_x`]: '{"name":"demo_x","vers":1}' }],
    ["a configuration that isn't there", { [`${ROOT}config.json`]: { status: 404 } }],
    ["crates at no address", { [`${ROOT}config.json`]: '{"dl":"file:///etc"}' }],
  ])("%s is REGISTRY_MALFORMED", async (_, documents) => {
    const answers = cargoRegistry.releases("demo_x", fakeDesk(ROOT, { ...DOCUMENTS, ...documents }));
    await expect(answers).rejects.toMatchObject({ code: "REGISTRY_MALFORMED" });
  });
});

describe("answers", () => {
  it("a configuration with crates at itself, and nothing to publish to", async () => {
    const reply = await cargoRegistry.answer(ask("config.json"), fakeDesk(ROOT, {}));
    expect(JSON.parse(String(reply.body))).toEqual({ dl: `${BASE}dl` });
  });

  it("the lines that policy permits, whole; what is yanked as yanked", async () => {
    const desk = fakeDesk(ROOT, DOCUMENTS, (release) => release.version !== "0.9.0");
    const reply = await cargoRegistry.answer(ask("de/mo/demo_x"), desk);
    const lines = String(reply.body)
      .trimEnd()
      .split("\n")
      .map((it) => JSON.parse(it));
    expect(lines.map((it) => [it.vers, it.yanked, it.unknown])).toEqual([
      ["1.0.0", true, undefined],
      ["0.10.0+meta", false, [1]],
      ["0.10.0-rc.1", false, undefined],
    ]);
  });

  it("a line that Cargo could read otherwise than we do is written anew", async () => {
    const twice = line("1.0.0").replace('"vers"', '"vers":"6.6.6","vers"');
    const desk = fakeDesk(ROOT, { ...DOCUMENTS, [`${ROOT}de/mo/demo_x`]: twice });
    const { body } = await cargoRegistry.answer(ask("de/mo/demo_x"), desk);
    expect(String(body)).not.toContain("6.6.6");
  });

  it.each([
    "dl/Demo_x/0.9.0/download",
    "api/v1/crates/demo_x/0.9.0/download",
    "crates/Demo_x/Demo_x-0.9.0.crate",
    "Demo_x/Demo_x-0.9.0.crate",
  ])("delivers %s by the index's digest", async (path) => {
    const desk = fakeDesk(ROOT, DOCUMENTS);
    expect((await cargoRegistry.answer(ask(path), desk)).status).toBe(200);
    expect(desk.delivered[0]?.release).toMatchObject({ name: "Demo_x", version: "0.9.0" });
    expect(desk.delivered[0]?.artifact.integrity).toEqual([{ algorithm: "sha256", hex: SHA }]);
    expect(desk.delivered[0]?.others).toHaveLength(3);
  });

  it("decides again at the crate; HEAD delivers nothing", async () => {
    const denied = fakeDesk(ROOT, DOCUMENTS, () => false);
    expect((await cargoRegistry.answer(ask("dl/Demo_x/0.9.0/download"), denied)).status).toBe(403);
    const desk = fakeDesk(ROOT, DOCUMENTS);
    expect((await cargoRegistry.answer(ask("dl/Demo_x/0.9.0/download", "HEAD"), desk)).status).toBe(200);
    expect(desk.delivered).toEqual([]);
  });

  it.each([
    "",
    "demo_x",
    "de/mo/Demo_x",
    "xx/mo/demo_x",
    "de/mo/../demo_x",
    "dl/Demo_x/9.9.9/download",
    "dl/../0.9.0/download",
    "api/v1/crates",
    "crates/Demo_x/other-0.9.0.crate",
  ])("%s is not known", async (path) => {
    expect((await cargoRegistry.answer(ask(path), fakeDesk(ROOT, DOCUMENTS))).status).toBe(404);
  });
});

it("the index's paths", () => {
  expect(["a", "ab", "Abc", "abcd", "serde_json"].map(indexPath)).toEqual([
    "1/a",
    "2/ab",
    "3/a/abc",
    "ab/cd/abcd",
    "se/rd/serde_json",
  ]);
});
