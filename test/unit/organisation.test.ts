import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { SYSTEM_DIRECTORY } from "../../src/settings.ts";
import { auditRecords, connect, ENTRY, shippedPolicy, type TestData, testData } from "../support/gateway.ts";

/**
 * The real server with a real organisation's policy in the one place where it is looked for: in a mount namespace of the test's own, in which a
 * layer of its own lies over `/etc`.
 */
const isPossible =
  process.getuid?.() === 0 && spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;
const asRoot = isPossible ? test : test.skip;
if (!isPossible) console.warn("skipped: what is enrolled in /etc can only be tried out as root, with mount namespaces");

const RULES = `@id("no-shell")
@reason("Acme wants no shell scripts")
forbid (principal, action == Glovebox::Action::"shell", resource);
@id("the-rest")
permit (principal, action, resource);
`;

let data: TestData;

beforeAll(() => {
  data = testData();
  return () => data[Symbol.dispose]();
});

/** What follows runs with this in `/etc/glovebox`; `change` is a shell script that is run there first. */
function enrolled(change = "true"): readonly [string, ...string[]] {
  const place = join(data.directory, `acme-${enrolments}`);
  enrolments += 1;
  const policy = join(place, "etc", "policy");
  mkdirSync(policy, { recursive: true, mode: 0o755 });
  const files = {
    "bundle.yaml": "name: acme\nversion: 3.1.0\nlayer: organisation\nnarrows: true\n",
    "profile.yaml": "resources: { memoryMiB: 700 }\n",
    "rules.cedar": RULES,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(policy, name), text, { mode: 0o644 });
  writeFileSync(join(place, "etc", "glovebox.yaml"), "organisation: { name: Acme, policy: policy }\n", { mode: 0o644 });
  mkdirSync(join(place, "work"));
  const script = [
    "set -e",
    // An overlay can't lie on another one everywhere: its layers are in memory.
    `mount -t tmpfs tmpfs ${place}/work && mkdir ${place}/work/u ${place}/work/w`,
    `mount -t overlay overlay -o lowerdir=/etc,upperdir=${place}/work/u,workdir=${place}/work/w /etc`,
    `rm -rf ${SYSTEM_DIRECTORY}`,
    `cp -r ${place}/etc ${SYSTEM_DIRECTORY}`,
    `chown -R root:root ${SYSTEM_DIRECTORY}`,
    `cd ${SYSTEM_DIRECTORY}`,
    change,
    'exec "$@"',
  ].join("\n");
  return ["unshare", "-m", "sh", "-c", script, "sh"];
}

let enrolments = 0;

asRoot(
  "an organisation's layer binds, whatever a user configures, and is named in the answer and on record",
  async () => {
    const config = join(data.directory, "glovebox.yaml");
    writeFileSync(config, `user: { policy: ${shippedPolicy("development")} }\n`);
    await using client = await connect(data, ["--config", config, "--spares", "0"], [], { command: enrolled() });
    const names = (await client.client.listTools()).tools.map((it) => it.name);
    expect(names).toContain("exec");
    expect(names).not.toContain("shell");
    const denied = await client.call("shell", { script: "true" });
    expect(denied.text).toContain("organisation: rules.cedar#no-shell: Acme wants no shell scripts");
    const { result } = await client.call("sessionStatus");
    expect(result.limits.memoryMiB).toBe(700);
    const explained = await client.call("explainPolicy", { tool: "shell", arguments: { script: "true" } });
    expect(explained.result.layers).toMatchObject([
      { layer: "organisation", outcome: "deny" },
      { layer: "user", outcome: "permit" },
    ]);
    const intent = auditRecords(data).findLast(({ body }) => body.kind === "intent" && body.tool === "shell");
    expect(intent?.body).toMatchObject({
      decision: "deny",
      policies: [{ id: "rules.cedar#no-shell", layer: "organisation" }],
      bundle: { layers: [{ layer: "organisation", name: "acme", version: "3.1.0" }, { layer: "user" }] },
    });
  },
);

asRoot.each([
  ["its folder deleted", "rm -r policy", /is missing/],
  ["its folder emptied", "rm policy/*", /is empty/],
  ["a file that anybody may write", "chmod o+w policy/rules.cedar", /may be written by others/],
  ["a folder that anybody may write", "chmod o+w policy", /may be written by others/],
  ["a link in its place", "mv policy /etc/acme && ln -s /etc/acme policy", /symbolic link/],
  ["another owner", "chown 12345 policy/rules.cedar", /belongs to user 12345/],
  ["its settings gone", "rm glovebox.yaml", /is missing/],
  ["itself gone altogether", "cd / && rm -r /etc/glovebox", /is enrolled by Acme/],
  ["a policy that is not valid", "echo 'permit (principal' > policy/rules.cedar", /rules\.cedar/],
])("with %s nothing starts", (_what, change, message) => {
  const [program, ...args] = enrolled(change);
  const serve = [process.execPath, ENTRY, "serve", "--data-dir", data.directory, "--log-level", "silent"];
  const env = { ...process.env, GLOVEBOX_POLICY: shippedPolicy("development") };
  const { status, stderr } = spawnSync(program, [...args, ...serve], { input: "", encoding: "utf8", env });
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/ORGANISATION_POLICY|POLICY_INVALID/);
  expect(status).toBe(1);
});
