import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Folder } from "../../src/mounts/folder.ts";
import { workbench } from "../support/capability-context.ts";
import { contents, fill, scratch } from "../support/mounts.ts";

/** Programs of the host that race with the gateway, and trees made to lead it astray. No machine: the host's side is what is attacked. */
const SWAP = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print("swapping", flush=True)
while True:
    for one, other in ((b"d", b"link-d"), (b"f", b"link-f")): libc.renameat2(-100, one, -100, other, 2)`;

/** Exchanges \`d\` and \`link-d\`, and \`f\` and \`link-f\`, without end. */
async function swapping(directory: string): Promise<AsyncDisposable> {
  const child = spawn("python3", ["-c", SWAP, directory], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await once(child, "close");
    },
  };
}

function stand() {
  const directory = scratch();
  fill(directory, { "host/f": "inside", "outside/secret": "outside", "outside/deep/secret": "outside", "box/": "" });
  for (let index = 0; index < 30; index += 1) fill(join(directory, "host", "d"), { [`deep/f${index}`]: "inside" });
  symlinkSync(join(directory, "outside"), join(directory, "host", "link-d"));
  symlinkSync(join(directory, "outside", "secret"), join(directory, "host", "link-f"));
  const [host, box] = [join(directory, "host"), join(directory, "box")];
  const bench = workbench({ profile: { mounts: [{ name: "app", host, mode: "rw" }] } });
  return { directory, host, box, bench };
}

const ROUNDS = 150;

test("a host program that swaps a directory or file for a link has nothing from outside imported [G22]", async () => {
  const { host, box, bench } = stand();
  await using _swapping = await swapping(host);
  let copied = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const path of [".", "d", "d/deep", "f"]) {
      const to = join(box, `${round}-${path.replace("/", "-")}`);
      const called = await bench.call("importFiles", { mount: "app", path, to }).catch((error: unknown) => error);
      if (called instanceof Error) {
        expect(called).toMatchObject({
          code: expect.stringMatching(/PATH_IS_LINK|FILE_NOT_FOUND|NOT_A_FILE|MOUNT_UNUSABLE/),
        });
      } else copied += 1;
    }
  }
  expect(copied).toBeGreaterThan(0);
  expect(Object.values(contents(box)).filter((it) => it.includes("outside"))).toEqual([]);
});

test("nor does an export write outside [G22]", async () => {
  const { directory, host, box, bench } = stand();
  fill(box, { "d/deep/made": "x", "d/new": "x", f: "x" });
  await using _swapping = await swapping(host);
  let written = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    fill(box, { "d/deep/made": `${round}`, [`d/new${round}`]: "x" });
    const called = await bench
      .call("exportFiles", { path: box, mount: "app", to: ".", overwrite: true })
      .catch((it: unknown) => it);
    if (called instanceof Error)
      expect(called).toMatchObject({ code: expect.stringMatching(/FILE_CHANGED|MOUNT_UNUSABLE/) });
    else written += 1;
  }
  expect(written).toBeGreaterThan(0);
  expect(contents(join(directory, "outside"))).toEqual({ secret: "outside", "deep/secret": "outside" });
  expect(readdirSync(host).filter((it) => it.startsWith(".glovebox"))).toEqual([]);
});

test("where paths are all there is, a directory that was swapped for a link is noticed", async () => {
  const { host } = stand();
  await using root = await Folder.open(host, false);
  await using inside = await root.folder("d");
  expect((await inside.entries()).map((it) => it.name)).toEqual(["deep"]);
  await using _swapping = await swapping(host);
  const seen = new Set<string>();
  for (let round = 0; round < 300; round += 1) {
    const names = await inside.entries().then(
      (entries) => entries.map((it) => it.name).join(),
      (error: unknown) => (error instanceof Error ? error.constructor.name : "?"),
    );
    seen.add(names);
    await sleep(0);
  }
  expect(seen).toContain("GatewayError");
});

test("a tree that is a thousand levels deep, or a directory of many names, ends in an error and not in a hang", async () => {
  const { host, bench, box } = stand();
  fill(host, { [`${"a/".repeat(400)}x`]: "x" });
  await expect(bench.call("importFiles", { mount: "app", to: box })).rejects.toMatchObject({
    code: "TRANSFER_TOO_LARGE",
  });
});
