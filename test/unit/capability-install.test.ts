import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { InstallScripts } from "../../src/capability/install-scripts.ts";
import { apt } from "../../src/capability/managers/apt.ts";
import { npm } from "../../src/capability/managers/npm.ts";
import type { Container, RunSpec } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";
import { ECOSYSTEMS, type EcosystemName } from "../../src/policy/ecosystems/ecosystem.ts";
import { workbench } from "../support/capability-context.ts";
import { candidate, type FakePackages, fakePackages } from "../support/fake-packages.ts";
import { localContainer } from "../support/local-container.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "glovebox-install-"));
  await writeFile(join(directory, "Cargo.toml"), "");
  await writeFile(join(directory, "go.mod"), "");
});
afterAll(() => rm(directory, { recursive: true, force: true }));

interface Recorder {
  readonly container: Container;
  readonly runs: RunSpec[];
}

/** A container whose programs all succeed, or end with `exitCode`, and do nothing. */
function recorder(exitCode = 0, output = ""): Recorder {
  const runs: RunSpec[] = [];
  const local = localContainer();
  const container: Container = {
    ...local,
    readFile: async () => Buffer.from("VERSION_CODENAME=trixie\n"),
    writeFile: async () => undefined,
    run: async (spec, signal) => {
      runs.push(spec);
      const argv = ["sh", "-c", 'printf %s "$1" >&2; exit "$2"', "sh", output, String(exitCode)] as const;
      return local.run({ ...spec, argv }, signal);
    },
  };
  return { container, runs };
}

const SAMPLE: Record<EcosystemName, { name: string; version: string }> = {
  pip: { name: "requests", version: "2.32.3" },
  npm: { name: "@types/node", version: "24.0.1" },
  apt: { name: "sqlite3", version: "3.46.1-7" },
  cargo: { name: "serde_json", version: "1.0.140" },
  go: { name: "github.com/google/uuid", version: "v1.6.0" },
  maven: { name: "com.google.guava:guava", version: "33.4.0-jre" },
};

/** Whatever is asked for is there and permitted. */
function everything(ecosystem: EcosystemName): FakePackages {
  return fakePackages((name, version) => [candidate(name, version ?? SAMPLE[ecosystem].version)]);
}

async function argvs(ecosystem: EcosystemName, packages: object[], more: object = {}, profile: object = {}) {
  const { container, runs } = recorder();
  await using bench = workbench({ container, packages: everything(ecosystem), profile });
  const { result } = await bench.call("installPackage", { ecosystem, packages, directory, ...more });
  expect(result.installed).toBe(true);
  expect(new Set(runs.map((it) => it.cwd))).toEqual(new Set([directory]));
  return runs.map((it) => it.argv.map((part) => part.replaceAll(directory, "DIR")));
}

describe("the programs that are run", () => {
  test("of pip: an environment of the project's own, once, and exact versions", async () => {
    expect(await argvs("pip", [{ name: "Requests", version: "2.32.3" }, { name: "six" }])).toEqual([
      ["python3", "-I", "-m", "venv", "DIR/.venv"],
      [
        ...["DIR/.venv/bin/python", "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"],
        ...["--no-compile", "--progress-bar", "off", "--", "requests==2.32.3", "six==2.32.3"],
      ],
    ]);
  });

  test("of npm: no scripts, in the project or the user's prefix", async () => {
    const quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--save-exact", "--ignore-scripts", "--"];
    expect(await argvs("npm", [SAMPLE.npm])).toEqual([
      ["npm", "install", "--prefix", "DIR", ...quiet, "@types/node@24.0.1"],
    ]);
    expect(await argvs("npm", [SAMPLE.npm], { global: true })).toEqual([
      ["npm", "install", "--global", ...quiet, "@types/node@24.0.1"],
    ]);
  });

  test("of npm where some packages' own programs may run at installation", async () => {
    const order = { packages: [SAMPLE.npm], directory: "DIR", global: false, registry: "http://packages.test/" };
    const argvsOf = async (installScripts: InstallScripts) => {
      const place = { has: async () => true, read: async () => "", write: async () => undefined };
      const steps = await Array.fromAsync(npm.steps({ ...order, installScripts }, place));
      return steps.map((it) => it.argv.join(" "));
    };
    const quiet = "--no-audit --no-fund --no-update-notifier";
    const install = `npm install --prefix DIR ${quiet} --save-exact`;
    expect(await argvsOf("deny")).toEqual([`${install} --ignore-scripts -- @types/node@24.0.1`]);
    expect(await argvsOf("allow")).toEqual([`${install} -- @types/node@24.0.1`]);
    expect(await argvsOf(["esbuild"])).toEqual([
      `${install} --ignore-scripts -- @types/node@24.0.1`,
      `npm rebuild --prefix DIR ${quiet} -- esbuild`,
    ]);
  });

  const CARGO = [
    "cargo",
    ...["--config", 'source.glovebox.registry="sparse+http://packages.test/"'],
    ...["--config", 'source.crates-io.replace-with="glovebox"'],
  ];
  test("of cargo, go and maven", async () => {
    expect(await argvs("cargo", [SAMPLE.cargo, { name: "rand" }])).toEqual([
      [...CARGO, "add", "--manifest-path", "DIR/Cargo.toml", "--", "serde_json@=1.0.140", "rand"],
      [...CARGO, "fetch", "--manifest-path", "DIR/Cargo.toml"],
    ]);
    expect(await argvs("go", [SAMPLE.go, { name: "golang.org/x/mod" }])).toEqual([
      ["go", "get", "--", "github.com/google/uuid@v1.6.0", "golang.org/x/mod@latest"],
    ]);
    expect(await argvs("maven", [SAMPLE.maven])).toEqual([
      [
        ...[
          "mvn",
          "--settings",
          "/tmp/glovebox-maven-settings.xml",
          "--batch-mode",
          "--no-transfer-progress",
          "dependency:get",
        ],
        "-Dartifact=com.google.guava:guava:33.4.0-jre",
      ],
    ]);
  });

  test("of apt where updates can't be had: without them", async () => {
    const order = { packages: [SAMPLE.apt], directory: "DIR", global: false, registry: "http://packages.test/apt/" };
    const run = async (fails: (argv: readonly string[], written: readonly string[]) => boolean) => {
      const written: string[] = [];
      const place = {
        has: async () => true,
        read: async () => "VERSION_CODENAME=trixie\n",
        write: async (_path: string, content: string) => void written.push(content.replaceAll(/\[.*?\] /g, "")),
      };
      const steps = apt.steps({ ...order, installScripts: "deny" }, place);
      const verbs: string[] = [];
      let succeeded = true;
      for (let next = await steps.next(true); !next.done; next = await steps.next(succeeded)) {
        const { argv, mayFail } = next.value;
        verbs.push(argv.find((it) => /^(update|install|find)$/.test(it)) ?? "");
        succeeded = !fails(argv, written);
        if (!succeeded && !mayFail) break;
      }
      return { written, verbs: verbs.filter((it) => it !== "") };
    };
    const source = "deb http://packages.test/apt/ trixie";
    const lists = [`${source} main\n${source}-updates main\n${source}-security main\n`, `${source} main\n`];
    const all = { written: lists.slice(0, 1), verbs: ["update", "install", "find"] };
    expect(await run(() => false)).toEqual(all);
    const noArchive = await run((argv, written) => argv.includes("update") && written.length === 1);
    expect(noArchive).toEqual({ written: lists, verbs: ["update", "update", "install", "find"] });
    const tooYoung = await run((argv, written) => argv.includes("install") && written.length === 1);
    expect(tooYoung).toEqual({ written: lists, verbs: ["update", "install", "update", "install", "find"] });
    const never = await run((argv) => argv.includes("install"));
    expect(never).toEqual({ written: lists, verbs: ["update", "install", "update", "install"] });
  });

  test("of apt: a package that can't be unpacked is a failure, others before and after it or not", async ({ skip }) => {
    skip(!existsSync("/usr/bin/dpkg-deb"), "no dpkg here");
    const home = await mkdtemp(join(directory, "apt-"));
    await mkdir(join(home, ".apt/archives"), { recursive: true });
    await mkdir(join(home, ".apt/root"));
    const place = {
      has: async () => true,
      read: async () => "VERSION_CODENAME=trixie\n",
      write: async () => undefined,
    };
    const order = { packages: [SAMPLE.apt], directory: home, global: false, registry: "http://packages.test/apt/" };
    const extract = (await Array.fromAsync(apt.steps({ ...order, installScripts: "deny" }, place))).at(-1);
    const [find = "", ...args] = extract?.argv ?? [];
    expect(spawnSync(find, args).status).toBe(0);
    await mkdir(join(home, "deb/DEBIAN"), { recursive: true });
    await writeFile(
      join(home, "deb/DEBIAN/control"),
      "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n",
    );
    await writeFile(join(home, "deb/file"), "");
    for (const it of ["a", "c"])
      spawnSync("dpkg-deb", ["--build", join(home, "deb"), join(home, `.apt/archives/${it}.deb`)]);
    expect(spawnSync(find, args).status).toBe(0);
    expect(existsSync(join(home, ".apt/root/file"))).toBe(true);
    await writeFile(join(home, ".apt/archives/b.deb"), "not a package");
    expect(spawnSync(find, args).status).toBe(1);
  });

  test("of apt: everything in a directory of the user's own", async () => {
    const [, update, , install, extract] = await argvs("apt", [SAMPLE.apt, { name: "g++" }]);
    expect(update?.at(-1)).toBe("update");
    expect(install?.slice(-6)).toEqual([
      ...["install", "--download-only", "--no-install-recommends", "--"],
      ...["sqlite3=3.46.1-7", "g++"],
    ]);
    expect(extract?.slice(0, 2)).toEqual(["find", "DIR/.apt/archives"]);
  });
});

const nasty = fc.constantFrom(
  ...[
    "-r",
    "--index-url=x",
    "a b",
    "../x",
    "/etc/passwd",
    "./x",
    "file:x",
    "git+https://h/x",
    "user/repo",
    "a@b",
    "x;y",
  ],
  ...[
    "$(id)",
    "`id`",
    "a\nb",
    "a\0b",
    "-Dx=y",
    "x[extra]",
    "x @ y",
    "latest",
    "*",
    "^1",
    ">=1",
    "1.0.0 -g",
    "+x",
    "x-",
    "~1",
  ],
);
const word = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  nasty,
  fc.stringMatching(/^[a-z0-9@/:._+~-]{1,24}$/),
);

/** What comes after `--` and is no place of the project's, and Maven's one property; and all else. */
function split(argvs: readonly (readonly string[])[]): { own: string[][]; given: string[] } {
  const isOwn = (it: string, at: number, argv: readonly string[]) =>
    it.startsWith(directory) || (!it.startsWith("-Dartifact=") && !argv.slice(0, at).includes("--"));
  return {
    own: argvs.map((argv) => argv.filter(isOwn)),
    given: argvs.flatMap((argv) => argv.filter((it, at) => !isOwn(it, at, argv))),
  };
}

describe.each(ECOSYSTEMS)("%s: names and versions reach the package manager as such", (ecosystem) => {
  test("never as an option, a URL or a path", async () => {
    const known = SAMPLE[ecosystem];
    const name = fc.oneof(
      word,
      fc.constant(known.name),
      word.map((it) => known.name + it),
    );
    const version = fc.option(
      fc.oneof(
        word,
        fc.constant(known.version),
        word.map((it) => known.version + it),
      ),
      {
        nil: undefined,
      },
    );
    const { container, runs } = recorder();
    await using usually = workbench({ container, packages: everything(ecosystem) });
    await usually.call("installPackage", { ecosystem, packages: [known], directory });
    const { own: usual } = split(runs.map((it) => it.argv));
    let ran = 0;
    await fc.assert(
      fc.asyncProperty(name, version, async (name, version) => {
        const { container, runs } = recorder();
        const packages = everything(ecosystem);
        await using bench = workbench({ container, packages });
        const asked = JSON.parse(JSON.stringify({ ecosystem, packages: [{ name, version }], directory }));
        const outcome = await bench.call("installPackage", asked).catch((error: unknown) => error);
        if (outcome instanceof Error) {
          expect(outcome instanceof GatewayError ? outcome.code : outcome.name).toMatch(
            /^(INVALID_ARGUMENTS|ZodError)$/,
          );
          expect(runs).toEqual([]);
          return;
        }
        ran += 1;
        // The name in the one spelling in which it was looked up.
        const [{ name: read = "" } = {}] = packages.asked;
        const { own, given } = split(runs.map((it) => it.argv));
        // What stands before is the same whatever is asked for.
        expect(own).toEqual(usual);
        expect(given.length).toBeGreaterThan(0);
        expect(given.every((it) => it.includes(read))).toBe(true);
        for (const it of given) {
          expect(it.replace(/^-Dartifact=/, "")).toMatch(/^@?[A-Za-z0-9_][A-Za-z0-9_.+~!@/:=-]*$/);
          expect(it).not.toMatch(/\.\.|\/\/|git\+/);
          // npm reads `user/repo` and `file:x` as something else than names.
          if (ecosystem === "npm") expect(it).toMatch(/^(@[^@/:]+\/)?[^@/:]+@[^@/:]+$/);
        }
      }),
      { numRuns: 150 },
    );
    expect(ran).toBeGreaterThan(3);
  });
});

describe("what policy says", () => {
  const AGED = "is 3 hours old; policy wants 72";
  const found = [
    candidate("left-pad", "3.0.0-rc.1"),
    candidate("left-pad", "2.0.0", AGED),
    candidate("left-pad", "1.9.0", "", { yanked: true }),
    candidate("left-pad", "1.3.0"),
    candidate("left-pad", "1.2.0"),
  ];

  async function install(packages: FakePackages, wanted: object[], more: Recorder = recorder()) {
    await using bench = workbench({ container: more.container, packages });
    const args = { ecosystem: "npm", packages: wanted, directory };
    const outcome = await bench.call("installPackage", args);
    return { ...outcome, runs: more.runs };
  }

  test("a version that is refused: nothing runs, and which one would do", async () => {
    const packages = fakePackages((name) => (name === "left-pad" ? found : [candidate(name, "1.0.0")]));
    const { result, text, runs, facts } = await install(packages, [
      { name: "fine" },
      { name: "left-pad", version: "2.0.0" },
    ]);
    expect(runs).toEqual([]);
    expect(result).toEqual({
      installed: false,
      packages: [],
      fetched: 0,
      refusals: [
        {
          name: "left-pad",
          version: "2.0.0",
          reason: `${AGED}; 1.3.0 would do`,
          policies: ["packages.cedar#rule"],
        },
      ],
    });
    expect(text).toContain("NOT installed: 2 npm packages");
    expect(text).toContain(`- left-pad 2.0.0: ${AGED}; 1.3.0 would do (packages.cedar#rule)`);
    expect(facts).toMatchObject({ installed: false, refusals: [{ name: "left-pad" }] });
    expect(packages.requested).toEqual(new Set());
  });

  test("no version: the highest stable one that is permitted and was not taken back", async () => {
    const { runs } = await install(
      fakePackages(() => found),
      [{ name: "left-pad" }],
    );
    expect(runs[0]?.argv.at(-1)).toBe("left-pad@1.3.0");
  });

  test("a version that was taken back is installed only when it is asked for", async () => {
    const { runs } = await install(
      fakePackages(() => found),
      [{ name: "left-pad", version: "1.9.0" }],
    );
    expect(runs[0]?.argv.at(-1)).toBe("left-pad@1.9.0");
  });

  test("a pre-release where there is nothing else", async () => {
    const { runs } = await install(
      fakePackages(() => found.slice(0, 1)),
      [{ name: "left-pad" }],
    );
    expect(runs[0]?.argv.at(-1)).toBe("left-pad@3.0.0-rc.1");
  });

  test.each([
    ["no package of this name", undefined, undefined, "the registry has no package of this name"],
    ["no such version", "9.9.9", found, "the registry has no version 9.9.9 of it; 1.3.0 would do"],
    ["none that is permitted", undefined, found.slice(1, 2), `no version of it is permitted; of 2.0.0: ${AGED}`],
    [
      "all taken back",
      undefined,
      found.slice(2, 3),
      "its makers took all versions of it back; name one to have it all the same",
    ],
    ["none at all", undefined, [], "the registry has no version of it"],
  ])("%s", async (_what, version, candidates, reason) => {
    const wanted = [JSON.parse(JSON.stringify({ name: "left-pad", version }))];
    const { result, runs } = await install(
      fakePackages(() => candidates),
      wanted,
    );
    expect(runs).toEqual([]);
    expect(result).toMatchObject({ installed: false, refusals: [{ name: "left-pad", reason }] });
  });

  test("a package manager that fails: what came, what was refused on the way, and what it printed", async () => {
    const packages = everything("npm");
    const purl = "pkg:npm/left-pad@1.3.0";
    const file = { ecosystem: "npm", name: "left-pad", version: "1.3.0", file: "left-pad-1.3.0.tgz" } as const;
    const admitted = { ...file, purl, registry: "r.test:443", sha256: "00", bytes: 1, licenses: [], cached: true };
    packages.admitted.push({ ...admitted, requested: false }, { ...admitted, requested: false });
    packages.refused.push({
      ecosystem: "npm",
      name: "evil",
      version: "1.0.0",
      reason: "known to be malicious",
      policies: [],
    });
    const { result, text, facts } = await install(packages, [SAMPLE.npm], recorder(1, "npm error \u001b[31m403"));
    expect(result).toMatchObject({ installed: false, exitCode: 1, endedBy: "exit", fetched: 1 });
    expect(result.packages).toMatchObject([{ purl, requested: false, cached: true }]);
    expect(result.output).toBe("--- stderr\nnpm error 403");
    expect(text).toContain("- evil 1.0.0: known to be malicious");
    expect(facts).toMatchObject({ packages: [purl], exitCode: 1 });
    expect(JSON.stringify(facts)).not.toContain("npm error");
  });

  test("a profile without packages of the ecosystem", async () => {
    await expect(
      install(
        fakePackages(() => found, undefined),
        [{ name: "x" }],
      ),
    ).resolves.toBeDefined();
    const { container, runs } = recorder();
    await using bench = workbench({ container });
    const call = bench.call("installPackage", { ecosystem: "pip", packages: [{ name: "six" }], directory });
    await expect(call).rejects.toThrow("the profile permits no packages of pip");
    expect(runs).toEqual([]);
  });
});

describe("what cannot be", () => {
  const call = async (args: object, packages = everything("npm")) => {
    const { container } = recorder();
    await using bench = workbench({ container, packages });
    return await bench.call("installPackage", { directory, ...args });
  };

  test("is refused with what would be right", async () => {
    const one = (name: string, version?: string) => [{ name, ...(version !== undefined && { version }) }];
    const cases: [object, string][] = [
      [
        { ecosystem: "npm", packages: one("user/repo") },
        "packages[0].name: `user/repo` is no name of a package of npm",
      ],
      [{ ecosystem: "npm", packages: one("a", "^1.0.0") }, "packages[0].version: `^1.0.0` is no exact version"],
      [{ ecosystem: "pip", packages: [...one("Six"), ...one("six")] }, "packages[1].name: `six` is named twice"],
      [{ ecosystem: "pip", packages: one("six"), global: true }, "global: pip installs into the project only"],
      [{ ecosystem: "go", packages: one("a.b/c"), directory: tmpdir() }, "directory: has no go.mod"],
      [{ ecosystem: "cargo", packages: one("rand"), directory: tmpdir() }, "directory: has no Cargo.toml"],
      [{ ecosystem: "npm", packages: one("x"), timeoutMs: 86_400_000 }, "timeoutMs: the profile permits at most"],
    ];
    for (const [args, message] of cases) {
      await expect(call(args), message).rejects.toThrow(message);
      await expect(call(args), message).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
    }
  });

  test("a directory that is none, or is not there", async () => {
    const packages = [{ name: "x" }];
    const file = join(directory, "go.mod");
    await expect(call({ ecosystem: "npm", packages, directory: file })).rejects.toMatchObject({
      code: "NOT_A_DIRECTORY",
    });
    const missing = join(directory, "missing");
    await expect(call({ ecosystem: "npm", packages, directory: missing })).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
  });

  test("an image without the program says which one is missing", async () => {
    const container: Container = {
      ...localContainer(),
      run: async () => {
        throw new GatewayError("PROGRAM_NOT_FOUND");
      },
    };
    await using bench = workbench({ container, packages: everything("go") });
    const args = { ecosystem: "go", packages: [{ name: "a.b/c" }], directory };
    await expect(bench.call("installPackage", args)).rejects.toThrow("the sandbox's image has no `go`");
  });

  test("a call that is cancelled ends the program that runs", async () => {
    const container = localContainer();
    const slow: Container = {
      ...container,
      run: (spec, signal) => container.run({ ...spec, argv: ["sleep", "60"] }, signal),
    };
    await using bench = workbench({ container: slow, packages: everything("npm") });
    const cancel = new AbortController();
    const args = { ecosystem: "npm", packages: [SAMPLE.npm], directory };
    const call = bench.call("installPackage", args, cancel.signal);
    while (container.runs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    cancel.abort();
    expect((await call).result).toMatchObject({ installed: false, endedBy: "cancelled" });
  });

  test("all steps together have the call's time", async () => {
    const container = localContainer();
    const slow: Container = {
      ...container,
      run: (spec, signal) => container.run({ ...spec, argv: ["sleep", "0.3"] }, signal),
    };
    await using bench = workbench({ container: slow, packages: everything("cargo") });
    const args = { ecosystem: "cargo", packages: [SAMPLE.cargo], directory, timeoutMs: 450 };
    expect((await bench.call("installPackage", args)).result).toMatchObject({ installed: false, endedBy: "timeout" });
    expect(container.runs).toHaveLength(2);
  });
});
