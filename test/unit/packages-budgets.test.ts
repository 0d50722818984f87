import { join } from "node:path";
import { expect, test } from "vitest";
import { scratch } from "../support/audit.ts";
import { openTestBudgets } from "../support/budgets.ts";
import { openNpmRegistry, profileFor } from "../support/npm-registry.ts";
import { openTestPackages } from "../support/packages.ts";

test("so many files of packages enter as the budget has, although what was decided of one is remembered", async () => {
  await using registry = await openNpmRegistry();
  await registry.publish("acme-x", { version: "1.0.0" }, { version: "1.1.0" });
  using budgets = openTestBudgets(join(scratch(), "budgets.sqlite"));
  const of = { principalId: "local:t", sessionId: "ses-test" };
  await using packages = await openTestPackages({
    profile: `${profileFor(registry)}\nbudgets: { session: { packagesPerHour: 2 } }\n`,
    usage: () => budgets.usage(of),
    onAdmitted: ({ sessionId }) => budgets.add({ ...of, sessionId }, "packages", 1),
  });
  const document = await packages.get("http://packages.glovebox.internal/npm/acme-x");
  const { versions } = JSON.parse(String(document.body)) as { versions: Record<string, { dist: { tarball: string } }> };
  const tarball = String(versions["1.0.0"]?.dist.tarball);
  const statuses: number[] = [];
  for (let times = 0; times < 3; times += 1) statuses.push((await packages.get(tarball)).status);
  expect(statuses).toEqual([200, 200, 403]);
  expect(packages.events("package-admitted")).toHaveLength(1);
  expect(packages.events("package-refused")).toMatchObject([
    {
      policies: ["profile.yaml#budgets.session.packagesPerHour"],
      reason: expect.stringContaining("this session's budget of 2 package files an hour is used up; no version"),
    },
  ]);
  expect(budgets.usage(of).session.packagesLastHour).toBe(2);
});

test("a file that can't be counted stays out", async () => {
  await using registry = await openNpmRegistry();
  await registry.publish("acme-x", { version: "1.0.0" });
  const budgets = openTestBudgets(join(scratch(), "budgets.sqlite"));
  budgets[Symbol.dispose]();
  await using packages = await openTestPackages({
    profile: profileFor(registry),
    onAdmitted: () => budgets.add({ principalId: "local:t", sessionId: "ses-test" }, "packages", 1),
  });
  const { body } = await packages.get("http://packages.glovebox.internal/npm/acme-x");
  const [tarball = ""] = /http[^"]*\.tgz/.exec(String(body)) ?? [];
  const reply = await packages.get(tarball);
  expect(reply.status === 200 && reply.body !== undefined).toBe(false);
  expect(packages.events("package-admitted")).toEqual([]);
});
