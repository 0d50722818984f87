import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createAptRegistry } from "../../src/packages/ecosystems/apt.ts";
import { aptNaming } from "../../src/policy/ecosystems/apt.ts";
import { PERMITTED, refused, type TestDesk, testDesk } from "../support/desk.ts";
import type { Origin } from "../support/egress.ts";
import { fetchUpstream, openRegistry } from "../support/registry-server.ts";

/** The apt of this computer against the registry, over the archives that this computer itself uses: signatures are checked as ever. */
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const archives = await findArchives();
const run = promisify(execFile);

let directory: string;
let desk: TestDesk;
let server: Origin & { readonly base: string };
const registry = createAptRegistry({
  naming: aptNaming,
  suites: archives?.suites ?? [],
  components: ["main"],
  architecture: archives?.architecture ?? "",
});

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "glovebox-apt-"));
  desk = testDesk({
    roots: archives?.roots ?? [],
    fetch: fetchUpstream(),
    verdict: ({ name }) => (name === "sl" ? refused("not for work") : PERMITTED),
  });
  server = await openRegistry(registry, desk);
  for (const it of ["lists/partial", "archives/partial"]) await mkdir(join(directory, it), { recursive: true });
  const lines = archives?.suites.map((it) => `deb [signed-by=${KEYRING}] ${server.base} ${it} main\n`) ?? [];
  await writeFile(join(directory, "sources.list"), lines.join(""));
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

interface Archives {
  readonly roots: readonly string[];
  readonly suites: readonly string[];
  readonly architecture: string;
}

async function findArchives(): Promise<Archives | undefined> {
  try {
    if (!existsSync(KEYRING)) return undefined;
    const format = "$(REPO_URI) $(RELEASE) $(ARCHITECTURE)";
    const asked = ["indextargets", "--format", format, "Created-By: Packages", "Component: main"];
    const { stdout } = await promisify(execFile)("apt-get", asked);
    const lines = stdout.split("\n").map((it) => it.split(" "));
    const found = lines.filter(([root = ""]) => root.startsWith("http:"));
    const [[root, suite, architecture = ""] = []] = found;
    if (root === undefined) return undefined;
    const { ok } = await fetch(`${root}dists/${suite}/InRelease`, { signal: AbortSignal.timeout(10_000) });
    const unique = (index: number) => [...new Set(found.map((it) => it[index] ?? ""))];
    return ok ? { roots: unique(0), suites: unique(1), architecture } : undefined;
  } catch {
    return undefined;
  }
}

async function apt(...args: string[]): Promise<string> {
  const settings = {
    "Dir::State::lists": join(directory, "lists"),
    "Dir::Cache": directory,
    "Dir::Cache::archives": join(directory, "archives"),
    "Dir::Etc::sourcelist": join(directory, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "APT::Sandbox::User": "root",
    "Debug::NoLocking": "true",
    "Acquire::Languages": "none",
    "Acquire::http::Proxy": "DIRECT",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const { stdout, stderr } = await run("apt-get", [...options, ...args], { cwd: directory, maxBuffer: 16_777_216 });
  return stdout + stderr;
}

describe("apt", () => {
  beforeEach(({ skip }) => skip(!archives, "no apt of Debian here, or no archive that answers"));

  test("reads all suites of all archives, and their signatures are right", async () => {
    const said = await apt("update");
    expect(said).not.toMatch(/^(W|E|Err):?/m);
    expect((await readdir(join(directory, "lists"))).filter((it) => it.includes("InRelease"))).toHaveLength(
      archives?.suites.length ?? 0,
    );
  });

  test("gets a file that policy permits, which is what the index says", async () => {
    await apt("download", "hostname");
    const [delivered] = desk.delivered;
    expect(delivered?.release.publishedMs).toBeGreaterThan(Date.parse("2015-01-01"));
    expect(delivered?.artifact.integrity[0]?.hex).toMatch(/^[0-9a-f]{64}$/);
    expect(await readdir(directory)).toContainEqual(expect.stringMatching(/^hostname_.*\.deb$/));
  });

  test("is refused one that policy forbids", async () => {
    await expect(apt("download", "sl")).rejects.toThrow(/403/);
    expect(desk.refusals).toContainEqual(expect.objectContaining({ name: "sl", reason: "not for work" }));
  });
});
