import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadConfig, PACKAGE_ROOT } from "../../src/config.ts";

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-places-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("skills are looked for in the package, the system's and the user's settings, and where somebody says", () => {
  const directory = scratch();
  const [a, b] = ["a", "b"].map((it) => join(directory, it)) as [string, string];
  for (const it of [a, b]) mkdirSync(it);
  const config = join(directory, "glovebox.yaml");
  const { skillDirectories } = loadConfig({ config }, { GLOVEBOX_SKILLS: [a, "", b].join(delimiter) });
  const own = [join(PACKAGE_ROOT, "skills"), expect.stringMatching(/^\/etc\/.*\/skills$/), join(directory, "skills")];
  expect(skillDirectories).toEqual([...own, a, b]);
  expect(loadConfig({ config, skills: [b] }, { GLOVEBOX_SKILLS: a }).skillDirectories).toEqual([...own, b]);
});

test("a folder that is named and not there is a mistake", () => {
  const missing = join(scratch(), "missing");
  expect(() => loadConfig({}, { GLOVEBOX_UPSTREAM_PROXY: "garbage" })).toThrow(
    /^--upstream-proxy, or GLOVEBOX_UPSTREAM_PROXY: /,
  );
  expect(() => loadConfig({ skills: [missing] }, {})).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(missing) }),
  );
});
