import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createAptRegistry } from "../../src/packages/ecosystems/apt.ts";
import { readAptIndex } from "../../src/packages/ecosystems/apt-index.ts";
import type { Document } from "../../src/packages/registry.ts";
import { aptNaming } from "../../src/policy/ecosystems/apt.ts";
import { ask, PERMITTED, refused, type TestDesk, testDesk } from "../support/desk.ts";

const MAIN = "http://upstream.test/debian/";
const SECURITY = "http://upstream.test/security/";
const SHA = (letter: string) => letter.repeat(64);
const sha256 = (content: Buffer | string) => createHash("sha256").update(content).digest("hex");

const entry = (name: string, version: string, sha: string, path = `pool/main/${name}_${version}_amd64.deb`) =>
  `Package: ${name}\nVersion: ${version}\nDescription: x\n Version: 9 on a line that goes on\nFilename: ${path}\nSHA256: ${sha}\n\n`;

const INDEX = entry("tool", "1.0-1", SHA("a")) + entry("tool", "1.2-1", SHA("b")) + entry("other", "2", SHA("c"));
const FIXES = entry("tool", "1.2-1+deb13u1", SHA("d"), "pool/updates/main/tool_1.2-1+deb13u1_amd64.deb");

/** `tool` 3.0-1, compressed by xz. */
const XZ = Buffer.from(
  "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4ACPAFBdACgYSGbb2jCF/hbwgmFzXjmtc7Yk6qYqlzr4ghiamBNeU0FYtrgto3eUsJJwsOnFA4JMFs3kf0bFdJd02dIeSb5MLlOmytzpr8aUbbZOed8AAAhsAZTV8+6UAAFskAEAAACJW9nVscRn+wIAAAAABFla",
  "base64",
);

type Documents = Map<string, Partial<Document> | string | Buffer>;

function suite(documents: Documents, root: string, name: string, index: string, date = ""): void {
  const compressed = gzipSync(index);
  const at = `${root}dists/${name}/`;
  const digest = sha256(compressed);
  const path = "main/binary-amd64/Packages.gz";
  const release = `Origin: x\nDate: ${date}\nMD5Sum:\n ${SHA("0").slice(32)} 1 ${path}\nSHA256:\n ${digest} ${compressed.length} ${path}\n -----BEGIN`;
  documents.set(`${at}InRelease`, {
    body: Buffer.from(release),
    headers: { "last-modified": "Sat, 01 Nov 2025 10:00:00 GMT" },
  });
  documents.set(`${at}main/binary-amd64/by-hash/SHA256/${digest}`, compressed);
}

function archive(): Documents {
  const documents: Documents = new Map();
  suite(documents, MAIN, "stable", INDEX);
  suite(documents, SECURITY, "stable-security", FIXES);
  const files: [string, string][] = [
    [`${MAIN}pool/main/tool_1.0-1_amd64.deb`, "Wed, 01 Jan 2025 10:00:00 GMT"],
    [`${MAIN}pool/main/tool_1.2-1_amd64.deb`, "Thu, 01 Jan 2026 10:00:00 GMT"],
    [`${SECURITY}pool/updates/main/tool_1.2-1+deb13u1_amd64.deb`, "yesterday"],
  ];
  for (const [url, time] of files) documents.set(url, { body: Buffer.from("deb"), headers: { "last-modified": time } });
  return documents;
}

const SCOPE = { suites: ["stable", "stable-updates", "stable-security"], components: ["main"], architecture: "amd64" };
const registryOf = () => createAptRegistry({ naming: aptNaming, ...SCOPE });

function deskOf(documents: Documents, forbidden: readonly string[] = []): TestDesk {
  return testDesk({
    roots: [MAIN, SECURITY],
    fetch: async (url) => documents.get(url),
    verdict: ({ version }) => (forbidden.includes(version) ? refused("not this one") : PERMITTED),
  });
}

describe("releases", () => {
  test("are those of all archives and suites, with digests, and the times of their files", async () => {
    const releases = await registryOf().releases("tool", deskOf(archive()));
    expect(releases?.map((it) => [it.version, it.publishedMs])).toEqual([
      ["1.2-1+deb13u1", undefined],
      ["1.2-1", Date.parse("2026-01-01T10:00:00Z")],
      ["1.0-1", Date.parse("2025-01-01T10:00:00Z")],
    ]);
    expect(releases?.[0]).toMatchObject({ name: "tool", hasInstallScript: true, yanked: false, licenses: [] });
    expect(releases?.[0]?.artifacts).toEqual([
      {
        file: "tool_1.2-1+deb13u1_amd64.deb",
        url: `${SECURITY}pool/updates/main/tool_1.2-1+deb13u1_amd64.deb`,
        integrity: [{ algorithm: "sha256", hex: SHA("d") }],
        buildsFromSource: false,
      },
    ]);
    expect(await registryOf().releases("nothing", deskOf(archive()))).toBeUndefined();
  });

  test("whose files tell no time are as old as the archive's list of them", async () => {
    const documents = archive();
    suite(documents, MAIN, "stable", INDEX, "Sat, 06 Sep 2025 08:00:00 UTC");
    suite(documents, SECURITY, "stable-security", FIXES, "Tue,  3 Feb 2026 08:00:00 UTC");
    const times = async () => (await registryOf().releases("tool", deskOf(documents)))?.map((it) => it.publishedMs);
    // The second one's file is younger than the list that has it, which can't be.
    const listed = Date.parse("2025-09-06T08:00:00Z");
    expect(await times()).toEqual([Date.parse("2026-02-03T08:00:00Z"), listed, Date.parse("2025-01-01T10:00:00Z")]);
    suite(documents, MAIN, "stable-updates", INDEX, "Mon, 01 Dec 2025 08:00:00 UTC");
    for (const url of documents.keys()) if (url.endsWith(".deb")) documents.delete(url);
    expect(await times()).toEqual([Date.parse("2026-02-03T08:00:00Z"), listed, listed]);
  });

  test("of a package that one archive has for itself come from no other", async () => {
    const documents = archive();
    const desk = testDesk({
      roots: [MAIN, SECURITY],
      fetch: async (url) => documents.get(url),
      rootOf: (name) => (name === "tool" ? SECURITY : undefined),
    });
    expect((await registryOf().releases("tool", desk))?.map((it) => it.version)).toEqual(["1.2-1+deb13u1"]);
    expect((await registryOf().releases("other", desk))?.map((it) => it.version)).toEqual(["2"]);
    expect((await ask(registryOf(), desk, "pool/main/tool_1.0-1_amd64.deb")).status).toBe(403);
    expect((await ask(registryOf(), desk, "pool/updates/main/tool_1.2-1+deb13u1_amd64.deb")).status).toBe(200);
  });

  test("an index is read once, until the archive has another", async () => {
    const registry = registryOf();
    const documents = archive();
    const desk = deskOf(documents);
    for (let i = 0; i < 3; i++) await registry.releases("tool", desk);
    expect(desk.asked.filter((it) => it.includes("by-hash"))).toHaveLength(2);
    suite(documents, MAIN, "stable", entry("tool", "3", SHA("e")));
    expect((await registry.releases("tool", desk))?.map((it) => it.version)).toEqual(["3", "1.2-1+deb13u1"]);
  });

  test("an index that isn't what the archive's InRelease says is not used", async () => {
    const documents = archive();
    for (const [url, body] of documents)
      if (url.includes("by-hash")) documents.set(url, Buffer.concat([body as Buffer, Buffer.from("x")]));
    await expect(registryOf().releases("tool", deskOf(documents))).rejects.toMatchObject({
      code: "REGISTRY_MALFORMED",
    });
    const gone = archive();
    for (const url of gone.keys()) if (url.includes("by-hash")) gone.delete(url);
    await expect(registryOf().releases("tool", deskOf(gone))).rejects.toMatchObject({ code: "REGISTRY_MALFORMED" });
  });

  test("an index that an archive has by xz only is read too", async () => {
    const documents = archive();
    const path = "main/binary-amd64/Packages.xz";
    documents.set(`${MAIN}dists/stable-updates/InRelease`, `SHA256:\n ${sha256(XZ)} ${XZ.length} ${path}\n`);
    documents.set(`${MAIN}dists/stable-updates/${path}`, XZ);
    expect((await registryOf().releases("tool", deskOf(documents)))?.[0]?.version).toBe("3.0-1");
  });

  test("an archive without addresses by digest has the index by its name", async () => {
    const documents = archive();
    for (const [url, body] of [...documents]) {
      if (!url.includes("by-hash")) continue;
      documents.set(url.replace(/by-hash.*/, "Packages.gz"), body);
      documents.delete(url);
    }
    expect(await registryOf().releases("tool", deskOf(documents))).toHaveLength(3);
  });
});

describe("what apt asks for", () => {
  test("of what describes the archive: passed on as it is, from the first archive that has it", async () => {
    const documents = archive();
    const registry = registryOf();
    const { status, body, reply } = await ask(registry, deskOf(documents), "dists/stable-security/InRelease");
    expect([status, body]).toEqual([
      200,
      (documents.get(`${SECURITY}dists/stable-security/InRelease`) as Document).body.toString(),
    ]);
    expect(reply.headers["last-modified"]).toBe("Sat, 01 Nov 2025 10:00:00 GMT");
    expect((await ask(registry, deskOf(documents), "dists/stable-updates/InRelease")).status).toBe(404);
  });

  test("of files: what an index lists, as policy decides", async () => {
    const desk = deskOf(archive(), ["1.2-1"]);
    const registry = registryOf();
    expect((await ask(registry, desk, "pool/main/tool_1.0-1_amd64.deb")).body).toBe("deb");
    expect((await ask(registry, desk, "pool/updates/main/tool_1.2-1+deb13u1_amd64.deb")).body).toBe("deb");
    expect(desk.delivered.map((it) => it.release.version)).toEqual(["1.0-1", "1.2-1+deb13u1"]);
    const no = await ask(registry, desk, "pool/main/tool_1.2-1_amd64.deb");
    expect([no.status, no.body]).toEqual([403, "not this one\n"]);
    const unknown = await ask(registry, desk, "pool/main/tool_7_amd64.deb");
    expect([unknown.status, unknown.body]).toEqual([403, "no index of the archive lists this file\n"]);
    expect(desk.refusals.at(-1)).toEqual({ name: "tool", reason: "no index of the archive lists this file" });
  });

  test("is understood, or not passed on", async () => {
    const paths = [
      ...[
        "",
        "dists",
        "dists/",
        "dists/stable",
        "dists/stable/",
        "dists/sid/InRelease",
        "dists/stable/../sid/InRelease",
      ],
      ...[
        "dists/stable//InRelease",
        "dists/stable/a b",
        "dists/stable/.x",
        "pool/x",
        "pool/main/_1_amd64.deb",
        "x/pool/main/a_1_all.deb",
      ],
      ...["pool/main/-x_1_all.deb", "pool/main/tool_1.0-1_amd64.deb/x", "indices/x", "ls-lR.gz", "dists/stable/x?y"],
    ];
    for (const path of paths) {
      const desk = deskOf(archive());
      expect([path, (await ask(registryOf(), desk, path)).status]).toEqual([path, 404]);
      expect([path, desk.asked]).toEqual([path, []]);
    }
  });

  test("has no variables: apt reads files", () => {
    expect(registryOf().environment("http://packages.test/")).toEqual({});
  });
});

describe("an index", () => {
  test.each([
    ["Source: glibc", { name: "glibc", version: "2.41-1+b1" }],
    ["Source: glibc (2.41-1)", { name: "glibc", version: "2.41-1" }],
    ["Source: ../etc (x y)", { name: "libc6", version: "2.41-1+b1" }],
  ])("knows what a package was built from, by which advisories go: %s", async (line, source) => {
    const index = await read(`${line}\n${entry("libc6", "2.41-1+b1", SHA("c"), "pool/g/libc6.deb")}`);
    expect(index.files("libc6")[0]?.source).toEqual(source);
  });

  const read = (text: string | Buffer) =>
    readAptIndex(aptNaming, { body: typeof text === "string" ? gzipSync(text) : text, compression: "gz" }, "it");

  test("has what can be read, and nothing that leads elsewhere", async () => {
    const bad = [
      ...[
        "../x.deb",
        "pool/../x.deb",
        "/pool/x.deb",
        "pool//x.deb",
        "pool/x.exe",
        "http://x/pool/x.deb",
        "pool/a b.deb",
      ],
      "pool/x.deb?y",
    ].map((path) => entry("tool", "1", SHA("a"), path));
    const others = [entry("--tool", "1", SHA("a")), entry("tool", "-1", SHA("a")), entry("tool", "1", "abc")];
    const index = await read(
      [...bad, ...others, "Package: x\n\n", entry("good", "1:2", SHA("b"), "pool/g/good_2_all.deb")].join(""),
    );
    expect(index.files("tool")).toEqual([]);
    const source = { name: "good", version: "1:2" };
    expect(index.files("good")).toEqual([
      { name: "good", version: "1:2", path: "pool/g/good_2_all.deb", sha256: SHA("b"), source },
    ]);
    expect(index.at("pool/g/good_2_all.deb")?.name).toBe("good");
    expect(index.at("pool/x.deb")).toBeUndefined();
    expect(index.files("__proto__")).toEqual([]);
  });

  test("that ends without an empty line is whole", async () => {
    expect((await read(entry("tool", "1", SHA("a")).trim())).files("tool")).toHaveLength(1);
  });

  test("of any bytes is read or refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, compressed) => {
        const given = compressed ? gzipSync(bytes) : Buffer.from(bytes);
        const answer = await read(given).catch((error: unknown) => error);
        if (answer instanceof Error) expect(answer).toMatchObject({ code: "REGISTRY_MALFORMED" });
      }),
    );
  });

  test("compressed by xz, damaged anywhere, is read or refused", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(XZ.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, change, cut) => {
          const body = cut ? Buffer.from(XZ.subarray(0, at)) : Buffer.from(XZ);
          if (!cut) body[at] = (body[at] ?? 0) ^ change;
          const answer = await readAptIndex(aptNaming, { body, compression: "xz" }, "it").catch(
            (error: unknown) => error,
          );
          if (answer instanceof Error) expect(answer).toMatchObject({ code: "REGISTRY_MALFORMED" });
        },
      ),
    );
  });

  test("that is a bomb is refused", async () => {
    const line = gzipSync(Buffer.alloc(64 * 1024 * 1024, "x"));
    await expect(read(line)).rejects.toMatchObject({ code: "REGISTRY_MALFORMED" });
    const lines = gzipSync(Buffer.alloc(32 * 1024 * 1024, "Package: x\n"));
    // Members one after the other are one file.
    await expect(read(Buffer.concat(Array.from({ length: 17 }, () => lines)))).rejects.toMatchObject({
      code: "REGISTRY_MALFORMED",
    });
  });
});
