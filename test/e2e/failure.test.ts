import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { auditRecords, connect, ENTRY, machinePids, shippedPolicy, testData } from "../support/gateway.ts";

/** What is missing or broken: one error that names the cause and the command that mends it. */
function serve(args: readonly string[], env: Record<string, string>) {
  return spawnSync(process.execPath, [ENTRY, "serve", ...args], {
    encoding: "utf8",
    input: "",
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
}

test("no guest image: the server starts, the call says how to build one", async () => {
  using data = testData();
  rmSync(join(data.directory, "images"));
  await using agent = await connect(data);
  const answer = await agent.call("exec", { argv: ["true"] });
  expect(answer.text).toMatch(/^IMAGE_MISSING[\s\S]*glovebox image build/);
  expect(auditRecords(data).map((it) => it.body.kind)).toContain("outcome");
});

test("a corrupt guest image is refused before it boots", async () => {
  using data = testData();
  const { cpSync } = await import("node:fs");
  const source = join(data.directory, "images");
  const copy = join(data.directory, "copy");
  // The data disk is sparse and large; everything else is copied and one byte of the kernel is flipped.
  cpSync(source, copy, {
    recursive: true,
    dereference: true,
    filter: (name) => !/cache|\.raw$|data\.ext4$/.test(name),
  });
  rmSync(source);
  const kernel = readdirSync(copy, { recursive: true, encoding: "utf8" }).find((name) =>
    /^guests.*vmlinuz$/.test(name),
  );
  if (!kernel) throw new Error("the store holds no kernel");
  const bytes = readFileSync(join(copy, kernel));
  bytes.writeUInt8(bytes.readUInt8(1_000) ^ 1, 1_000);
  const { chmodSync, renameSync } = await import("node:fs");
  chmodSync(join(copy, kernel), 0o644);
  writeFileSync(join(copy, kernel), bytes);
  renameSync(copy, source);
  await using agent = await connect(data);
  const answer = await agent.call("exec", { argv: ["true"] });
  expect(answer.text).toMatch(/^IMAGE_(CORRUPT|MISSING)[\s\S]*glovebox image build/);
  expect(machinePids(data)).toEqual([]);
});

test("no QEMU: the call says how to install it", async () => {
  using data = testData();
  const bin = join(data.directory, "bin");
  mkdirSync(bin);
  const path = process.env["PATH"];
  process.env["PATH"] = bin;
  try {
    await using agent = await connect(data);
    const answer = await agent.call("exec", { argv: ["true"] });
    expect(answer.text).toMatch(/^QEMU_MISSING[\s\S]*(apt-get|brew) install/);
  } finally {
    process.env["PATH"] = path;
  }
});

test("a bad policy refuses to start, with file, line and what to do [G3]", () => {
  using data = testData();
  const policy = join(data.directory, "policy");
  mkdirSync(policy);
  writeFileSync(join(policy, "bundle.yaml"), "name: broken\nversion: 1.0.0\n");
  writeFileSync(join(policy, "rules.cedar"), 'permit (principal, action == Glovebox::Action::"exce", resource);\n');
  const ended = serve(["--policy", policy], { GLOVEBOX_DATA_DIR: data.directory });
  expect(ended.status).toBe(1);
  expect(ended.stdout).toBe("");
  expect(ended.stderr).toMatch(/POLICY_INVALID[\s\S]*rules\.cedar:1[\s\S]*glovebox policy check/);
});

test("an audit directory that cannot be written refuses to start [G5]", () => {
  using data = testData();
  writeFileSync(join(data.directory, "audit"), "a file in its place");
  const ended = serve(["--policy", shippedPolicy("default")], { GLOVEBOX_DATA_DIR: data.directory });
  expect(ended.status).toBe(1);
  expect(ended.stderr).toMatch(/AUDIT_UNWRITABLE[\s\S]*glovebox doctor/);
});

test("an audit log that was tampered with refuses to start, and is left as it is [G7]", async () => {
  using data = testData();
  {
    await using agent = await connect(data);
    for (let index = 0; index < 3; index += 1) await agent.call("listSessions");
  }
  const audit = join(data.directory, "audit");
  const name = readdirSync(audit, { recursive: true, encoding: "utf8" }).find((it) => it.endsWith(".jsonl"));
  if (!name) throw new Error("no log was written");
  const text = readFileSync(join(audit, name), "utf8").replace("listSessions", "listSession5");
  writeFileSync(join(audit, name), text);
  const verified = spawnSync(process.execPath, [ENTRY, "audit", "verify", "--data-dir", data.directory], {
    encoding: "utf8",
  });
  expect(verified.status).toBe(1);
  const ended = serve([], { GLOVEBOX_DATA_DIR: data.directory });
  expect(ended.status).toBe(1);
  expect(ended.stderr).toMatch(/AUDIT_CORRUPT[\s\S]*audit verify/);
  expect(readFileSync(join(audit, name), "utf8")).toBe(text);
});

test("an unknown option and a bad value are explained", () => {
  const unknown = serve(["--polciy", "x"], {});
  expect(unknown.status).not.toBe(0);
  expect(unknown.stderr).toContain("--policy");
  const level = serve(["--log-level", "loud"], {});
  expect(level.status).not.toBe(0);
  expect(level.stderr).toMatch(/loud|logLevel|log-level/);
});
