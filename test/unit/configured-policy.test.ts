import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { loadConfig } from "../../src/config.ts";
import { configuredPolicy } from "../../src/configured-policy.ts";
import { GatewayError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { filesOf, newKey, scratch, writeFolder } from "../support/signed-bundle.ts";

/** With the user's settings as they are written, and a system that nobody has enrolled. */
async function stand(written: string, ending = new AbortController().signal) {
  const directory = scratch();
  const file = join(directory, "settings", "glovebox.yaml");
  mkdirSync(join(directory, "settings"));
  writeFileSync(file, written, { mode: 0o644 });
  const policy = writeFolder(join(directory, "mine"), filesOf());
  const config = loadConfig({ dataDir: join(directory, "data"), policy, config: file }, {});
  const settings = { ...config.settings, systemDirectory: join(directory, "nothing") };
  const language = { describe: describeCall };
  const ports = {
    config: { ...config, settings },
    language,
    authorities: async () => [],
    log: createLog("silent"),
    ending,
  };
  return { file, policy, configured: await configuredPolicy(ports) };
}

test("the user's settings and the folders of bundles are Glovebox's own: no agent writes there", async () => {
  const { file, policy, configured } = await stand("");
  await configured.load();
  expect(configured.ownPlaces()).toEqual([file, policy]);
});

test("what could not be loaded is tried again, although no source has anything else", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  const { policy, configured } = await stand("");
  const file = join(scratch(), "token");
  writeFileSync(file, "long-enough", { mode: 0o600 });
  const secret = `{ name: TOKEN, source: { file: "${file}" }, hosts: [{ host: api.example.org }] }`;
  writeFileSync(join(policy, "profile.yaml"), `secrets: [${secret}]\n`, { mode: 0o644 });
  await configured.load();
  const replace = vi.fn(async () => undefined);
  await using _watch = configured.watch(replace, () => undefined);
  rmSync(file);
  await expect(configured.load()).rejects.toMatchObject({ code: "POLICY_INVALID" });
  vi.advanceTimersByTime(60_000);
  expect(replace).toHaveBeenCalledTimes(1);
  writeFileSync(file, "long-enough", { mode: 0o600 });
  await configured.load();
  vi.advanceTimersByTime(600_000);
  expect(replace).toHaveBeenCalledTimes(1);
});

test("a gateway that ends waits for no source that does not answer", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void silent.close());
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const ending = new AbortController();
  const url = `https://127.0.0.1:${port}/team.tar`;
  const team = `team: { policy: { url: "${url}" }, keys: ["${newKey().public.line}"] }\n`;
  const { configured } = await stand(team, ending.signal);
  const loading = expect(configured.load()).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  const [socket] = await once(silent, "connection");
  ending.abort(new GatewayError("SHUTTING_DOWN"));
  await loading;
  socket.destroy();
});
