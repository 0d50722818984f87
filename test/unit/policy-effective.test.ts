import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { policyCommand } from "../../src/cli/policy.ts";
import { PACKAGE_ROOT } from "../../src/config.ts";
import { findGroup } from "../../src/packages/sources/groups.ts";
import { rememberEnrolment } from "../../src/policy/enrolment.ts";
import { fetchLayers } from "../../src/policy/fetch-layer.ts";
import { settingsPlaces } from "../../src/settings-places.ts";
import { runCommand } from "../support/command.ts";

const POLICIES = join(import.meta.dirname, "..", "..", "policies");
const EXAMPLES = join(POLICIES, "examples", "enterprise");
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;
if (!isRoot) console.warn("skipped: what root enrols can only be tried out as root");

/** A computer with its system's directory, data directory and user's file. */
function computer() {
  const directory = mkdtempSync(join(homedir(), ".glovebox-effective-"));
  chmodSync(directory, 0o755);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const system = join(directory, "etc");
  const data = join(directory, "data");
  const config = join(directory, "glovebox.yaml");
  const env = { XDG_CONFIG_HOME: join(directory, "nothing") };
  const configured = {
    settings: (options: object) => ({ ...settingsPlaces(options, env, PACKAGE_ROOT), systemDirectory: system }),
    dataDirectory: () => data,
    fetch: (dataDirectory: string) =>
      fetchLayers({ dataDirectory, authorities: async () => [], signal: AbortSignal.timeout(60_000) }),
  };
  const policy = (...args: readonly string[]) =>
    runCommand(policyCommand({ load: async () => ({ describe: describeCall, findGroup }), configured }), args);
  const enrol = () => {
    mkdirSync(system, { mode: 0o755 });
    cpSync(join(EXAMPLES, "organisation"), join(system, "policy"), { recursive: true });
    const text = "organisation: { name: Acme, policy: policy }\n";
    writeFileSync(join(system, "glovebox.yaml"), text, { mode: 0o644 });
  };
  return { policy, enrol, system, data, config };
}

test("without settings, what ships is in force", async () => {
  const { policy } = computer();
  const { status, stdout } = await policy("effective", "--json");
  expect(status).toBe(0);
  const known = JSON.parse(stdout);
  expect(known).toMatchObject({ layers: [{ layer: "user", name: "default" }], asks: [], shadow: [], warnings: [] });
  expect(known).not.toHaveProperty("organisation");
  const key = (name: string) => known.profile.find((it: { key: string }) => it.key === name);
  expect(key("resources.memoryMiB")).toEqual({ key: "resources.memoryMiB", value: 1024, layer: "user" });
  expect(key("image")).toEqual({ key: "image", value: "default", layer: "default" });
});

asRoot("all layers are shown with what they come to, who has set it, and what does not hold", async () => {
  const { policy, enrol, config } = computer();
  enrol();
  const [team, project] = [join(EXAMPLES, "team"), join(EXAMPLES, "project")];
  writeFileSync(config, `team: { policy: ${team} }\nproject: { policy: ${project} }\n`, { mode: 0o644 });
  const { status, stdout } = await policy("effective", "--config", config, "--policy", join(EXAMPLES, "user"));
  expect(status).toBe(0);
  for (const line of [
    /^this computer is enrolled by Acme$/m,
    /^ {2}organisation {2}acme-organisation 1\.0\.0, only narrows$/m,
    /^ {2}project {7}acme-checkout 1\.0\.0$/m,
    /^ {4}hosts: git\.acme\.example\.org, example\.com$/m,
    /^ {4}packages: npm:\*, pip:\*$/m,
    /^ {2}resources\.memoryMiB +team +2048$/m,
    /^ {2}egress\.private +organisation +\["git\.acme\.example\.org"\]$/m,
    /^ {2}timeouts\.hibernateMs +user +600000$/m,
    /^ {2}timeouts\.execMs +default +600000$/m,
    /^ {2}team +rules\.cedar#push-asks: /m,
    /^ {2}organisation +rules\.cedar#no-terminals: /m,
  ]) {
    expect(stdout).toMatch(line);
  }
});

asRoot("a signed bundle that nobody can check, and a policy that can't be in force, answer with 2", async () => {
  const { policy, config } = computer();
  writeFileSync(config, `team: { policy: ${EXAMPLES}/team, keys: ["ed25519:${"A".repeat(43)}="] }\n`, { mode: 0o644 });
  expect(await policy("effective", "--config", config)).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("is not signed"),
  });
  expect(await policy("effective", "--policy", join(EXAMPLES, "user"))).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("every layer only narrows"),
  });
});

asRoot("an enrolment ends when root says so, after the organisation's file is gone", async () => {
  const { policy, enrol, system, data } = computer();
  enrol();
  await rememberEnrolment(data, "Acme", new Date());
  expect(await policy("unenrol")).toMatchObject({ status: 2, stderr: expect.stringContaining("enrols this computer") });
  rmSync(join(system, "glovebox.yaml"));
  expect(await policy("unenrol")).toMatchObject({ status: 2, stderr: expect.stringContaining("is missing") });
  rmSync(system, { recursive: true });
  expect(await policy("effective")).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("glovebox policy unenrol"),
  });
  expect(await policy("unenrol")).toMatchObject({ status: 0 });
  expect(existsSync(join(data, "policy", "enrolment.json"))).toBe(false);
  expect(await policy("unenrol")).toMatchObject({ status: 1 });
  expect(await policy("effective")).toMatchObject({ status: 0 });
});

test("only root can end an enrolment", async () => {
  const { policy, data } = computer();
  await rememberEnrolment(data, "Acme", new Date());
  if (process.getuid) vi.spyOn(process, "getuid").mockReturnValue(1000);
  onTestFinished(() => {
    vi.restoreAllMocks();
  });
  expect(await policy("unenrol")).toMatchObject({ status: 2, stderr: expect.stringContaining("only root") });
  expect(existsSync(join(data, "policy", "enrolment.json"))).toBe(true);
});
