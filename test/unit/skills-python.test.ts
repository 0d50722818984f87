import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { callCapability, runScript, scratch } from "../support/skill-script.ts";

type Given = Parameters<typeof callCapability>[2];

const TESTS = `import unittest


class Sums(unittest.TestCase):
    def test_good(self):
        self.assertEqual(1 + 1, 2)

    def test_bad(self):
        self.assertEqual(1 + 1, 3)
`;

/** Making an environment with pip takes long on a busy computer. */
const SLOW_MS = 300_000;

/** Writes a wheel that has one module, and one extra that does nothing. */
const WHEEL = `import sys, zipfile
name, folder = sys.argv[1], sys.argv[2]
info = f"{name}-1.0.dist-info"
with zipfile.ZipFile(f"{folder}/{name}-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.py", "print('hello from', __name__)\\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\nProvides-Extra: dev\\nRequires-Dist: extra; extra == 'dev'\\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(f"{info}/RECORD", "")
`;

function project() {
  const workspace = scratch();
  const write = (name: string, text: string, mode = 0o644) => {
    mkdirSync(resolve(workspace, name, ".."), { recursive: true });
    writeFileSync(join(workspace, name), text, { mode });
  };
  // Nothing comes from elsewhere.
  const env = {
    HOME: workspace,
    PIP_NO_INDEX: "1",
    PIP_FIND_LINKS: join(workspace, "wheels"),
    PIP_CONFIG_FILE: "/dev/null",
  };
  const python = (...args: string[]) =>
    execFileSync("python3", args, { cwd: workspace, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return {
    workspace,
    write,
    python,
    wheel: (name: string) => {
      mkdirSync(join(workspace, "wheels"), { recursive: true });
      python("-c", WHEEL, name, "wheels");
    },
    call: (name: string, given: Given = {}) => callCapability("python-project", name, given, { workspace, env }),
    script: (...args: string[]) => runScript("python-project", "project.py", args, { workspace, env }),
  };
}

test("makes .venv once, installs requirements into it and runs what they bring", { timeout: SLOW_MS }, async () => {
  const { call, write, wheel, workspace } = project();
  wheel("lib");
  write("requirements.txt", "lib==1.0\n");
  expect((await call("runModule", { module: "lib" })).stdout).toMatch(
    /There is no \.venv.*No module named lib.*exit code 1\.\n$/s,
  );
  const installed = await call("installRequirements");
  expect(installed).toMatchObject({ code: 0, stderr: "" });
  expect(installed.stdout).toMatch(/Made .*\.venv\.\n.*Successfully installed lib-1\.0\n.*exit code 0\.\n$/s);
  expect((await call("createVenv")).stdout).toBe(`${workspace}/.venv is there already.\n`);
  expect((await call("runModule", { module: "lib" })).stdout).toMatch(/^hello from __main__\n/);
  write("other.txt", "absent==2.0\n");
  const absent = await call("installRequirements", { file: "other.txt" });
  expect(absent.code).toBe(1);
  expect(absent.stdout).toMatch(/No matching distribution found for absent==2\.0/);
});

test("installs a project from its pyproject.toml with its extras, without requirements.txt", {
  timeout: SLOW_MS,
}, async () => {
  const { call, write, wheel, python, workspace } = project();
  wheel("extra");
  write("pyproject.toml", '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n');
  write(
    "backend.py",
    `${WHEEL.replace("name, folder = sys.argv[1], sys.argv[2]", "")
      .replace(/^(info|with| {4})/gm, "    $1")
      .replace(
        "import sys, zipfile\n",
        "import zipfile\n\n\ndef build_editable(folder, *_):\n    name = 'app'\n",
      )}    return "app-1.0-py3-none-any.whl"\n`,
  );
  python("-m", "venv", ".venv");
  const installed = await call("installRequirements", { extras: ["dev"] });
  expect(installed.stdout).toMatch(/Successfully installed app-1\.0 extra-1\.0/);
  expect(installed.code).toBe(0);
  expect(readdirSync(workspace)).not.toContain("app.py");
});

test("tests with unittest where pytest isn't installed", async () => {
  const { call, write, python } = project();
  write("tests/test_sums.py", TESTS);
  python("-m", "venv", "--without-pip", ".venv");
  const all = await call("test", { path: "tests" });
  expect(all).toMatchObject({ code: 1, stderr: "" });
  expect(all.stdout).toMatch(
    /^pytest is not installed: running unittest\.\n.*FAIL: test_bad.*Ran 2 tests.*python ended with exit code 1\.\n$/s,
  );
  const one = await call("test", { path: "tests/test_sums.py", name: "good" });
  expect(one.code).toBe(0);
  expect(one.stdout).toMatch(/Ran 1 test in/);
  expect((await call("test", { path: "tests/test_sums.py::Sums" })).stderr).toMatch(
    /unittest takes a file or a directory/,
  );
  expect(await call("test", { path: "nowhere" })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/nowhere is not there; .*\/workspace\n$/),
  });
});

const withoutPytest = (() => {
  try {
    execFileSync("python3", ["-c", "import pytest"], { stdio: "ignore" });
    return false;
  } catch {
    return true;
  }
})();

test.skipIf(withoutPytest)(
  `tests with pytest${withoutPytest ? " (this computer's python3 has none)" : ""}`,
  async () => {
    const { call, write, python } = project();
    write("tests/test_sums.py", TESTS);
    python("-m", "venv", "--without-pip", "--system-site-packages", ".venv");
    const all = await call("test");
    expect(all.code).toBe(1);
    expect(all.stdout).toMatch(/^Running pytest\.\n.*1 failed, 1 passed.*exit code 1\.\n$/s);
    expect((await call("test", { path: "tests/test_sums.py::Sums::test_good" })).stdout).toMatch(/1 passed in/);
    expect((await call("test", { name: "sums and not bad" })).stdout).toMatch(/1 passed, 1 deselected/);
    const odd = await call("test", { name: "--junit-xml=x.xml" });
    expect(odd.code).toBe(1);
    expect(odd.stdout).not.toMatch(/generated xml/);
  },
);

test("lints with the project's ruff, or else looks for syntax errors and leaves nothing behind", async () => {
  const { call, write, workspace } = project();
  write("good.py", "x = 1\n");
  write(".venv/lib/foreign.py", "def broken(:\n");
  const good = await call("lint");
  expect(good.code).toBe(0);
  expect(good.stdout).toMatch(/^ruff is not in \.venv: looking for syntax errors only/);
  write("src/bad.py", "def broken(:\n");
  const bad = await call("lint");
  expect(bad.code).toBe(1);
  expect(bad.stdout).toMatch(/bad\.py.*SyntaxError/s);
  expect((await call("lint", { path: "good.py" })).code).toBe(0);
  expect(existsSync(join(workspace, "__pycache__")) || existsSync(join(workspace, "src/__pycache__"))).toBe(false);
  write(".venv/bin/ruff", '#!/bin/sh\necho "ruff $*"; exit 1\n', 0o755);
  expect(await call("lint", { path: "src" })).toMatchObject({
    code: 1,
    stdout: `Running ruff.\nruff check --no-fix --no-cache --output-format=concise -- ${workspace}/src\nruff ended with exit code 1.\n`,
  });
});

test("runs a module with its arguments as they are", async () => {
  const { call, write } = project();
  write("app/__init__.py", "");
  write(
    "app/cli.py",
    "import json, sys\nprint(json.dumps(sys.argv[1:]))\nsys.exit(5 if sys.argv[1:] == ['fail'] else 0)\n",
  );
  const args = ["--version", "a b", "$(id)", "--", "-"];
  expect((await call("runModule", { module: "app.cli", arguments: args })).stdout).toContain(
    `${'["--version", "a b", "$(id)", "--", "-"]'}\npython3 ended with exit code 0.\n`,
  );
  expect(await call("runModule", { module: "app.cli", arguments: ["fail"] })).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/ended with exit code 5\.\n$/),
  });
});

test.each<[string[], RegExp]>([
  [["module", "--module=-c"], /dotted name/],
  [["module", "--module=os;x"], /dotted name/],
  [["module", "--module=app.cli\n"], /dotted name/],
  [["module", "--module=x", "--arguments=x"], /JSON array/],
  [["module", "--mod=x"], /--module/],
  [["requirements"], /neither requirements\.txt nor pyproject\.toml/],
  [["requirements", "--file=/nowhere"], /is not there/],
  [["requirements", "--file=--index-url=x"], /is not there/],
  [["requirements", '--extras=["x] @ https://example.org/x"]'], /no name of an extra/],
  [["requirements", '--extras=["-x"]'], /no name of an extra/],
  [["lint", "--path=--fix"], /is not there/],
  [["test", "--path=--version"], /is not there/],
  [["test", "--rootdir=/"], /rootdir/],
])("refuses %j", async (args, message) => {
  const { script, workspace } = project();
  const ended = await script(...args);
  expect(ended).toMatchObject({ code: 2, stdout: "" });
  expect(ended.stderr).toMatch(/^python-project: [^\n]+\n$/);
  expect(ended.stderr).toMatch(message);
  expect(readdirSync(workspace)).toEqual([]);
});
