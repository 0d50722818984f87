import { expect, test } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { guestModem } from "../../src/container/modem.ts";
import { openImageStore } from "../../src/image/store.ts";
import { inspectSandbox } from "../../src/inspect-sandbox.ts";
import { openTestSandbox } from "../support/machine.ts";

test("what somebody who has got hold of a machine's engine does with it is found from outside", async () => {
  await using it = await openTestSandbox();
  const { machine, container, profile } = it;
  const { agentImage: image } = await openImageStore(loadConfig({}, process.env).imageDirectory).find(profile.image);
  const spec = { hostname: it.hostname, image, profile };
  const inspect = () => inspectSandbox({ container: container.id, machine, spec }, AbortSignal.timeout(120_000));
  const modem = guestModem(machine.dockerAgent);
  const tell = (path: string, options: { readonly [name: string]: unknown }) =>
    new Promise((resolve, reject) => {
      modem.dial({ path, method: "POST", options }, (error, result) => (error ? reject(error) : resolve(result)));
    });

  const { weaker, facts } = await inspect();
  expect(weaker).toEqual([]);
  expect(facts).toMatchObject({ machine: { isAlive: true, pid: machine.facts.pid } });

  await tell("/containers/create", { Image: image, HostConfig: { Privileged: true } });
  await tell(`/containers/${container.id}/exec`, { Cmd: ["true"], User: "0", Privileged: true });
  const after = await inspect();
  expect(after.weaker).toEqual([
    "programs were started through the engine: 1",
    "the machine's engine has 2 containers",
  ]);
});

test("a machine that has ended has nothing to say", async () => {
  await using it = await openTestSandbox();
  const { machine, container, profile } = it;
  const spec = { hostname: it.hostname, image: `sha256:${"0".repeat(64)}`, profile };
  await machine[Symbol.asyncDispose]();
  expect(await machine.observe()).toMatchObject({ isAlive: false, weaker: [] });
  const inspecting = inspectSandbox({ container: container.id, machine, spec }, AbortSignal.timeout(120_000));
  await expect(inspecting).rejects.toMatchObject({ name: "GatewayError" });
});
