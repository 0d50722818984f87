import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { globSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { mavenRegistry } from "../../src/packages/ecosystems/maven.ts";
import { readMavenPath } from "../../src/packages/ecosystems/maven-path.ts";
import type { RegistryRequest } from "../../src/packages/registry.ts";
import { mavenNaming } from "../../src/policy/ecosystems/maven.ts";
import { fakeDesk, realDesk, type Upstream } from "../support/registry-desk.ts";

const ROOT = "https://repo.test/maven2/";
const NAME = "org.acme.lib:demo";
const FOLDER = `${ROOT}org/acme/lib/demo`;
const SHA1 = "a".repeat(40);

function ask(path: string, method: RegistryRequest["method"] = "GET"): RegistryRequest {
  return { method, path, accept: "*/*", base: "http://packages.test/maven/" };
}

function listing(versions: readonly string[], more = "<latest>2.0-rc1</latest><release>1.10</release>"): string {
  const list = versions.map((it) => `<version>${it}</version>`).join("\n");
  return `<?xml version="1.0"?>\n<metadata><groupId>org.acme.lib</groupId><artifactId>demo</artifactId><versioning>${more}<versions>${list}</versions><lastUpdated>20240101000000</lastUpdated></versioning></metadata>`;
}

/** A version with its files, as a repository has them. */
function files(version: string, day: string): Record<string, Upstream> {
  const headers = { "last-modified": new Date(`${day}T00:00:00Z`).toUTCString() };
  const pom = `<project><licenses><license><name>The Apache Software License, Version 2.0</name></license></licenses></project>`;
  const stem = `${FOLDER}/${version}/demo-${version}`;
  return {
    [`${stem}.pom`]: { body: pom, headers },
    [`${stem}.pom.sha1`]: SHA1,
    [`${stem}.jar`]: { headers },
    [`${stem}.jar.sha1`]: `${SHA1.toUpperCase()}  demo.jar\n`,
    [`${stem}.jar.md5`]: "d".repeat(32),
  };
}

const DOCUMENTS: Record<string, Upstream> = {
  [`${FOLDER}/maven-metadata.xml`]: listing(["1.9", "1.10", "2.0-rc1", "1.0-SNAPSHOT", "$(x)", "1.9"]),
  ...files("1.9", "2020-01-01"),
  ...files("1.10", "2021-01-01"),
  ...files("2.0-rc1", "2022-01-01"),
};

describe("releases", () => {
  it("has the versions, the highest first, with times and digests; no snapshots", async () => {
    const releases = (await mavenRegistry.releases(NAME, fakeDesk(ROOT, DOCUMENTS))) ?? [];
    expect(releases.map((it) => [it.version, it.publishedMs])).toEqual([
      ["2.0-rc1", Date.UTC(2022, 0, 1)],
      ["1.10", Date.UTC(2021, 0, 1)],
      ["1.9", Date.UTC(2020, 0, 1)],
    ]);
    expect(releases[0]?.artifacts).toEqual([
      {
        file: "demo-2.0-rc1.pom",
        url: `${FOLDER}/2.0-rc1/demo-2.0-rc1.pom`,
        integrity: [{ algorithm: "sha1", hex: SHA1 }],
        buildsFromSource: false,
        publishedMs: Date.UTC(2022, 0, 1),
      },
    ]);
  });

  it("describes a version that is asked for wholly", async () => {
    const releases = (await mavenRegistry.releases(NAME, fakeDesk(ROOT, DOCUMENTS), "1.9")) ?? [];
    const release = releases.find((it) => it.version === "1.9");
    expect(release?.artifacts.map((it) => it.file)).toEqual(["demo-1.9.pom", "demo-1.9.jar"]);
    expect(release?.licenses).toEqual(["Apache-2.0"]);
  });

  it("takes the last update for the time of files that have none: they can't be younger", async () => {
    const stem = `${FOLDER}/1.0/demo-1.0`;
    const documents = {
      [`${FOLDER}/maven-metadata.xml`]: listing(["1.0"]),
      [`${stem}.pom`]: "<project>&oops;</project",
      [`${stem}.jar`]: "",
    };
    const desk = fakeDesk(ROOT, documents);
    const [release] = (await mavenRegistry.releases(NAME, desk)) ?? [];
    expect(release?.publishedMs).toBe(Date.UTC(2024, 0, 1));
    await mavenRegistry.answer(ask("org/acme/lib/demo/1.0/demo-1.0.jar"), desk);
    expect(desk.delivered[0]?.artifact).toMatchObject({ publishedMs: Date.UTC(2024, 0, 1), integrity: [] });
    const unlisted = fakeDesk(ROOT, { ...documents, [`${FOLDER}/maven-metadata.xml`]: listing(["2.0"]) });
    await mavenRegistry.answer(ask("org/acme/lib/demo/1.0/demo-1.0.jar"), unlisted);
    expect(unlisted.delivered[0]?.artifact).not.toHaveProperty("publishedMs");
  });

  it("asks about the highest versions only; the others have no time and no digest", async () => {
    const versions = Array.from({ length: 40 }, (_, index) => `1.${index}`);
    const documents = {
      [`${FOLDER}/maven-metadata.xml`]: listing(versions),
      ...files("1.39", "2022-01-01"),
      ...files("1.2", "2020-01-01"),
    };
    const desk = fakeDesk(ROOT, documents);
    const releases = (await mavenRegistry.releases(NAME, desk, "1.2")) ?? [];
    expect(releases.filter((it) => it.publishedMs !== undefined).map((it) => it.version)).toEqual(["1.39", "1.2"]);
    expect(desk.asked.length).toBeLessThan(50);
  });

  it.each([
    ["no XML", "<html><p></html>"],
    ["a document type", `<!DOCTYPE x [<!ENTITY a "b">]>${listing(["1.0"])}`],
    ["another package's", listing(["1.0"]).replace("demo", "other")],
    ["another shape", "<metadata><versioning><versions><version><a/></version></versions></versioning></metadata>"],
    ["properties of objects", "<__proto__><constructor>x</constructor></__proto__>"],
    ["deep nesting", `${"<a>".repeat(5_000)}${"</a>".repeat(5_000)}`],
  ])("%s is REGISTRY_MALFORMED", async (_, body) => {
    const answers = mavenRegistry.releases(NAME, fakeDesk(ROOT, { [`${FOLDER}/maven-metadata.xml`]: body }));
    await expect(answers).rejects.toMatchObject({ code: "REGISTRY_MALFORMED" });
  });
});

describe("answers", () => {
  const path = "org/acme/lib/demo";

  it("metadata of what policy permits, and its checksums anew", async () => {
    const desk = fakeDesk(ROOT, DOCUMENTS, (release) => release.version !== "2.0-rc1");
    const { body } = await mavenRegistry.answer(ask(`${path}/maven-metadata.xml`), desk);
    expect(String(body)).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<metadata><groupId>org.acme.lib</groupId><artifactId>demo</artifactId><versioning><latest>1.10</latest><release>1.10</release><versions><version>1.9</version><version>1.10</version></versions><lastUpdated>20240101000000</lastUpdated></versioning></metadata>\n',
    );
    for (const algorithm of ["md5", "sha1", "sha256", "sha512"]) {
      const checksum = await mavenRegistry.answer(ask(`${path}/maven-metadata.xml.${algorithm}`), desk);
      expect(checksum.body).toBe(createHash(algorithm).update(String(body)).digest("hex"));
    }
  });

  it("the plugins of a group", async () => {
    const plugin =
      "<plugin><name>X &amp; Y</name><prefix>demo</prefix><artifactId>demo-maven-plugin</artifactId></plugin>";
    const odd = "<plugin><prefix>../x</prefix><artifactId>a</artifactId></plugin>";
    const documents = { [`${FOLDER}/maven-metadata.xml`]: `<metadata><plugins>${plugin}${odd}</plugins></metadata>` };
    const { body } = await mavenRegistry.answer(ask(`${path}/maven-metadata.xml`), fakeDesk(ROOT, documents));
    expect(String(body)).toContain(
      "<metadata><plugins><plugin><prefix>demo</prefix><artifactId>demo-maven-plugin</artifactId></plugin></plugins></metadata>",
    );
  });

  it("files by the digest beside them, and digests themselves", async () => {
    const desk = fakeDesk(ROOT, DOCUMENTS);
    expect((await mavenRegistry.answer(ask(`${path}/1.9/demo-1.9.jar`), desk)).status).toBe(200);
    expect(desk.delivered[0]).toMatchObject({
      release: { name: NAME, version: "1.9", licenses: ["Apache-2.0"], publishedMs: Date.UTC(2020, 0, 1) },
      artifact: { url: `${FOLDER}/1.9/demo-1.9.jar`, integrity: [{ algorithm: "sha1", hex: SHA1 }] },
    });
    expect((await mavenRegistry.answer(ask(`${path}/1.9/demo-1.9.jar.sha1`), desk)).body).toBe(SHA1);
    expect((await mavenRegistry.answer(ask(`${path}/1.9/demo-1.9.jar.md5`), desk)).body).toBe("d".repeat(32));
    expect((await mavenRegistry.answer(ask(`${path}/1.9/demo-1.9.jar.sha256`), desk)).status).toBe(404);
  });

  it("decides again at the file, and knows what would do instead", async () => {
    const others: (readonly string[])[] = [];
    const desk = fakeDesk(ROOT, DOCUMENTS, (release) => release.version !== "1.10");
    const listening = {
      ...desk,
      deliver: (...args: Parameters<typeof desk.deliver>) => {
        others.push(args[2].map((it) => it.version));
        return desk.deliver(...args);
      },
    };
    expect((await mavenRegistry.answer(ask(`${path}/1.10/demo-1.10.pom`), listening)).status).toBe(403);
    expect(others).toEqual([["2.0-rc1", "1.9"]]);
  });

  it.each([`${path}/1.0-SNAPSHOT/maven-metadata.xml`, `${path}/1.0-SNAPSHOT/demo-1.0-20240101.123456-1.jar`])(
    "refuses a snapshot: %s",
    async (snapshot) => {
      const desk = fakeDesk(ROOT, DOCUMENTS);
      expect((await mavenRegistry.answer(ask(snapshot), desk)).status).toBe(403);
      expect(desk.refused[0]).toMatchObject({ name: NAME, version: "1.0-SNAPSHOT" });
    },
  );

  it.each([
    "",
    "maven-metadata.xml",
    "org/maven-metadata.xml",
    "org/acme/none/maven-metadata.xml",
    `${path}/1.9/other-1.9.jar`,
    `${path}/1.9/demo-1.8.jar`,
    `${path}/1.9/demo-1.9.jar.asc`,
    `${path}/1.9/demo-1.9.zip`,
    `${path}/LATEST/demo-LATEST.jar`,
    `${path}/1.9/../1.9/demo-1.9.jar`,
    `${path}//1.9/demo-1.9.jar`,
    `${path}/1.9/demo-1.9.jar?x`,
    "archetype-catalog.xml",
  ])("%s is not known", async (unknown) => {
    expect((await mavenRegistry.answer(ask(unknown), fakeDesk(ROOT, DOCUMENTS))).status).toBe(404);
  });
});

it("what a path means never leaves its folder", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("org", "a", "a-1", "1", "..", ".", "", "a-1.jar", "a-1..jar", "%2e%2e", "a\\b")),
      (parts) => {
        const read = readMavenPath(parts.join("/"));
        if (read) expect(parts.join("/")).not.toMatch(/\.\.|\/\/|\\|%/);
      },
    ),
  );
});

test("the real repository: versions in order, with digests", async ({ skip }) => {
  const root = centralOf();
  if (root === undefined) return skip("Maven is not here");
  const desk = realDesk(root);
  const releases = await mavenRegistry.releases("junit:junit", desk, "4.13.2").catch(() => undefined);
  if (!releases) return skip("Maven's repository does not answer");
  const versions = releases.map((it) => it.version);
  expect(versions).toEqual(versions.toSorted((a, b) => mavenNaming.compare(b, a)));
  const release = releases.find((it) => it.version === "4.13.2");
  expect(release?.artifacts.map((it) => it.file)).toEqual(["junit-4.13.2.pom", "junit-4.13.2.jar"]);
  expect(release?.artifacts.every((it) => it.integrity.some((digest) => digest.algorithm === "sha1"))).toBe(true);
  expect(release?.licenses).toEqual(["EPL-1.0"]);
  expect(release?.publishedMs).toBeGreaterThan(Date.UTC(2021, 0, 1));
});

/** The repository that stands in Maven's own super POM. */
function centralOf(): string | undefined {
  const [jar] = globSync("/usr/share/maven/lib/maven-model-builder*.jar");
  if (jar === undefined) return undefined;
  const text = execFileSync("unzip", ["-p", jar, "org/apache/maven/model/pom-4.0.0.xml"], { encoding: "utf8" });
  const [, url] = /<url>(https:[^<]+)<\/url>/.exec(text) ?? [];
  return url && `${url}/`;
}
