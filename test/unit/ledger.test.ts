import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openLedger } from "../../src/session/ledger.ts";
import { reconcile } from "../../src/session/reconcile.ts";

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-ledger-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("a living gateway's entries are left alone, a dead one's are removed, its machines ended first [G15]", async () => {
  const state = scratch();
  await using living = await openLedger(state, "gw-living");
  const kept = await living.enter("mach-kept");
  // A dead gateway is one whose lock nobody holds.
  const dead = join(state, "gateways", "gw-dead", "machines", "mach-orphan");
  mkdirSync(dead, { recursive: true });
  writeFileSync(join(dead, "disk.qcow2"), "x");

  const asked: string[] = [];
  const endMachine = async (directory: string) => {
    asked.push(directory);
    expect(existsSync(join(directory, "disk.qcow2"))).toBe(true);
    return 4242;
  };
  expect(await reconcile(state, endMachine)).toEqual({
    gateways: ["gw-dead"],
    machines: ["mach-orphan"],
    endedPids: [4242],
  });
  expect(asked).toEqual([dead]);
  expect(existsSync(kept)).toBe(true);
  expect(readdirSync(join(state, "gateways"))).toEqual(["gw-living"]);
  expect(await reconcile(state, endMachine)).toEqual({ gateways: [], machines: [], endedPids: [] });
});

test("a gateway that is just being born is left alone while it is young", async () => {
  const state = scratch();
  const unborn = join(state, "gateways", ".gw-unborn");
  mkdirSync(unborn, { recursive: true });
  const none = async () => undefined;
  expect((await reconcile(state, none)).gateways).toEqual([]);
  utimesSync(unborn, new Date(0), new Date(0));
  expect((await reconcile(state, none)).gateways).toEqual([".gw-unborn"]);
  expect(existsSync(unborn)).toBe(false);
});

test("forgetting a machine, and closing the ledger, leave nothing", async () => {
  const state = scratch();
  {
    await using ledger = await openLedger(state, "gw-a");
    const directory = await ledger.enter("mach-a");
    writeFileSync(join(directory, "f"), "");
    await ledger.forget("mach-a");
    expect(existsSync(directory)).toBe(false);
    await ledger.enter("mach-b");
  }
  expect(readdirSync(join(state, "gateways"))).toEqual([]);
});

test("a state directory that cannot be written says so", async () => {
  const state = scratch();
  writeFileSync(join(state, "gateways"), "a file in its place");
  await expect(openLedger(state, "gw-a")).rejects.toMatchObject({ code: "STATE_UNWRITABLE" });
});
