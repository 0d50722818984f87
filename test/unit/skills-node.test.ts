import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { callCapability, runScript, scratch } from "../support/skill-script.ts";

type Given = Parameters<typeof callCapability>[2];

/** A project that depends on a package beside it, which has a program for its installation. */
function project(scripts: Readonly<Record<string, string>> = {}) {
  const workspace = scratch();
  const write = (name: string, text: string, mode = 0o644) => {
    mkdirSync(resolve(workspace, name, ".."), { recursive: true });
    writeFileSync(join(workspace, name), text, { mode });
  };
  const env = { HOME: join(workspace, "home"), NPM_CONFIG_REGISTRY: "http://127.0.0.1:1/" };
  const ran = join(workspace, "ran");
  write(
    "dep/package.json",
    JSON.stringify({ name: "dep", version: "1.0.0", scripts: { postinstall: `touch ${ran}` } }),
  );
  write("dev/package.json", JSON.stringify({ name: "dev", version: "1.0.0" }));
  write(
    "app/package.json",
    JSON.stringify({
      name: "app",
      scripts,
      dependencies: { dep: "file:../dep" },
      devDependencies: { dev: "file:../dev" },
    }),
  );
  return {
    workspace,
    write,
    ran: () => existsSync(ran),
    call: (name: string, given: Given = {}, extra: NodeJS.ProcessEnv = {}) =>
      callCapability("node-project", name, { directory: "app", ...given }, { workspace, env: { ...env, ...extra } }),
    script: (...args: string[]) =>
      runScript("node-project", "project.py", args, { workspace: join(workspace, "app"), env }),
  };
}

test("installs without the packages' own programs, whatever the project's .npmrc says", async () => {
  const { call, workspace, write, ran } = project();
  write("app/.npmrc", "ignore-scripts=false\nfoo=bar\n");
  expect((await call("install")).code).toBe(0);
  expect(readdirSync(join(workspace, "app/node_modules")).filter((it) => !it.startsWith("."))).toEqual(["dep", "dev"]);
  expect(ran()).toBe(false);

  expect((await call("install", { frozen: true, production: true })).code).toBe(0);
  expect(readdirSync(join(workspace, "app/node_modules")).filter((it) => !it.startsWith("."))).toEqual(["dep"]);
  expect(ran()).toBe(false);

  const denied = await call("install", { scripts: true }, { NPM_CONFIG_IGNORE_SCRIPTS: "true" });
  expect(denied).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^node-project: scripts: policy doesn't permit .*\n$/),
  });
  expect(ran()).toBe(false);

  expect((await call("install", { scripts: true })).code).toBe(0);
  expect(ran()).toBe(true);
});

test("a frozen install needs a lockfile, and one that can't be done is an error", async () => {
  const { call, write } = project();
  expect(await call("install", { frozen: true })).toMatchObject({
    code: 2,
    stderr: "node-project: frozen: there is no package-lock.json; install without frozen makes one\n",
  });
  write("app/package.json", JSON.stringify({ dependencies: { nowhere: "file:../nowhere" } }));
  write("app/package-lock.json", JSON.stringify({ lockfileVersion: 3, packages: { "": {} } }));
  const ended = await call("install", { frozen: true });
  expect(ended.code).toBe(1);
  expect(ended.stdout).toMatch(/npm (error|ERR!).*\nnpm ended with exit code 1\.\n$/s);
});

const SHOW = 'node -e "console.log(JSON.stringify([process.env.CI, ...process.argv.slice(1)]))" --';

test("runs scripts with their arguments as they are, and tells how they ended", async () => {
  const { call } = project({
    test: SHOW,
    build: "node -e \"console.error('broken'); process.exit(7)\"",
    "db:migrate": SHOW,
    "-x": SHOW,
  });
  const args = ["--coverage", "a b", "$(id)", "`id`", "'", '"', "-", "--", "*"];
  const tested = await call("test", { arguments: args });
  expect(tested.stdout).toContain(`\n${JSON.stringify(["1", ...args])}\n`);
  expect(tested.stdout).toMatch(/\nnpm ended with exit code 0\.\n$/);
  expect((await call("runNpmScript", { name: "db:migrate", arguments: ["--dry-run"] })).stdout).toContain(
    '["1","--dry-run"]',
  );
  const built = await call("build");
  expect(built.code).toBe(1);
  expect(built.stdout).toMatch(/broken\n.*npm ended with exit code 7\.\n$/s);
});

test("a project's own scripts before and after run also where packages' programs may not", async () => {
  const { call, write } = project({ prebuild: "echo before", build: "echo now", postbuild: "echo after" });
  const said = async (env: NodeJS.ProcessEnv) => {
    const { stdout } = await call("build", {}, env);
    return stdout.split("\n").filter((it) => ["before", "now", "after"].includes(it));
  };
  expect(await said({})).toEqual(["before", "now", "after"]);
  expect(await said({ NPM_CONFIG_IGNORE_SCRIPTS: "true" })).toEqual(["before", "now", "after"]);
  write("app/package.json", JSON.stringify({ scripts: { prebuild: "exit 3", build: "echo now" } }));
  expect(await said({ NPM_CONFIG_IGNORE_SCRIPTS: "true" })).toEqual([]);
});

test("what package.json doesn't have is refused with what it has", async () => {
  const { call, script } = project({ start: "x", "lint:js": "x" });
  const missing = "it has: lint:js, start\n";
  expect(await call("test")).toMatchObject({
    code: 2,
    stderr: `node-project: package.json has no script 'test'; ${missing}`,
  });
  for (const name of ["toString", "--help", "-c", "sta", "start; id"]) {
    const ended = await script("script", `--name=${name}`);
    expect(ended).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(missing) });
  }
});

test("lints with the project's script, or else with its ESLint or Biome", async () => {
  const { call, write } = project({ lint: "echo by script" });
  expect((await call("lint")).stdout).toMatch(/by script\n.*npm ended with exit code 0\./s);
  write("app/package.json", "{}");
  expect((await call("lint")).stderr).toMatch(/^node-project: there is nothing to lint with: .*\n$/);
  write("app/node_modules/.bin/biome", '#!/bin/sh\necho "biome $*"; exit 4\n', 0o755);
  expect(await call("lint")).toMatchObject({
    code: 1,
    stdout:
      "package.json has no script 'lint': running the project's biome.\nbiome check --colors=off .\nbiome ended with exit code 4.\n",
  });
  write("app/node_modules/.bin/eslint", '#!/bin/sh\necho "eslint $*"\n', 0o755);
  expect((await call("lint")).stdout).toMatch(/\neslint \.\neslint ended with exit code 0\.\n$/);
});

test("says which packages are outdated", async () => {
  const { call, write } = project();
  const server = createServer((request, response) => {
    const versions = Object.fromEntries(
      ["1.0.0", "1.2.0", "2.0.0"].map((version) => [
        version,
        { name: "lib", version, dist: { tarball: "http://127.0.0.1:1/x" } },
      ]),
    );
    response.writeHead(request.url === "/lib" ? 200 : 400, { "content-type": "application/json" });
    response.end(
      JSON.stringify(request.url === "/lib" ? { name: "lib", "dist-tags": { latest: "2.0.0" }, versions } : {}),
    );
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => void server.close());
  const address = server.address();
  const registry = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`;
  write("app/package.json", JSON.stringify({ dependencies: { lib: "^1.0.0" } }));
  write("app/node_modules/lib/package.json", JSON.stringify({ name: "lib", version: "1.0.0" }));
  const ended = await call("outdated", {}, { NPM_CONFIG_REGISTRY: registry });
  expect(ended.code).toBe(0);
  expect(JSON.parse(ended.stdout)).toEqual({
    outdated: [{ name: "lib", current: "1.0.0", wanted: "1.2.0", latest: "2.0.0" }],
  });

  const broken = { dependencies: { lib: "^1.0.0", unwanted: "^1.0.0" } };
  write("app/package.json", JSON.stringify(broken));
  const failed = await call("outdated", {}, { NPM_CONFIG_REGISTRY: registry });
  expect(failed).toMatchObject({
    code: 3,
    stdout: "",
    stderr: expect.stringMatching(/^node-project: npm outdated failed: [^\n]+\n$/),
  });
});

test.each<[string, string | undefined, RegExp]>([
  ["no package.json", undefined, /no package\.json can be read in/],
  ["what is no JSON", "{", /is not JSON/],
  ["too deep a package.json", "[".repeat(200_000), /is not JSON/],
  ["a list", "[]", /holds no object/],
  ["too large a package.json", `"${"x".repeat(1_100_000)}"`, /more than 1048576 bytes/],
  ["scripts that are none", '{"scripts": ["test"]}', /has no script 'test'; it has: none/],
  ["a script that is none", '{"scripts": {"test": {"a": 1}}}', /it has: none/],
])("refuses %s", async (_, text, message) => {
  const workspace = scratch();
  if (text !== undefined) writeFileSync(join(workspace, "package.json"), text);
  const ended = await callCapability("node-project", "test", {}, { workspace, env: { HOME: workspace } });
  expect(ended).toMatchObject({ code: 2, stdout: "" });
  expect(ended.stderr).toMatch(/^node-project: [^\n]+\n$/);
  expect(ended.stderr).toMatch(message);
});

test.each([
  ["script", "--name=test", "--arguments=nope"],
  ["script", "--name=test", '--arguments={"a":1}'],
  ["script", "--name=test", "--arguments=[1]"],
  ["script", "--nam=test"],
  ["install", "--prefix=/"],
  ["exec"],
  [],
])("its arguments are strict: %s %s %s", async (...args) => {
  const { script } = project({ test: "echo ran" });
  const ended = await script(...args);
  expect(ended).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/^node-project: [^\n]+\n$/) });
});

test("reads its manifest from where it is told", async () => {
  const { workspace, write, call } = project();
  write("app/sub/package.json", JSON.stringify({ scripts: { test: "echo from sub" } }));
  expect((await call("test", { directory: "app/sub" })).stdout).toContain("from sub");
  expect(readFileSync(join(workspace, "app/sub/package.json"), "utf8")).toContain("from sub");
});
