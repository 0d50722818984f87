import { describe, expect, test } from "vitest";
import { createGoRegistry } from "../../src/packages/ecosystems/go.ts";
import { readRetractions } from "../../src/packages/ecosystems/go-mod.ts";
import { readGoRequest } from "../../src/packages/ecosystems/go-request.ts";
import { goNaming } from "../../src/policy/ecosystems/go.ts";
import { ask, refused, type TestDesk, testDesk } from "../support/desk.ts";

const ROOT = "http://upstream.test/go/";
const NAME = "example.org/Acme/tool";
const AT = `${ROOT}example.org/!acme/tool/`;
const H1 = Buffer.alloc(32, 7);
const DAY_MS = 86_400_000;
const NOW = Date.parse("2026-01-31T00:00:00Z");

/** The higher the version, the younger: v1.0.0 is a year old, and each one after it half as old. */
const VERSIONS = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0-rc.1", "v1.3.0", "v2.0.0+incompatible"];
const AGES_DAYS = [365, 180, 90, 45, 2, 1];

function documents(): Map<string, string> {
  const found = new Map([
    [`${AT}@v/list`, `${VERSIONS.join("\n")}\nnot a version\n../../x\n`],
    [`${AT}@v/v1.3.0.mod`, "module example.org/Acme/tool\n\nretract v1.1.0 // a mistake\n"],
    [`${ROOT}sumdb/sums.test/lookup/example.org/!acme/tool@v1.2.0`, checksums("v1.2.0", H1.toString("base64"))],
    [`${ROOT}sumdb/sums.test/supported`, ""],
  ]);
  for (const [index, version] of VERSIONS.entries()) {
    const Time = new Date(NOW - (AGES_DAYS[index] ?? 0) * DAY_MS).toISOString();
    const Origin = { VCS: "git", URL: "https://somewhere.test" };
    found.set(`${AT}@v/${version}.info`, JSON.stringify({ Version: version, Time, Origin }));
  }
  return found;
}

function checksums(version: string, base64: string): string {
  return `1\n${NAME} ${version} h1:${base64}\n${NAME} ${version}/go.mod h1:${base64}\n\ntree\n`;
}

const registry = createGoRegistry({ naming: goNaming, sumdb: "sums.test" });

/** Policy: at least so many days old. */
function deskWith(days: number, found = documents()): TestDesk {
  return testDesk({
    roots: [ROOT],
    fetch: async (url) => found.get(url),
    verdict: ({ publishedMs }) => {
      if (publishedMs === undefined) return refused("its age is not known");
      const old = publishedMs <= NOW - days * DAY_MS;
      return old ? { permitted: true, reason: "", policies: [] } : refused("is too young");
    },
  });
}

const PATH = "example.org/!acme/tool/";

describe("versions", () => {
  test("are listed but for those that policy refuses; older ones are not looked at", async () => {
    const desk = deskWith(30);
    const { status, body } = await ask(registry, desk, `${PATH}@v/list`);
    expect(status).toBe(200);
    expect(body.trim().split("\n")).toEqual(["v1.3.0-rc.1", "v1.2.0", "v1.1.0", "v1.0.0"]);
    expect(desk.refusals).toEqual([]);
  });

  test("the latest is a stable one that is permitted and was not taken back", async () => {
    const latest = async (days: number) => {
      const desk = deskWith(days);
      return { ...(await ask(registry, desk, `${PATH}@latest`)), refusals: desk.refusals };
    };
    expect(JSON.parse((await latest(0)).body)).toEqual({ Version: "v1.3.0", Time: "2026-01-29T00:00:00Z" });
    expect(JSON.parse((await latest(30)).body)).toMatchObject({ Version: "v1.2.0" });
    expect(JSON.parse((await latest(100)).body)).toMatchObject({ Version: "v1.0.0" });
    const none = await latest(1000);
    expect([none.status, none.body]).toEqual([403, "is too young\n"]);
    expect(none.refusals).toEqual([{ name: NAME, version: "v2.0.0+incompatible", reason: "is too young" }]);
  });

  test("one asked for by name is decided, and described by version and time alone", async () => {
    const desk = deskWith(30);
    const { body } = await ask(registry, desk, `${PATH}@v/v1.2.0.info`);
    expect(JSON.parse(body)).toEqual({ Version: "v1.2.0", Time: "2025-11-02T00:00:00Z" });
    const young = await ask(registry, desk, `${PATH}@v/v1.3.0.info`);
    expect([young.status, young.body]).toEqual([403, "is too young\n"]);
    expect((await ask(registry, desk, `${PATH}@v/v9.9.9.info`)).status).toBe(404);
  });

  test("a go.mod is no code: programs' graphs name versions that are not taken", async () => {
    const { status, body } = await ask(registry, deskWith(1000), `${PATH}@v/v1.3.0.mod`);
    expect([status, body]).toEqual([200, "module example.org/Acme/tool\n\nretract v1.1.0 // a mistake\n"]);
  });

  test("a module of which no version is listed has its newest commit", async () => {
    const version = "v0.0.0-20250101000000-0123456789ab";
    const info = JSON.stringify({ Version: version, Time: "2025-01-01T00:00:00Z" });
    const at = `${ROOT}example.org/new/`;
    const found = new Map([
      [`${at}@v/list`, ""],
      [`${at}@latest`, info],
      [`${at}@v/${version}.info`, info],
    ]);
    expect(JSON.parse((await ask(registry, deskWith(3, found), "example.org/new/@latest")).body)).toMatchObject({
      Version: version,
    });
    expect((await ask(registry, deskWith(3, found), "example.org/new/@v/list")).body).toBe(`${version}\n`);
    expect((await ask(registry, deskWith(3, new Map()), "example.org/new/@latest")).status).toBe(404);
    expect((await ask(registry, deskWith(3, new Map()), "example.org/new/@v/list")).status).toBe(404);
  });

  test("however many there are, only the newest are looked at", async () => {
    const found = new Map([[`${AT}@v/list`, Array.from({ length: 500 }, (_, i) => `v1.${i}.0`).join("\n")]]);
    for (let i = 0; i < 500; i++) {
      found.set(`${AT}@v/v1.${i}.0.info`, JSON.stringify({ Version: `v1.${i}.0`, Time: "2026-01-30T00:00:00Z" }));
    }
    const desk = deskWith(30, found);
    const { body } = await ask(registry, desk, `${PATH}@v/list`);
    expect(desk.asked.filter((it) => it.endsWith(".info"))).toHaveLength(24);
    expect(body.trim().split("\n")[0]).toBe("v1.475.0");
  });
});

describe("releases", () => {
  test("have their time, the checksum database's digest, and whether they were taken back", async () => {
    const releases = await registry.releases(NAME, deskWith(30), "v1.1.0");
    expect(releases?.map((it) => it.version)).toEqual([...VERSIONS].reverse());
    const [asked] = releases?.filter((it) => it.version === "v1.1.0") ?? [];
    expect(asked).toMatchObject({ yanked: true, publishedMs: NOW - 180 * DAY_MS });
    const [summed] = releases?.filter((it) => it.version === "v1.2.0") ?? [];
    expect(summed?.artifacts).toEqual([
      {
        file: "v1.2.0.zip",
        url: `${AT}@v/v1.2.0.zip`,
        integrity: [{ algorithm: "h1", hex: "07".repeat(32) }],
        buildsFromSource: false,
      },
    ]);
    expect(await registry.releases("example.org/other", deskWith(30))).toBeUndefined();
    expect(await registry.releases("example.org/other", deskWith(30), "v1.0.0")).toBeUndefined();
  });

  test.each(["", "AAAA", "!!!!", Buffer.alloc(33).toString("base64"), `${H1.toString("base64")} `])(
    "a checksum that is none (%j) is none",
    async (base64) => {
      const found = documents();
      found.set(`${ROOT}sumdb/sums.test/lookup/example.org/!acme/tool@v1.2.0`, checksums("v1.2.0", base64));
      const releases = await registry.releases(NAME, deskWith(30, found), "v1.2.0");
      expect(releases?.find((it) => it.version === "v1.2.0")?.artifacts[0]?.integrity).toEqual([]);
    },
  );

  test("the zip is delivered with them", async () => {
    const desk = deskWith(30);
    await ask(registry, desk, `${PATH}@v/v1.2.0.zip`);
    expect(desk.delivered).toMatchObject([
      { release: { name: NAME, version: "v1.2.0" }, artifact: { file: "v1.2.0.zip" } },
    ]);
    expect((await ask(registry, desk, `${PATH}@v/v1.3.0.zip`)).status).toBe(403);
    expect((await ask(registry, desk, `${PATH}@v/v1.3.0.zip`, { method: "HEAD" })).status).toBe(403);
    expect(desk.delivered).toHaveLength(1);
  });

  test.each(["{}", "[]", "no JSON", '{"Version": "v1.2.1"}', '{"Version": "../x"}', '{"Version": 1}', "\xff"])(
    "a version that is described as %j can't be read",
    async (body) => {
      const found = documents();
      found.set(`${AT}@v/v1.2.0.info`, body);
      const answer = ask(registry, deskWith(30, found), `${PATH}@v/v1.2.0.info`);
      await expect(answer).rejects.toMatchObject({ code: "REGISTRY_MALFORMED" });
    },
  );
});

describe("what is asked for", () => {
  test("is understood, or not passed on", async () => {
    const paths = [
      ...[
        "",
        "@latest",
        "x/@v/list",
        "example.org/Acme/tool/@v/list",
        "example.org/!1/@v/list",
        "example.org/../x/@v/list",
      ],
      ...[
        "example.org/x/@v/master.info",
        "example.org/x/@v/v1.info",
        "example.org/x/@v/v1.0.0.exe",
        "example.org/x/@v/",
      ],
      ...[
        "example.org/x/@v/v1.0.0.info/..",
        "sumdb/other.test/supported",
        "sumdb/sums.test/x",
        "sumdb/sums.test/tile/8/0/1",
      ],
      ...[
        "sumdb/sums.test/tile/8/0/../../x/001",
        "sumdb/sums.test/lookup/x",
        "sumdb/sums.test/lookup/example.org/x@master",
      ],
      ...["sumdb/sums.test/tile/9/0/001", "sumdb/sums.test/lookup/example.org/x@v1.0.0/go.mod"],
    ];
    for (const path of paths) {
      const desk = deskWith(0);
      expect([path, (await ask(registry, desk, path)).status]).toEqual([path, 404]);
      expect([path, desk.asked]).toEqual([path, []]);
    }
  });

  test("of the checksum database: passed on as it is", async () => {
    const bytes = Buffer.from([0, 255, 1]);
    const found = new Map<string, string | Buffer>(documents());
    found.set(`${ROOT}sumdb/sums.test/tile/8/0/x001/234.p/7`, bytes);
    found.set(`${ROOT}sumdb/sums.test/latest`, "tree");
    const desk = testDesk({ roots: [ROOT], fetch: async (url) => found.get(url) });
    expect((await ask(registry, desk, "sumdb/sums.test/supported")).status).toBe(200);
    expect((await ask(registry, desk, "sumdb/sums.test/latest")).body).toBe("tree");
    expect((await ask(registry, desk, "sumdb/sums.test/tile/8/0/x001/234.p/7")).reply.body).toEqual(bytes);
    expect((await ask(registry, desk, "sumdb/sums.test/lookup/example.org/!acme/tool@v1.2.0")).body).toContain("h1:");
    expect((await ask(registry, desk, "sumdb/sums.test/lookup/example.org/!acme/tool@v1.0.0")).status).toBe(404);
  });

  test("without a checksum database there is none", async () => {
    const without = createGoRegistry({ naming: goNaming });
    expect((await ask(without, deskWith(0), "sumdb/sums.test/supported")).status).toBe(404);
    const [release] = (await without.releases(NAME, deskWith(30))) ?? [];
    expect(release?.artifacts[0]?.integrity).toEqual([]);
    expect(without.environment("http://p.test/go/")).toEqual({ GOPROXY: "http://p.test/go", GOSUMDB: "off" });
  });

  test("names and versions are escaped for letters' cases", () => {
    expect(readGoRequest(goNaming, undefined, "example.org/!acme/@v/v1.0.0-!r!c.info")).toEqual({
      kind: "info",
      name: "example.org/Acme",
      version: "v1.0.0-RC",
    });
  });
});

test("retract directives: single, in blocks, ranges, with comments", () => {
  const source = `module m // retract v0.0.1
retract v1.0.0
retract [v1.1.0, v1.2.0] // reason
retract (
  v2.0.0 // why
  [ v2.1.0 ,v2.2.0 ]
  nonsense
)
require v9.9.9
`;
  expect(readRetractions(goNaming, source)).toEqual([
    { from: "v1.0.0", to: "v1.0.0" },
    { from: "v1.1.0", to: "v1.2.0" },
    { from: "v2.0.0", to: "v2.0.0" },
    { from: "v2.1.0", to: "v2.2.0" },
  ]);
});
