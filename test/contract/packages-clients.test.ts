import { execFile, execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { cargoConfig, cargoRegistry } from "../../src/packages/ecosystems/cargo.ts";
import { mavenRegistry } from "../../src/packages/ecosystems/maven.ts";
import { pipRegistry } from "../../src/packages/ecosystems/pip.ts";
import type { Release } from "../../src/packages/registry.ts";
import { registryUrls } from "../../src/packages/sources/registries.ts";
import { cargoNaming } from "../../src/policy/ecosystems/cargo.ts";
import { mavenNaming } from "../../src/policy/ecosystems/maven.ts";
import { pipNaming } from "../../src/policy/ecosystems/pip.ts";
import { realDesk } from "../support/registry-desk.ts";
import { openRegistry } from "../support/registry-server.ts";

/** Package managers of this computer, in front of the real registries as policy lets them be seen. */

const MINUTE = 60_000;

async function scratch(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "glovebox-packages-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

interface Ended {
  readonly ok: boolean;
  readonly output: string;
}

async function run(program: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<Ended> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { cwd, env, timeout: 2 * MINUTE });
    return { ok: true, output: stdout + stderr };
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    return { ok: false, output: `${error}\n${stdout}${stderr}` };
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(10_000) })).ok;
  } catch {
    return false;
  }
}

test("pip sees and gets what policy permits, by name and by the file's own address", { timeout: 3 * MINUTE }, async ({
  skip,
}) => {
  const [url] = await registryUrls("pip");
  if (url === undefined || !(await answers(`${url}/six/`))) return skip("pip has no index that answers");
  const permits = ({ name, version }: Release) => name === "six" && pipNaming.compare(version, "1.16") < 0;
  const desk = realDesk(`${url}/`, permits);
  await using registry = await openRegistry(pipRegistry, desk);
  const folder = await scratch();
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, PIP_CONFIG_FILE: "/dev/null", ...pipRegistry.environment(registry.base) };
  const download = (...what: string[]) =>
    run("python3", ["-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", folder, ...what], folder, env);

  expect(await download("six")).toMatchObject({ ok: true });
  expect(await readdir(folder)).toEqual(["six-1.15.0-py2.py3-none-any.whl"]);
  expect((await download("six==1.16.0")).output).toContain("No matching distribution found for six==1.16.0");
  const hash = desk.delivered[0]?.artifact.integrity[0]?.hex;
  await writeFile(join(folder, "requirements.txt"), `six==1.15.0 --hash=sha256:${hash}\n`);
  expect(await download("--require-hashes", "-r", "requirements.txt")).toMatchObject({ ok: true });
  const address = `${registry.base}packages/aa/bb/cc/six-1.16.0-py2.py3-none-any.whl`;
  expect((await download(address)).output).toContain("403");
  expect(desk.refused.at(-1)).toMatchObject({ name: "six", version: "1.16.0" });
});

test("cargo sees and gets what policy permits, and a lock file does not get around it", {
  timeout: 3 * MINUTE,
}, async ({ skip }) => {
  const root = await cargoRoot();
  if (root === undefined) return skip("cargo is not here, or its registry does not answer");
  const permits = ({ name, version }: Release) => name === "itoa" && cargoNaming.compare(version, "1.0.5") < 0;
  const folder = await cargoProject("itoa");
  const env = { ...process.env, CARGO_HOME: join(folder, "home"), ...cargoRegistry.environment("") };
  const fetchWith = async (allows: typeof permits, ...options: string[]) => {
    const desk = realDesk(root, allows);
    await using registry = await openRegistry(cargoRegistry, desk);
    await writeFile(join(folder, "config.toml"), cargoConfig(registry.base));
    await rm(join(folder, "home"), { recursive: true, force: true });
    return { ...(await run("cargo", ["fetch", "--config", "config.toml", ...options], folder, env)), desk };
  };

  expect(await fetchWith(permits)).toMatchObject({ ok: true });
  expect(await readFile(join(folder, "Cargo.lock"), "utf8")).toContain('version = "1.0.4"');
  await rm(join(folder, "Cargo.lock"));
  expect(await fetchWith(() => true)).toMatchObject({ ok: true });
  const locked = await fetchWith(permits, "--locked");
  expect(locked.ok).toBe(false);
  expect(locked.desk.delivered).toEqual([]);
});

test("Maven gets what policy permits", { timeout: 5 * MINUTE }, async ({ skip }) => {
  const root = mavenRoot();
  if (root === undefined || !(await answers(`${root}junit/junit/maven-metadata.xml`))) {
    return skip("Maven is not here, or its repository does not answer");
  }
  const permits = ({ name, version }: Release) => name !== "junit:junit" || mavenNaming.compare(version, "4.13") <= 0;
  const desk = realDesk(root, permits);
  await using registry = await openRegistry(mavenRegistry, desk);
  const folder = await scratch();
  const mirror = `<mirror><id>glovebox</id><mirrorOf>*</mirrorOf><url>${registry.base}</url></mirror>`;
  await writeFile(join(folder, "settings.xml"), `<settings><mirrors>${mirror}</mirrors></settings>`);
  const get = async (version: string) => {
    // An extension is got with what it needs, and before anything that a plugin would have to be got for.
    const extension = `<extension><groupId>junit</groupId><artifactId>junit</artifactId><version>${version}</version></extension>`;
    const own = "<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>";
    const build = `<packaging>pom</packaging><build><extensions>${extension}</extensions></build>`;
    await writeFile(join(folder, "pom.xml"), `<project>${own}${build}</project>`);
    const options = ["--batch-mode", "--settings", "settings.xml", `-Dmaven.repo.local=${join(folder, "repository")}`];
    return run("mvn", [...options, "validate"], folder, process.env);
  };

  expect(await get("4.13")).toMatchObject({ ok: true });
  const got = desk.delivered.map((it) => it.artifact.file);
  expect(got).toEqual(expect.arrayContaining(["junit-4.13.pom", "junit-4.13.jar", "hamcrest-core-1.3.jar"]));
  const refused = await get("4.13.2");
  expect(refused.ok).toBe(false);
  expect(refused.output).toContain("403");
  expect(desk.refused.at(-1)).toMatchObject({ name: "junit:junit", version: "4.13.2" });
});

async function cargoProject(dependency: string): Promise<string> {
  const folder = await scratch();
  const manifest = `[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\n${dependency} = "1"\n`;
  await writeFile(join(folder, "lib.rs"), "");
  await writeFile(join(folder, "Cargo.toml"), `${manifest}\n[lib]\npath = "lib.rs"\n`);
  return folder;
}

/** Where cargo itself gets its index from: the name of the folder that it keeps that in. */
async function cargoRoot(): Promise<string | undefined> {
  const folder = await cargoProject("itoa");
  const home = join(folder, "home");
  const { ok } = await run("cargo", ["fetch"], folder, { ...process.env, CARGO_HOME: home });
  const [name = ""] = ok ? await readdir(join(home, "registry", "index")) : [];
  const host = name.replace(/-[0-9a-f]+$/, "");
  return host === "" ? undefined : `https://${host}/`;
}

/** The repository that stands in Maven's own super POM. */
function mavenRoot(): string | undefined {
  const [jar] = globSync("/usr/share/maven/lib/maven-model-builder*.jar");
  if (jar === undefined) return undefined;
  const text = execFileSync("unzip", ["-p", jar, "org/apache/maven/model/pom-4.0.0.xml"], { encoding: "utf8" });
  const [, url] = /<url>(https:[^<]+)<\/url>/.exec(text) ?? [];
  return url && `${url}/`;
}
