import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { pipRegistry } from "../../src/packages/ecosystems/pip.ts";
import { readFileName } from "../../src/packages/ecosystems/pip-file-name.ts";
import type { RegistryRequest } from "../../src/packages/registry.ts";
import { registryUrls } from "../../src/packages/sources/registries.ts";
import { pipNaming } from "../../src/policy/ecosystems/pip.ts";
import { fakeDesk, realDesk } from "../support/registry-desk.ts";

const ROOT = "https://index.test/simple/";
const BASE = "http://packages.test/pip/";
const JSON_TYPE = "application/vnd.pypi.simple.v1+json";
const SHA = "a".repeat(64);

function ask(path: string, more: Partial<RegistryRequest> = {}): RegistryRequest {
  return { method: "GET", path, accept: "text/html", base: BASE, ...more };
}

function link(file: string, attributes = 'data-upload-time="2020-01-02T03:04:05Z"'): string {
  return `<a href="https://files.test/packages/aa/bb/cc/${file}#sha256=${SHA}" ${attributes}>${file}</a><br/>`;
}

function page(...links: string[]): string {
  return `<!DOCTYPE html><html><body>${links.join("\n")}</body></html>`;
}

const DEMO = page(
  link("demo-1.0.tar.gz"),
  link("demo-1.0.0-py3-none-any.whl", 'data-upload-time="2020-01-01T00:00:00Z" data-requires-python="&gt;=3.8"'),
  link("demo-2.0-py3-none-any.whl", 'data-yanked="broken &quot;badly&quot;" data-upload-time="2024-01-01T00:00:00Z"'),
  link("demo-10.0.tar.gz"),
  link("other-3.0.tar.gz"),
  link("demo-3.0-py3.7.egg"),
  link("demo-nonsense.tar.gz"),
  link("..%2f..%2fdemo-4.0.tar.gz"),
  '<a href="ftp://files.test/demo-5.0.tar.gz">demo-5.0.tar.gz</a>',
  "<a>nothing</a>",
);

describe("releases", () => {
  it("has the files of each version, the highest first, with digests and times", async () => {
    const releases = (await pipRegistry.releases("demo", fakeDesk(ROOT, { [`${ROOT}demo/`]: DEMO }))) ?? [];
    expect(releases.map((it) => [it.version, it.artifacts.map((file) => file.file)])).toEqual([
      ["10.0", ["demo-10.0.tar.gz"]],
      ["2.0", ["demo-2.0-py3-none-any.whl"]],
      ["1.0", ["demo-1.0.tar.gz", "demo-1.0.0-py3-none-any.whl"]],
    ]);
    const [ten, two, one] = releases;
    expect(ten).toMatchObject({ hasInstallScript: true, yanked: false, publishedMs: Date.UTC(2020, 0, 2, 3, 4, 5) });
    expect(two).toMatchObject({ hasInstallScript: false, yanked: true, publishedMs: Date.UTC(2024, 0, 1) });
    expect(one).toMatchObject({ hasInstallScript: false, publishedMs: Date.UTC(2020, 0, 1) });
    expect(one?.artifacts[0]).toEqual({
      file: "demo-1.0.tar.gz",
      url: "https://files.test/packages/aa/bb/cc/demo-1.0.tar.gz",
      integrity: [{ algorithm: "sha256", hex: SHA }],
      buildsFromSource: true,
      publishedMs: Date.UTC(2020, 0, 2, 3, 4, 5),
    });
  });

  it("reads PEP 691 alike", async () => {
    const file = {
      filename: "demo-1.0-py3-none-any.whl",
      url: "../../packages/demo-1.0-py3-none-any.whl",
      hashes: { sha256: SHA, md5: "00" },
    };
    const body = JSON.stringify({
      meta: { "api-version": "1.1" },
      files: [{ ...file, "upload-time": "2020-01-01T00:00:00.5Z", yanked: false, "core-metadata": { sha256: SHA } }],
    });
    const desk = fakeDesk(ROOT, { [`${ROOT}demo/`]: { body, contentType: JSON_TYPE } });
    const [release] = (await pipRegistry.releases("demo", desk)) ?? [];
    expect(release?.artifacts[0]).toMatchObject({
      url: "https://index.test/packages/demo-1.0-py3-none-any.whl",
      integrity: [{ algorithm: "sha256", hex: SHA }],
      publishedMs: Date.UTC(2020, 0, 1, 0, 0, 0, 500),
    });
    expect(release?.yanked).toBe(false);
  });

  it("takes times from the JSON API where the page has none; a file without one leaves its release without", async () => {
    const without = page(link("demo-1.0.tar.gz", ""), link("demo-2.0.tar.gz", ""));
    const times = {
      releases: { "1.0": [{ filename: "demo-1.0.tar.gz", upload_time_iso_8601: "2021-01-01T00:00:00Z" }] },
    };
    const api = { "https://index.test/pypi/demo/json": { body: JSON.stringify(times) } };
    const desk = fakeDesk(ROOT, { [`${ROOT}demo/`]: without, ...api });
    const releases = (await pipRegistry.releases("demo", desk)) ?? [];
    expect(releases.map((it) => it.publishedMs)).toEqual([undefined, Date.UTC(2021, 0, 1)]);
  });

  it.each([
    [{ license_expression: "MIT OR Apache-2.0" }, ["MIT", "Apache-2.0"]],
    [{ license_expression: "MIT AND ISC" }, ["MIT AND ISC"]],
    [{ classifiers: ["License :: OSI Approved :: MIT License"] }, ["MIT"]],
    [{ classifiers: ["License :: OSI Approved :: BSD License"], license: "MIT" }, []],
    [{ classifiers: ["License :: OSI Approved :: MIT License", "License :: Other/Proprietary License"] }, []],
    [{ license: "MIT" }, ["MIT"]],
    [{ license: "The MIT licence, see LICENSE" }, []],
    [{ license: "\u001b[31mMIT" }, []],
    [{ version: "2.0", license_expression: "MIT" }, []],
  ])("licences of a version that is asked for: %j", async (info, licenses) => {
    const body = JSON.stringify({ info: { version: "1.0.0", ...info } });
    const documents = { [`${ROOT}demo/`]: DEMO, "https://index.test/pypi/demo/json": body };
    const releases = (await pipRegistry.releases("demo", fakeDesk(ROOT, documents), "1.0")) ?? [];
    expect(releases.map((it) => it.licenses)).toEqual([undefined, undefined, licenses]);
  });

  it("does without descriptions that can't be read", async () => {
    const documents = {
      [`${ROOT}demo/`]: page(link("demo-1.0.tar.gz", "")),
      "https://index.test/pypi/demo/json": "<html>",
    };
    const releases = (await pipRegistry.releases("demo", fakeDesk(ROOT, documents), "1.0")) ?? [];
    expect(releases.map((it) => [it.publishedMs, it.licenses])).toEqual([[undefined, []]]);
  });

  it("is nothing when there is no such project", async () => {
    expect(await pipRegistry.releases("demo", fakeDesk(ROOT, {}))).toBeUndefined();
  });

  it.each([
    ["not JSON", JSON_TYPE, "<html>"],
    ["JSON of another shape", JSON_TYPE, '{"files":{}}'],
    ["a file's name that is none", JSON_TYPE, '{"files":[{"filename":7,"url":"x"}]}'],
    ["not UTF-8", "text/html", undefined],
  ])("%s is REGISTRY_MALFORMED, in words that hold nothing of it", async (_, contentType, body) => {
    const desk = fakeDesk(ROOT, {});
    const document = {
      status: 200,
      contentType,
      headers: {},
      body: body ? Buffer.from(body) : Buffer.from([0xff]),
      url: ROOT,
    };
    const answers = pipRegistry.releases("demo", { ...desk, document: async () => document });
    await expect(answers).rejects.toMatchObject({
      code: "REGISTRY_MALFORMED",
      message: "pip's page of `demo` can't be read: the registry answered something else",
    });
  });

  it.each([
    ["is nested deeply", "<div>".repeat(50_000)],
    ["has an endless address", `<a href="${"#".repeat(4_000_000)}">x</a>`],
    ["has an address of many digests", `<a href="x#${"sha256=a&".repeat(400_000)}">x</a>`],
    ["is never a tag", "<".repeat(1_000_000)],
  ])("holds against a page that %s", async (_, before) => {
    const body = `${before}\n${link("demo-1.0.tar.gz")}`;
    const releases = await pipRegistry.releases("demo", fakeDesk(ROOT, { [`${ROOT}demo/`]: body }));
    expect(releases).toHaveLength(1);
  });
});

describe("answers", () => {
  const documents = { [`${ROOT}demo/`]: DEMO };

  it("a page of what policy permits, links to itself, in either form", async () => {
    const desk = fakeDesk(
      ROOT,
      documents,
      (release, artifact) => release.version !== "10.0" && !artifact?.buildsFromSource,
    );
    const html = await pipRegistry.answer(ask("simple/Demo/"), desk);
    expect(html.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(String(html.body).split("\n").slice(1, -2)).toEqual([
      `<a href="${BASE}files/demo/1.0.0/demo-1.0.0-py3-none-any.whl#sha256=${SHA}" data-requires-python="&#62;=3.8">demo-1.0.0-py3-none-any.whl</a><br>`,
      `<a href="${BASE}files/demo/2.0/demo-2.0-py3-none-any.whl#sha256=${SHA}" data-yanked="broken &#34;badly&#34;">demo-2.0-py3-none-any.whl</a><br>`,
    ]);
    const json = await pipRegistry.answer(ask("simple/demo/", { accept: `${JSON_TYPE}, text/html;q=0.1` }), desk);
    expect(json.headers["content-type"]).toBe(JSON_TYPE);
    expect(JSON.parse(String(json.body)).files).toEqual([
      {
        filename: "demo-1.0.0-py3-none-any.whl",
        url: `${BASE}files/demo/1.0.0/demo-1.0.0-py3-none-any.whl`,
        hashes: { sha256: SHA },
        "requires-python": ">=3.8",
        "upload-time": "2020-01-01T00:00:00.000Z",
      },
      {
        filename: "demo-2.0-py3-none-any.whl",
        url: `${BASE}files/demo/2.0/demo-2.0-py3-none-any.whl`,
        hashes: { sha256: SHA },
        yanked: 'broken "badly"',
        "upload-time": "2024-01-01T00:00:00.000Z",
      },
    ]);
  });

  it.each(["files/demo/1.0/demo-1.0.tar.gz", "packages/aa/bb/cc/demo-1.0.tar.gz", "packages/demo-1.0.tar.gz"])(
    "delivers %s by the index's own address and digest",
    async (path) => {
      const desk = fakeDesk(ROOT, documents);
      expect((await pipRegistry.answer(ask(path), desk)).body).toBe("the file");
      const [delivered] = desk.delivered;
      expect(delivered?.artifact.url).toBe("https://files.test/packages/aa/bb/cc/demo-1.0.tar.gz");
      expect(delivered?.artifact.integrity).toEqual([{ algorithm: "sha256", hex: SHA }]);
      // A source archive runs a program of its own, though its release has a wheel.
      expect(delivered?.release).toMatchObject({ version: "1.0", hasInstallScript: true });
      expect(delivered?.others.map((it) => it.version)).toEqual(["10.0", "2.0"]);
    },
  );

  it("decides again at the file: its page need not have been read", async () => {
    const desk = fakeDesk(ROOT, documents, () => false);
    for (const method of ["GET", "HEAD"] as const) {
      expect((await pipRegistry.answer(ask("files/demo/2.0/demo-2.0-py3-none-any.whl", { method }), desk)).status).toBe(
        403,
      );
    }
    expect(desk.refused).toHaveLength(2);
    expect(desk.delivered).toEqual([]);
  });

  it("HEAD of a file delivers nothing", async () => {
    const desk = fakeDesk(ROOT, documents);
    const reply = await pipRegistry.answer(ask("files/demo/2.0/demo-2.0-py3-none-any.whl", { method: "HEAD" }), desk);
    expect([reply.status, reply.body, desk.delivered]).toEqual([200, "", []]);
  });

  it.each([
    "",
    "simple/",
    "simple/none/",
    "simple/-r/",
    "simple/demo/x",
    "files/demo/1.0/other-3.0.tar.gz",
    "files/demo/1.0/demo-3.0-py3.7.egg",
    "files/demo/2.0/demo-2.0-py3-none-any.whl.metadata",
    "files/demo/1.0/..",
    "packages/x",
    "pypi/demo/json",
    "legacy/",
  ])("%s is not known", async (path) => {
    expect((await pipRegistry.answer(ask(path), fakeDesk(ROOT, documents))).status).toBe(404);
  });

  it("finds the pages below a root without `simple/`, too", async () => {
    const desk = fakeDesk("https://index.test/pip/", { "https://index.test/pip/simple/demo/": DEMO });
    expect((await pipRegistry.answer(ask("simple/demo/"), desk)).status).toBe(200);
  });
});

test("names of files", () => {
  const read = (file: string) => readFileName(file).map((it) => `${it.name} ${it.version}`);
  expect(read("python-dateutil-2.8.2.tar.gz")).toEqual(["python-dateutil 2.8.2"]);
  expect(read("Foo_Bar-1.0_1-1-cp311-cp311-linux_x86_64.whl")).toEqual(["foo-bar 1.0.post1"]);
  expect(read("torch-2.0+cu118-cp311-cp311-linux_x86_64.whl")).toEqual(["torch 2.0+cu118"]);
  expect(read("a-1-2.zip")).toEqual(["a 1.post2", "a-1 2"]);
  expect(["x.whl", "x-1.whl", "x-1.0.exe", "-1.0.zip", "x-1.0.tar.gz/", "x\n-1.0.zip"].flatMap(read)).toEqual([]);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.constantFrom(".whl", ".tar.gz"), (text, extension) => {
      for (const { name, version } of readFileName(text + extension)) {
        expect([pipNaming.readName(name), pipNaming.readVersion(version)]).toEqual([name, version]);
      }
    }),
  );
});

test("pip of the sandbox is told where the index is", () => {
  expect(pipRegistry.environment(BASE)).toEqual({
    PIP_INDEX_URL: `${BASE}simple/`,
    UV_DEFAULT_INDEX: `${BASE}simple/`,
    PIP_TRUSTED_HOST: "packages.test",
  });
  expect(pipRegistry.environment("https://packages.test/pip/")).not.toHaveProperty("PIP_TRUSTED_HOST");
});

test("the real index: versions in order, with times and digests", async ({ skip }) => {
  const [url] = await registryUrls("pip");
  if (url === undefined) return skip("pip has no index here");
  const desk = realDesk(url.endsWith("/") ? url : `${url}/`);
  const releases = await pipRegistry.releases("six", desk, "1.16.0").catch(() => undefined);
  if (!releases) return skip("pip's index does not answer");
  expect(releases.map((it) => it.version)).toEqual(
    releases.map((it) => it.version).toSorted((a, b) => pipNaming.compare(b, a)),
  );
  const release = releases.find((it) => it.version === "1.16.0");
  expect(new Date(release?.publishedMs ?? 0).toISOString().slice(0, 10)).toBe("2021-05-05");
  expect(release?.artifacts.map((it) => [it.file, it.integrity[0]?.algorithm])).toEqual(
    expect.arrayContaining([
      ["six-1.16.0-py2.py3-none-any.whl", "sha256"],
      ["six-1.16.0.tar.gz", "sha256"],
    ]),
  );
});
