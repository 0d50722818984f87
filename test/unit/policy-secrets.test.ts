import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { secretProblem } from "../../src/egress/secret-probe.ts";
import { loadBundle } from "../../src/policy/load.ts";

test("a secret that can't be had is told when the gateway starts, by name and line; where bundles are only checked nobody asks", async () => {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-policy-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "..", `${directory.slice(-6)}.token`);
  onTestFinished(() => rmSync(file, { force: true }));
  writeFileSync(file, "a-value-of-some-length", { mode: 0o644 });
  const files = {
    "bundle.yaml": "name: s\nversion: 1.0.0\n",
    "rules.cedar": 'permit (principal, action == Glovebox::Action::"exec", resource);\n',
    "profile.yaml": `secrets:
  - {name: NONE, source: {env: GLOVEBOX_NOT_SET}, hosts: [{host: api.example.org}]}
  - {name: OPEN, source: {file: ${file}}, hosts: [{host: api.example.org}]}
  - {name: LATER, source: {command: [no-such-program]}, hosts: [{host: api.example.org}]}
`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o644 });
  await loadBundle(directory, { describe: describeCall });
  const refused = loadBundle(directory, { describe: describeCall, secretProblem });
  const message = await refused.then(
    () => "",
    (error: Error) => error.message,
  );
  expect(message).toMatch(/profile\.yaml:2:\d+: .*NONE/);
  expect(message).toMatch(/profile\.yaml:3:\d+: .*OPEN/);
  expect(message).not.toContain("LATER");
  expect(message).not.toContain("a-value-of-some-length");
});
