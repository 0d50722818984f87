import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goChecksums, ownRegistries } from "../../src/packages/sources/registries.ts";
import { ECOSYSTEMS, type EcosystemName } from "../../src/policy/ecosystems/ecosystem.ts";
import { openTestPackages, type TestPackages } from "../support/packages.ts";

/**
 * This computer's own package managers, told to get packages through the gateway's registries, which get them from where this computer
 * does. What a sandbox adds is another place; `e2e/packages` has that.
 */
interface Manager {
  readonly program: string;
  /** What tells whether it is there. */
  readonly probe: readonly string[];
  readonly purl: RegExp;
  /** Files of a project. */
  readonly project?: Readonly<Record<string, string>>;
  readonly install: (folder: string) => readonly string[];
  readonly use: (folder: string) => readonly [string, ...string[]];
  readonly environment?: (folder: string) => Readonly<Record<string, string>>;
}

const BASE = "http://packages.glovebox.internal";
const SOURCE = `[source.crates-io]\nreplace-with = "glovebox"\n[source.glovebox]\nregistry = "sparse+${BASE}/cargo/"\n`;
const MIRROR = `<settings><mirrors><mirror><id>g</id><mirrorOf>*</mirrorOf><url>${BASE}/maven/</url></mirror></mirrors></settings>`;

const MANAGERS: Readonly<Partial<Record<EcosystemName, Manager>>> = {
  npm: {
    program: "npm",
    probe: ["--version"],
    purl: /^pkg:npm\/is-(odd|number)@/,
    project: { "package.json": "{}" },
    install: (folder) => ["install", "--no-save", "--cache", `${folder}/cache`, "is-odd@3.0.1"],
    use: () => ["node", "-e", "if (!require('is-odd')(3)) process.exit(1)"],
  },
  pip: {
    program: "python3",
    probe: ["-m", "pip", "--version"],
    purl: /^pkg:pypi\/six@1\.16\.0$/,
    install: (folder) => ["-m", "pip", "install", "--no-cache-dir", "--target", `${folder}/lib`, "six==1.16.0"],
    use: () => [
      "python3",
      "-c",
      "import sys; sys.path.insert(0, 'lib'); import six; assert six.__version__ == '1.16.0'",
    ],
    // Whatever else this computer has it look at.
    environment: () => ({ PIP_FIND_LINKS: "", PIP_EXTRA_INDEX_URL: "", PIP_CONFIG_FILE: "/dev/null" }),
  },
  cargo: {
    program: "cargo",
    probe: ["--version"],
    purl: /^pkg:cargo\/itoa@1\.0\.11$/,
    project: {
      "Cargo.toml": '[package]\nname = "t"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nitoa = "=1.0.11"\n',
      "src/main.rs": 'fn main() { assert_eq!(itoa::Buffer::new().format(128u64), "128"); }\n',
      "home/config.toml": SOURCE,
    },
    install: () => ["fetch"],
    use: () => ["cargo", "run", "--offline", "--quiet"],
    environment: (folder) => ({ CARGO_HOME: `${folder}/home` }),
  },
  go: {
    program: "go",
    probe: ["version"],
    purl: /^pkg:golang\/github\.com\/google\/uuid@v1\.6\.0$/,
    project: {
      "go.mod": "module t\n\ngo 1.21\n",
      "main.go":
        'package main\n\nimport "github.com/google/uuid"\n\nfunc main() { uuid.MustParse(uuid.NewString()) }\n',
    },
    install: () => ["get", "github.com/google/uuid@v1.6.0"],
    use: () => ["go", "run", "."],
    environment: (folder) => ({
      GOMODCACHE: `${folder}/mod`,
      GOFLAGS: "-modcacherw",
      GONOSUMDB: "",
      GOPRIVATE: "",
      GOTOOLCHAIN: "local",
    }),
  },
  maven: {
    program: "mvn",
    probe: ["--version"],
    purl: /^pkg:maven\/junit\/junit@4\.13\.2$/,
    // An extension is got with what it needs, and before any plugin, of which each needs a hundred packages.
    project: {
      "settings.xml": MIRROR,
      "pom.xml": `<project><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId><version>1</version><packaging>pom</packaging>
<build><extensions><extension><groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version></extension></extensions></build></project>`,
    },
    install: (folder) => ["-B", "-s", "settings.xml", `-Dmaven.repo.local=${folder}/repository`, "validate"],
    use: (folder) => ["test", "-s", `${folder}/repository/junit/junit/4.13.2/junit-4.13.2.jar`],
  },
};

/** Why not, when it can't be tried here. */
async function obstacle(ecosystem: EcosystemName): Promise<string | undefined> {
  const manager = MANAGERS[ecosystem];
  if (!manager) return "no manager";
  const there = await promisify(execFile)(manager.program, [...manager.probe]).then(
    () => true,
    () => false,
  );
  if (!there) return `${manager.program} is not installed on this computer`;
  const [registry] = await ownRegistries(ecosystem);
  if (!registry) return `${manager.program} does not say where its registry is`;
  return undefined;
}

/** apt installs as root only: e2e/packages has it. */
const TRIED = ECOSYSTEMS.filter((it) => MANAGERS[it]);
const obstacles = new Map(await Promise.all(TRIED.map(async (it) => [it, await obstacle(it)] as const)));

describe.each(TRIED)("%s", (ecosystem) => {
  const manager = MANAGERS[ecosystem];
  let folder: string;
  let cache: TestPackages | undefined;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), `glovebox-${ecosystem}-`));
  });
  afterAll(async () => {
    await cache?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  async function open(rules: string): Promise<TestPackages> {
    const sumdb = await goChecksums();
    return await openTestPackages({
      profile: `packages:\n  allow: ["${ecosystem}:*"]\n${rules}`,
      own: async (it) => (it === ecosystem ? await ownRegistries(it) : []),
      ...(sumdb !== undefined && { sumdb }),
    });
  }

  async function install({ proxy, site }: TestPackages, name: string): Promise<{ project: string; failure?: string }> {
    if (!manager) throw new Error("no manager");
    const project = join(folder, name);
    for (const [file, text] of Object.entries(manager.project ?? { "empty.txt": "" })) {
      mkdirSync(join(project, file, ".."), { recursive: true });
      writeFileSync(join(project, file), text);
    }
    const [host = "", port = ""] = proxy.slice("http://".length).split(":");
    const env = {
      ...process.env,
      ...site.environment,
      http_proxy: proxy,
      HTTP_PROXY: proxy,
      https_proxy: proxy,
      HTTPS_PROXY: proxy,
      no_proxy: "",
      NO_PROXY: "",
      MAVEN_OPTS: `-Dhttp.proxyHost=${host} -Dhttp.proxyPort=${port}`,
      ...manager.environment?.(project),
    };
    const options = { cwd: project, env, timeout: 240_000, maxBuffer: 1 << 24 };
    try {
      await promisify(execFile)(manager.program, [...manager.install(project)], options);
      const [program, ...args] = manager.use(project);
      await promisify(execFile)(program, args, options);
      return { project };
    } catch (error) {
      const { stdout = "", stderr = "", message } = error as { stdout?: string; stderr?: string; message: string };
      return { project, failure: `${message}\n${stdout}\n${stderr}` };
    }
  }

  const check = (name: string, body: () => Promise<void>) =>
    test(name, async (context) => {
      const why = obstacles.get(ecosystem);
      if (why !== undefined) context.skip(`${ecosystem}: ${why}`);
      await body();
    });

  check("installs from this computer's registry, by its own rules", async () => {
    cache = await open("");
    const { failure } = await install(cache, "first");
    expect(failure).toBeUndefined();
    const admitted = cache.events("package-admitted");
    expect(admitted.length).toBeGreaterThan(0);
    for (const it of admitted) {
      expect(it["sha256"]).toMatch(/^[0-9a-f]{64}$/);
      expect(it["integrity"]).toMatch(/^(sha512|sha256|sha1|h1)-[0-9a-f]+$/);
      expect(it["ageHours"]).toBeGreaterThan(72);
    }
    expect(admitted.filter((it) => manager?.purl.test(String(it["purl"])))).not.toEqual([]);
  });

  check("installs again for another session, out of the cache", async () => {
    if (!cache) throw new Error("the first did not open");
    await using again = await cache.again();
    const { failure } = await install(again, "second");
    expect(failure).toBeUndefined();
    expect(again.events("package-admitted").filter((it) => it["cached"] !== true)).toEqual([]);
  });

  check("does not install what policy forbids, and says why", async () => {
    await using strict = await open("  minimumAgeHours: 876000\n");
    const { failure } = await install(strict, "third");
    expect(failure).toBeDefined();
    expect(strict.events("package-admitted")).toEqual([]);
    expect(String(strict.events("package-refused")[0]?.["reason"] ?? failure)).toMatch(
      /published less than|not find|no matching/i,
    );
  });
});
