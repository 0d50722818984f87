import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attest, readHostBootId } from "../../src/engine/attest.ts";
import type { Profile } from "../../src/policy/profile.ts";
import { openTestSandbox } from "../support/machine.ts";
import { execSuite } from "./container-exec-suite.ts";
import { filesSuite } from "./container-files-suite.ts";
import { limitsSuite } from "./container-limits-suite.ts";
import { forever, python, runToEnd, spec, type TestSandbox } from "./container-suite.ts";
import { terminalSuite } from "./container-terminal-suite.ts";
import { treesSuite } from "./container-trees-suite.ts";

/**
 * The container layer on real machines, real engines and the real image, by one of the ways to reach it. Everything is tried by the way that gateways
 * go, the agent's; by the engine's own, which is what that one is compared with, programs are.
 */
export function containerConformance(driver: "agent" | "engine"): void {
  const thorough = driver === "agent";
  /** It serves all that leaves it usable. */
  let sandbox: TestSandbox;
  const open = (changes: Partial<Profile> = {}) => openTestSandbox(changes, driver);

  beforeAll(async () => {
    sandbox = await open();
  });

  afterAll(async () => {
    await sandbox?.[Symbol.asyncDispose]();
  });

  test("a fresh sandbox attests its isolation [G11]", async () => {
    const { container, machine, profile, hostname } = sandbox;
    const hostBootId = await readHostBootId();
    const otherBootIds = new Set<string>();
    const options = { container, machine, profile, hostname, hostBootId, otherBootIds, signal: forever };
    const attestation = await attest(options);
    expect(attestation).toMatchObject({ bootId: machine.guest.bootId, uids: [1000, 1000, 1000, 1000], seccompMode: 2 });
    expect(attestation.kernelRelease).not.toBe((await readFile("/proc/sys/kernel/osrelease", "utf8")).trim());
    const refused = { code: "ISOLATION_BELOW_FLOOR" };
    await expect(attest({ ...options, otherBootIds: new Set([attestation.bootId]) })).rejects.toMatchObject(refused);
    await expect(attest({ ...options, hostname: "sandbox-other" })).rejects.toMatchObject(refused);
  });

  test("the image's own programs see what was attested", async () => {
    const { stdout } = await runToEnd(sandbox.container, ["cat", "/proc/self/status"]);
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
      expect(stdout).toContain(`${set}:\t0000000000000000\n`);
    }
    expect(stdout).toMatch(/NoNewPrivs:\t1\nSeccomp:\t2\n/);
  });

  test.each(["/etc/x", "/usr/bin/x", "/x", "/.glovebox/inside"])("no program can write %s", async (path) => {
    const { stdout } = await python(
      sandbox.container,
      "import sys\ntry: open(sys.argv[1], 'w')\nexcept OSError as error: print(error.strerror)",
      path,
    );
    expect(stdout).toBe("Read-only file system\n");
  });

  describe("programs", () => execSuite(() => sandbox.container, { thorough }));
  if (thorough) {
    describe("terminals", () => terminalSuite(() => sandbox.container));
    describe("files", () => filesSuite(() => sandbox.container));
    describe("trees", () => treesSuite(() => sandbox.container));
    describe("limits", () => limitsSuite(() => sandbox.container));
  }

  describe("the end", () => {
    test("a machine that dies ends its programs, their streams and every later call", async () => {
      await using lost = await open();
      const { container, machine } = lost;
      const run = await container.run(spec(["cat"], { stdin: true }), forever);
      const outputs = Promise.all([text(run.stdout), text(run.stderr)]);
      const reading = container.readFile("/workspace/never", 10, forever).catch((error: unknown) => error);
      process.kill(machine.facts.pid, "SIGKILL");
      expect(await run.exit).toEqual({ by: "machine-lost" });
      expect(await outputs).toEqual(["", ""]);
      expect(await reading).toMatchObject({ code: expect.stringMatching(/MACHINE_LOST|FILE_NOT_FOUND/) });
      await run.signal("SIGTERM");
      run.stdin?.write("into the void");
      const later = [
        container.run(spec(["true"]), forever),
        container.stat("/workspace", forever),
        container.readFile("/etc/passwd", 10_000, forever),
        container.writeFile("/workspace/x", Buffer.from("x"), { mode: 0o644, createParents: false }, forever),
      ];
      for (const call of later) await expect(call).rejects.toMatchObject({ code: "MACHINE_LOST" });
    }, 300_000);

    if (thorough)
      test("a profile's writable root can be written, and only by the agent's own right", async () => {
        await using loose = await open({ writableRoot: true });
        const { container } = loose;
        const options = { ...loose, hostBootId: undefined, otherBootIds: new Set<string>() };
        expect((await attest({ ...options, signal: forever })).mounts[0]?.options).not.toContain("ro");
        await container.writeFile(
          "/opt/tool/run",
          Buffer.from("#!/bin/sh\nid -u\n"),
          { mode: 0o4755, createParents: true },
          forever,
        );
        expect((await runToEnd(container, ["/opt/tool/run"])).stdout).toBe("1000\n");
        expect((await runToEnd(container, ["sh", "-c", "echo x > /etc/x"])).stderr).toContain("Permission denied");
      }, 300_000);

    test("a disposed container ends its programs and refuses later calls", async () => {
      const { container } = sandbox;
      const run = await container.run(spec(["sleep", "600"]), forever);
      run.stdout.resume();
      run.stderr.resume();
      await container[Symbol.asyncDispose]();
      await container[Symbol.asyncDispose]();
      expect(await run.exit).toEqual({ by: "machine-lost" });
      await expect(container.stat("/workspace", forever)).rejects.toMatchObject({ code: "SESSION_CLOSED" });
    });
  });
}
