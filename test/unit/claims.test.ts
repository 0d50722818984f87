import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CLAIMS } from "../claims.ts";

const tests = join(import.meta.dirname, "..");
const sources = readdirSync(tests, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && name !== "claims.ts" && !name.startsWith("clients"))
  .map((name) => readFileSync(join(tests, name), "utf8"))
  .join("\n");
const security = readFileSync(join(tests, "..", "SECURITY.md"), "utf8");

test.each(Object.entries(CLAIMS))("%s is worded so in SECURITY.md and shown by a test", (number, words) => {
  expect(security).toContain(`**${number}.** ${words}`);
  expect(sources).toContain(`[${number}]`);
});
