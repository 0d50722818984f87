import { request } from "node:http";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { Machine } from "../../src/engine/engine.ts";
import { forever, runToEnd, spec } from "../contract/container-suite.ts";
import { expectRightTime } from "../support/clock.ts";
import { openTestSandbox } from "../support/machine.ts";

/** What becomes of a sandbox when a part of its machine dies. Nothing in it can do this; a fault can. */
const TEST_MS = 120_000;

async function docker(machine: Machine, method: string, path: string, body?: object): Promise<string> {
  const answer = Promise.withResolvers<string>();
  const headers = { "content-type": "application/json" };
  const outgoing = request({ agent: machine.dockerAgent, method, path, headers }, (response) => {
    text(response).then(answer.resolve, answer.reject);
  });
  outgoing.once("error", answer.reject);
  outgoing.end(body && JSON.stringify(body));
  return await answer.promise;
}

/** Runs a script as root of the guest, which only the engine's own API can do; answers what the engine said last. */
async function asRootOfGuest(machine: Machine, script: string): Promise<void> {
  const [own] = JSON.parse(await docker(machine, "GET", "/containers/json")) as [{ ImageID: string }];
  const { Id } = JSON.parse(
    await docker(machine, "POST", "/containers/create", {
      Image: own.ImageID,
      User: "0",
      Entrypoint: ["python3", "-c", script],
      HostConfig: { Privileged: true, PidMode: "host", NetworkMode: "none" },
    }),
  ) as { Id: string };
  // The engine may be what dies of it.
  await docker(machine, "POST", `/containers/${Id}/start`).catch(() => "");
}

const kill = (name: string) => `
import os, signal
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        if open(f'/proc/{pid}/comm').read().strip() == '${name}': os.kill(int(pid), signal.SIGKILL)
    except OSError: pass`;

test.each([
  ["the container's first process", kill("runner")],
  ["the container engine", kill("dockerd")],
  ["containerd", kill("containerd")],
  ["the guest's kernel", "open('/proc/sysrq-trigger', 'w').write('c')"],
])(
  "when %s dies the machine is lost at once, and whatever ran ended with it",
  { timeout: TEST_MS },
  async (_name, script) => {
    await using sandbox = await openTestSandbox();
    const { container, machine } = sandbox;
    const run = await container.run(spec(["sleep", "600"]), forever);
    run.stdout.resume();
    run.stderr.resume();
    const lost = new Promise((resolve) => machine.lost.addEventListener("abort", resolve, { once: true }));
    await asRootOfGuest(machine, script);
    await lost;
    expect(await run.exit).toEqual({ by: "machine-lost" });
    expect(machine.lost.reason).toMatchObject({ code: "MACHINE_LOST" });
    await expect(container.run(spec(["true"]), forever)).rejects.toMatchObject({ code: "MACHINE_LOST" });
  },
);

test("a machine whose process stands still for a while goes on when it does, with the right time", {
  timeout: TEST_MS,
}, async () => {
  await using sandbox = await openTestSandbox();
  const { container, machine } = sandbox;
  const ticking = await container.run(
    spec(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done"]),
    forever,
  );
  let said = "";
  ticking.stdout.on("data", (chunk: Buffer) => {
    said += String(chunk);
  });
  ticking.stderr.resume();
  await expect.poll(() => said.length).toBeGreaterThan(0);
  process.kill(machine.facts.pid, "SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  expect(machine.lost.aborted).toBe(false);
  process.kill(machine.facts.pid, "SIGCONT");
  expect(await ticking.exit).toMatchObject({ by: "exit", exitCode: 0 });
  expect(said).toBe("1\n2\n3\n4\n5\n6\n7\n8\n9\n");
  await expectRightTime(async () => Number((await runToEnd(container, ["date", "+%s"])).stdout));
});

test("when the engine's shim dies the sandbox goes on, or is lost: never something between", {
  timeout: TEST_MS,
}, async () => {
  await using sandbox = await openTestSandbox();
  const { container, machine } = sandbox;
  await asRootOfGuest(machine, kill("containerd-shim"));
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  const after = await runToEnd(container, ["echo", "works"]).then(
    (it) => it.stdout,
    (error: unknown) => error,
  );
  if (machine.lost.aborted) expect(after).toMatchObject({ code: "MACHINE_LOST" });
  else expect(after).toBe("works\n");
});
