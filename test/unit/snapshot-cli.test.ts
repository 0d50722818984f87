import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tailLog } from "../../src/audit/read.ts";
import { scratch } from "../support/audit.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");

function snapshot(data: string, ...args: string[]) {
  const env = { ...process.env, NO_COLOR: "1" };
  return spawnSync(process.execPath, [ENTRY, "snapshot", ...args, "--data-dir", data], { encoding: "utf8", env });
}

function put(data: string, id: string, name: string, principalId: string, minute: number): void {
  const directory = join(data, "snapshots", id);
  mkdirSync(directory, { recursive: true });
  const takenAt = `2026-01-31T10:0${minute}:00.000Z`;
  const facts = {
    version: 1,
    name,
    principalId,
    sessionId: "ses-1",
    takenAt,
    bytes: 2_097_152,
    shape: "s",
    container: "c",
  };
  writeFileSync(join(directory, "snapshot.json"), JSON.stringify(facts));
  writeFileSync(join(directory, "state"), "memory");
}

test("people see all snapshots, and delete one by name, or by id where names are not enough", async () => {
  const data = scratch();
  expect(snapshot(data, "list").stdout).toBe("no snapshots\n");
  put(data, "snap-1", "before", "local:ada", 2);
  put(data, "snap-2", "before", "local:eve", 1);
  put(data, "snap-3", "after", "local:ada", 3);
  mkdirSync(join(data, "snapshots", "snap-4"));
  expect(snapshot(data, "list").stdout.split("\n")).toEqual([
    "snap-2  before  2026-01-31T10:01:00.000Z  2 MiB  local:eve",
    "snap-1  before  2026-01-31T10:02:00.000Z  2 MiB  local:ada",
    "snap-3  after  2026-01-31T10:03:00.000Z  2 MiB  local:ada",
    "snap-4  cannot be read",
    "",
  ]);
  expect(JSON.parse(snapshot(data, "list", "--json").stdout)).toHaveLength(4);

  const ambiguous = snapshot(data, "delete", "before");
  expect([ambiguous.status, ambiguous.stderr]).toEqual([1, expect.stringContaining("snap-2, snap-1")]);
  const unknown = snapshot(data, "delete", "nothing");
  expect([unknown.status, unknown.stderr]).toEqual([1, expect.stringContaining("SNAPSHOT_NOT_FOUND")]);
  expect(readdirSync(join(data, "snapshots"))).toHaveLength(4);

  for (const which of ["after", "snap-1", "snap-4"]) expect(snapshot(data, "delete", which).status).toBe(0);
  expect(readdirSync(join(data, "snapshots"))).toEqual(["snap-2"]);
  const { entries } = await tailLog(join(data, "audit"), 10);
  const deleted = entries
    .map((it) => it.record.body)
    .filter((it) => it.kind === "event" && it.event === "snapshot-deleted");
  expect(deleted.map((it) => "facts" in it && it.facts)).toEqual([
    { id: "snap-3", name: "after", principalId: "local:ada", by: expect.stringMatching(/^local:/) },
    { id: "snap-1", name: "before", principalId: "local:ada", by: expect.stringMatching(/^local:/) },
    { id: "snap-4", by: expect.stringMatching(/^local:/) },
  ]);
});

test("a deletion that cannot be put on record does not happen [G5]", () => {
  const data = scratch();
  put(data, "snap-1", "before", "local:ada", 2);
  writeFileSync(join(data, "audit"), "not a directory");
  const refused = snapshot(data, "delete", "before");
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("AUDIT_UNWRITABLE")]);
  expect(readdirSync(join(data, "snapshots"))).toEqual(["snap-1"]);
});
