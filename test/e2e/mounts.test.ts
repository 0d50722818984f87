import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { auditRecords, connect, policyWith, type TestClient, type TestData, testData } from "../support/gateway.ts";
import { contents, fill } from "../support/mounts.ts";

/** A person's folder in and out of a real sandbox, through a real client. */
let data: TestData;
let agent: TestClient;
let host: string;

beforeAll(async () => {
  data = testData();
  host = mkdtempSync(join(tmpdir(), "glovebox-host-"));
  fill(host, {
    "main.py": "print('one')\n",
    "run.sh*": "#!/bin/sh\necho ran\n",
    ".env": "TOKEN=x",
    "docs/a b.md": "a",
  });
  const mounts = `mounts:\n  - { name: app, host: ${host}, mode: rw }\n  - { name: handbook, host: ${join(host, "docs")} }\n`;
  agent = await connect(data, ["--policy", policyWith(data, mounts)]);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
  rmSync(host, { recursive: true, force: true });
});

test("a folder goes in, is worked on, and comes back after a look at the diff [G22]", async () => {
  expect(agent.client.getInstructions()).toContain("app (read and write), handbook");
  const imported = await agent.call("importFiles", { mount: "app" });
  expect(imported.isError, imported.text).toBe(false);
  expect(imported.result).toMatchObject({ to: "/workspace/app", files: 3, skipped: { sensitive: 1 } });
  const sums =
    "cd app; find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum; ./run.sh; ls -A";
  const seen = await agent.call("shell", { script: sums });
  expect(seen.result.stdout).toBe(`${imported.result.sha256}  -\nran\ndocs\nmain.py\nrun.sh\n`);
  const work =
    "cd app; echo \"print('two')\" > main.py; echo new > new.txt; mkdir .git; echo x > .git/config; mkfifo p; ln -s /etc/passwd l";
  expect((await agent.call("shell", { script: work })).result.exitCode).toBe(0);
  const asked = await agent.call("exportFiles", { path: "app", mount: "app", to: "." });
  expect(asked.result, asked.text).toMatchObject({
    written: false,
    new: 1,
    changed: 1,
    same: 2,
    skipped: { sensitive: 1, special: 1, link: 1 },
  });
  expect(asked.result.diff).toContain("-print('one')\n+print('two')\n");
  expect(readFileSync(join(host, "main.py"), "utf8")).toBe("print('one')\n");
  const done = await agent.call("exportFiles", { path: "app", mount: "app", to: ".", overwrite: true });
  expect(done.result, done.text).toMatchObject({ written: true, changed: 1 });
  expect(contents(host)).toEqual({
    "main.py": "print('two')\n",
    "run.sh*": "#!/bin/sh\necho ran\n",
    ".env": "TOKEN=x",
    "docs/a b.md": "a",
    "new.txt": "new\n",
  });
  const recorded = JSON.stringify(auditRecords(data));
  expect(recorded).toContain('"mountPath":"/"');
  for (const answer of [imported, asked, done]) expect(JSON.stringify(answer.raw)).not.toContain(host);
});

test("a mount for import is not written, and what policy refuses is not copied", async () => {
  const readOnly = await agent.call("exportFiles", { path: "/etc", mount: "handbook", to: "." });
  expect(readOnly.text).toMatch(/^MOUNT_READ_ONLY/);
  const unknown = await agent.call("importFiles", { mount: "other" });
  expect(unknown.text).toMatch(/^MOUNT_NOT_FOUND: .*app, handbook/);
  const elsewhere = await agent.call("importFiles", { mount: "app", to: "/etc/app" });
  expect(elsewhere.text).toMatch(/^DENIED/);
});

test("a call that is cancelled in the middle leaves the host as it was", async () => {
  const before = contents(host);
  const fillUp = "mkdir big; for i in 1 2 3 4 5; do head -c 20M /dev/urandom > big/$i; done";
  expect((await agent.call("shell", { script: fillUp })).result.exitCode).toBe(0);
  const giveUp = new AbortController();
  const exporting = agent.call(
    "exportFiles",
    { path: "big", mount: "app", to: "big" },
    { signal: giveUp.signal, onProgress: (message) => message.startsWith("received") && giveUp.abort() },
  );
  await expect(exporting).rejects.toThrow();
  const listed = await agent.call("exportFiles", { path: "big/1", mount: "app", to: "big-1", dryRun: true });
  expect(listed.result, listed.text).toMatchObject({ new: 1, written: false });
  await expect.poll(() => contents(host)).toEqual(before);
});
