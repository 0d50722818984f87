import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { PROFILE_RULES } from "../../src/policy/merge-table.ts";
import { systemFileSchema, userFileSchema } from "../../src/settings-schema.ts";

const PAGE = readFileSync(join(import.meta.dirname, "..", "..", "docs", "policy-layers.md"), "utf8");

function blockAfter(ending: string): string {
  const [, after = ""] = PAGE.split(`${ending}\n\n`);
  const lines = after.split("\n");
  const end = lines.findIndex((it) => it !== "" && !it.startsWith("    "));
  return lines
    .slice(0, end)
    .map((it) => it.slice(4))
    .join("\n");
}

test("the files that the page shows are valid, their comments too", () => {
  const system = blockAfter("and no option or variable can move it:");
  expect(systemFileSchema.parse(parse(system))).toMatchObject({ organisation: { name: "Acme" } });
  expect(systemFileSchema.parse(parse(system.replace(/^# /gm, "")))).toMatchObject({ pollSeconds: 300 });
  for (const ending of ["or `GLOVEBOX_CONFIG`, or `--config`):", "with the paths of your copies:"]) {
    expect(Object.keys(userFileSchema.parse(parse(blockAfter(ending)))).toSorted()).toEqual([
      "project",
      "team",
      "user",
    ]);
  }
});

test("the table of merging names every section of a profile", () => {
  const keys = PROFILE_RULES.kind === "section" ? Object.keys(PROFILE_RULES.keys) : [];
  const [, table = ""] = PAGE.split("| key | of several statements |");
  expect(keys.filter((it) => !table.includes(`\`${it}`))).toEqual([]);
});
