import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createGoRegistry } from "../../src/packages/ecosystems/go.ts";
import { registryUrls } from "../../src/packages/sources/registries.ts";
import { goNaming } from "../../src/policy/ecosystems/go.ts";
import { PERMITTED, refused, type TestDesk, testDesk } from "../support/desk.ts";
import type { Origin } from "../support/egress.ts";
import { fetchUpstream, openRegistry } from "../support/registry-server.ts";

/** The go command of this computer against the registry, over the module proxy that this computer itself uses. */
const MODULE = "github.com/google/uuid";
const upstream = await findUpstream();

let directory: string;
let desk: TestDesk;
let server: Origin & { readonly base: string };
const registry = createGoRegistry({ naming: goNaming, ...(upstream && { sumdb: upstream.sumdb }) });

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "glovebox-go-"));
  desk = testDesk({
    roots: [upstream?.root ?? ""],
    fetch: fetchUpstream(),
    verdict: ({ name, version }) =>
      name === MODULE && goNaming.compare(version, "v1.4.0") > 0 ? refused("too young for policy") : PERMITTED,
  });
  server = await openRegistry(registry, desk);
  if (upstream) await go("mod", "init", "example.org/test");
});
afterAll(async () => {
  if (upstream) await go("clean", "-modcache");
  await server?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function findUpstream(): Promise<{ root: string; sumdb: string } | undefined> {
  try {
    const [url] = await registryUrls("go");
    if (url === undefined) return undefined;
    const root = url.endsWith("/") ? url : `${url}/`;
    const { ok } = await fetch(`${root}${MODULE}/@v/list`, { signal: AbortSignal.timeout(10_000) });
    const { stdout } = await promisify(execFile)("go", ["env", "GOSUMDB"]);
    return ok ? { root, sumdb: stdout.trim() } : undefined;
  } catch {
    return undefined;
  }
}

async function go(...args: string[]): Promise<string> {
  const env = {
    PATH: process.env["PATH"],
    HOME: directory,
    GOPATH: join(directory, "go"),
    GOFLAGS: "-mod=mod",
    GOTOOLCHAIN: "local",
    ...registry.environment(server.base),
  };
  const { stdout, stderr } = await promisify(execFile)("go", args, { cwd: directory, env }).catch((error: unknown) => {
    throw new Error(error instanceof Error && "stderr" in error ? String(error.stderr) : String(error));
  });
  return stdout + stderr;
}

describe("the go command", () => {
  beforeEach(({ skip }) => skip(!upstream, "no go command here, or no module proxy that answers"));

  test("sees the versions that policy permits", async () => {
    const [line = ""] = (await go("list", "-m", "-versions", MODULE)).split("\n");
    expect(line).toMatch(/^github\.com\/google\/uuid v1\.0\.0 .*v1\.4\.0$/);
  });

  test("takes the latest of them, with its digest from the checksum database", async () => {
    const { Version, Sum } = JSON.parse(await go("mod", "download", "-json", `${MODULE}@latest`));
    expect(Version).toBe("v1.4.0");
    const [delivered] = desk.delivered;
    expect(delivered).toMatchObject({ release: { name: MODULE, version: "v1.4.0" } });
    const [integrity] = delivered?.artifact.integrity ?? [];
    expect(integrity?.algorithm).toBe("h1");
    expect(`h1:${Buffer.from(integrity?.hex ?? "", "hex").toString("base64")}`).toBe(Sum);
  });

  test("is refused another one, with the reason", async () => {
    await expect(go("get", `${MODULE}@v1.6.0`)).rejects.toThrow("too young for policy");
    expect(desk.refusals).toContainEqual({ name: MODULE, version: "v1.6.0", reason: "too young for policy" });
  });

  test("gets a package's module by the package's path, and what it needs", async () => {
    expect(await go("get", "golang.org/x/mod/semver")).toContain("added golang.org/x/mod v");
    const [release] = (await registry.releases("golang.org/x/mod", desk)) ?? [];
    expect(release?.publishedMs).toBeGreaterThan(Date.parse("2024-01-01"));
    expect(release?.artifacts[0]?.integrity).toHaveLength(1);
  });
});
