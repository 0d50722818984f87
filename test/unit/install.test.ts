import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { parse as parseJson } from "jsonc-parser";
import { parse as parseToml, stringify as stringifyToml } from "smol-toml";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { parse as parseYaml, stringify as stringifyYaml } from "yaml";
import { edited } from "../../src/cli/client-config.ts";
import { CLIENTS, type ClientKind } from "../../src/cli/clients.ts";
import { installCommand, uninstallCommand } from "../../src/cli/install.ts";

const parse = {
  json: (text: string) => parseJson(text, [], { allowTrailingComma: true }),
  toml: (text: string): unknown => parseToml(text),
  yaml: (text: string): unknown => parseYaml(text) ?? {},
};

/** A configuration with another server, a setting, and comments. */
const CROWDED: Record<ClientKind["format"], (key: string) => string> = {
  json: (key) => `{\n  // mine\n  "theme": "dark",\n  "${key}": {\n    "other": { "command": "x" }, // keep\n  },\n}\n`,
  toml: (key) => `# mine\nmodel = "o"\n\n[${key}.other]\ncommand = "x" # keep\n\n[profiles.a]\nmodel = "p"\n`,
  yaml: (key) => `# mine\ntheme: dark\n${key}:\n  other: # keep\n    cmd: x\n`,
};

function stand() {
  const home = mkdtempSync(join(tmpdir(), "glovebox-install-"));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  const place = { platform: "linux" as const, home, cwd: join(home, "project"), env: {} };
  const context = { place, launch: { command: "/node", args: ["/glovebox.js", "serve"] } };
  const run = async (verb: "install" | "uninstall", ...args: string[]) => {
    const out: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((text: unknown) => void out.push(String(text)));
    const error = vi.spyOn(console, "error").mockImplementation((text: unknown) => void out.push(String(text)));
    const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => out.push(String(text)) > 0);
    try {
      const command = verb === "install" ? installCommand(context) : uninstallCommand(context);
      await command.exitOverride().parseAsync(args, { from: "user" });
    } finally {
      for (const spy of [log, error, stdout]) spy.mockRestore();
    }
    return out.join("\n");
  };
  return { home, place, run };
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode: 0o640 });
}

describe.each(CLIENTS)("$name", (kind) => {
  test("a fresh file gets the entry, a second run changes nothing, uninstall takes it out", async () => {
    const { place, run } = stand();
    const path = kind.user(place);
    expect(await run("install", kind.name)).toContain("installed");
    const entry = (parse[kind.format](readFileSync(path, "utf8")) as Record<string, Record<string, unknown>>)[kind.key];
    expect(JSON.stringify(entry?.["glovebox"])).toMatch(/"\/node".*"\/glovebox\.js","serve"/);
    const text = readFileSync(path, "utf8");
    expect(await run("install", kind.name)).toContain("nothing to do");
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(readdirSync(dirname(path))).toHaveLength(1);
    await run("uninstall", kind.name);
    expect(readFileSync(path, "utf8")).not.toContain("glovebox");
  });

  test("other servers, settings, comments and the mode stay; a backup holds the file as it was", async () => {
    const { place, run } = stand();
    const path = kind.user(place);
    const before = CROWDED[kind.format](kind.key);
    write(path, before);
    await run("install", kind.name, "--policy", "/etc/policy");
    const after = readFileSync(path, "utf8");
    for (const kept of ["mine", "keep", "other", "/etc/policy"]) expect(after).toContain(kept);
    expect(statSync(path).mode & 0o777).toBe(0o640);
    const [backup] = readdirSync(dirname(path)).filter((it) => it.includes("backup"));
    expect(readFileSync(join(dirname(path), backup ?? ""), "utf8")).toBe(before);
    await run("uninstall", kind.name);
    expect(parse[kind.format](readFileSync(path, "utf8"))).toEqual(parse[kind.format](before));
  });

  test("a dry run prints the file and writes nothing", async () => {
    const { home, run } = stand();
    expect(await run("install", kind.name, "--dry-run")).toContain("/glovebox.js");
    expect(readdirSync(home)).toEqual([]);
  });

  test("a file that cannot be read as what it should be is left as it is", async () => {
    const { place, run } = stand();
    const path = kind.user(place);
    const broken = { json: '{ "a": [', toml: "a = [", yaml: "a: [1" }[kind.format];
    write(path, broken);
    await expect(run("install", kind.name)).rejects.toMatchObject({ code: "CLIENT_CONFIG_INVALID" });
    expect(readFileSync(path, "utf8")).toBe(broken);
    expect(readdirSync(dirname(path))).toHaveLength(1);
  });

  test("a servers key of another kind is refused", async () => {
    const { place, run } = stand();
    write(
      kind.user(place),
      { json: `{"${kind.key}": 1}`, toml: `${kind.key} = 1`, yaml: `${kind.key}: 1` }[kind.format],
    );
    await expect(run("install", kind.name)).rejects.toMatchObject({ code: "CLIENT_CONFIG_INVALID" });
  });
});

test("a linked dotfile is changed where it lies", async () => {
  const { home, place, run } = stand();
  const path = join(home, ".cursor", "mcp.json");
  write(join(home, "dotfiles", "mcp.json"), "{}");
  mkdirSync(dirname(path));
  symlinkSync(join(home, "dotfiles", "mcp.json"), path);
  await run("install", "cursor");
  expect(lstatSync(path).isSymbolicLink()).toBe(true);
  expect(readFileSync(join(home, "dotfiles", "mcp.json"), "utf8")).toContain("glovebox");
  expect(place.home).toBe(home);
});

test("a folder in place of the file, an unknown client and a bad name are refused", async () => {
  const { home, run } = stand();
  mkdirSync(join(home, ".cursor", "mcp.json"), { recursive: true });
  chmodSync(home, 0o700);
  await expect(run("install", "cursor")).rejects.toMatchObject({ code: "CLIENT_CONFIG_INVALID" });
  await expect(run("install", "emacs")).rejects.toThrow(/known are claude-desktop/);
  await expect(run("install", "cursor", "--name", "a.b")).rejects.toThrow(/--name/);
  await expect(run("install", "windsurf", "--project")).rejects.toThrow(/no configuration for a project/);
});

test("whatever else is in a configuration is the same after install and uninstall", () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,6}$/);
  const leaf = fc.oneof(
    fc.string({ unit: "grapheme-ascii", maxLength: 10 }),
    fc.integer({ min: -999, max: 999 }),
    fc.boolean(),
  );
  const table = fc.dictionary(
    word,
    fc.oneof(leaf, fc.array(leaf, { maxLength: 3 }), fc.dictionary(word, leaf, { maxKeys: 3 })),
    { maxKeys: 4 },
  );
  const print = {
    json: (it: object) => JSON.stringify(it, null, 2),
    toml: stringifyToml,
    yaml: (it: object) => stringifyYaml(it),
  };
  fc.assert(
    fc.property(
      fc.constantFrom(...CLIENTS),
      table,
      fc.dictionary(word, fc.dictionary(word, leaf), { maxKeys: 3 }),
      (kind, rest, servers) => {
        const config = { ...rest, [kind.key]: servers };
        const text = print[kind.format](config);
        const entry = kind.entry({ command: "/n", args: ["a"], env: {} }, "glovebox");
        const added = edited(kind, text, "glovebox", entry);
        const back = edited(kind, added, "glovebox", undefined);
        const expected = parse[kind.format](text) as Record<string, unknown>;
        const actual = parse[kind.format](back) as Record<string, unknown>;
        const { [kind.key]: was = {}, ...others } = expected;
        const { [kind.key]: is = {}, ...same } = actual;
        expect(JSON.parse(JSON.stringify([is, same]))).toEqual(JSON.parse(JSON.stringify([was, others])));
      },
    ),
    { numRuns: 300 },
  );
});
