import { describe, expect, it } from "vitest";
import { readSources } from "../../src/packages/sources/sources.ts";
import { packagesSchema } from "../../src/policy/packages.ts";

const DEFAULT = "https://public.test/";
const OWN = "https://own.test/";

function profile(ecosystem: string, only: readonly string[]) {
  return packagesSchema.safeParse({ registries: { [ecosystem]: [{ url: DEFAULT }, { url: OWN, only }] } });
}

describe("a registry that has names for itself", () => {
  it.each([
    ["npm", "@acme/*", "@acme/x"],
    ["npm", "@*", "@acme/x"],
    ["npm", "acme", "acme"],
    ["pip", "acme-*", "acme-x"],
    ["cargo", "acme-*", "acme-x"],
    ["cargo", "acme-*", "ACME_x"],
    ["cargo", "Acme_Tool", "acme-tool"],
    ["go", "github.com/acme/*", "github.com/acme/x"],
    ["maven", "org.acme:*", "org.acme:x"],
    ["maven", "org.acme.*", "org.acme.y:x"],
    ["maven", "org.acme*", "org.acme:x"],
    ["apt", "acme-*", "acme-x"],
  ] as const)("%s: %s is who is asked for %s", async (ecosystem, only, name) => {
    const read = profile(ecosystem, [only]);
    if (!read.data) throw read.error;
    const sources = await readSources(read.data, async () => []);
    expect(sources.of(ecosystem, name)?.root).toBe(OWN);
    expect(sources.of(ecosystem, "other")?.root).toBe(DEFAULT);
  });

  it.each([
    ["pip", "acme_*"],
    ["pip", "Acme"],
    ["pip", "acme.tools"],
    ["npm", "@acme:*"],
    ["maven", "org.acme/*"],
    ["go", "https://github.com/acme/*"],
    ["apt", "Acme*"],
  ])("%s: %s is refused, because it would match nothing", (ecosystem, only) => {
    const { error } = profile(ecosystem, ["acme", only]);
    const issue = error?.issues.find((it) => it.path.at(-1) === 1);
    expect(issue?.message).toContain(`\`${only}\` matches no name of ${ecosystem}`);
    expect(issue?.path).toEqual(["registries", ecosystem, 1, "only", 1]);
  });
});
