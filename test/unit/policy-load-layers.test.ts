import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { GatewayError } from "../../src/errors.ts";
import { problemText } from "../../src/policy/bundle.ts";
import { connectRequest } from "../../src/policy/connect.ts";
import { decide } from "../../src/policy/decide.ts";
import type { FetchedBundle } from "../../src/policy/distribution/fetch.ts";
import type { FetchLayer } from "../../src/policy/fetch-layer.ts";
import type { LayerName } from "../../src/policy/layer.ts";
import { loadPolicy, type PolicyPorts } from "../../src/policy/load-policy.ts";
import { checkOwnedFolder } from "../../src/policy/owned-by-root.ts";
import type { LayerSource } from "../../src/policy/policy-source.ts";
import { digestOf, readBundleFiles } from "../../src/policy/read-files.ts";
import { newKey } from "../support/signed-bundle.ts";

const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;
if (!isRoot) console.warn("skipped: what an organisation's bundle must be can only be tried out as root");

const EXAMPLES = join(import.meta.dirname, "..", "..", "policies", "examples", "enterprise");

function scratch(): string {
  const directory = mkdtempSync(join(homedir(), ".glovebox-layers-"));
  chmodSync(directory, 0o755);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

interface Written {
  readonly manifest?: string;
  readonly profile?: string;
  readonly rules?: string;
}

const PERMIT = 'permit (principal, action == Glovebox::Action::"exec", resource);\n';

function written({ manifest = "", profile = "", rules = PERMIT }: Written): string {
  const directory = join(scratch(), "policy");
  mkdirSync(directory, { mode: 0o755 });
  const files = {
    "bundle.yaml": `name: b\nversion: 1.2.0\n${manifest}`,
    "profile.yaml": profile,
    "rules.cedar": rules,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o644 });
  return directory;
}

/** As it lies there. */
async function lying(directory: string): Promise<FetchedBundle> {
  const { files, problems } = await readBundleFiles(directory);
  if (problems.length > 0) throw new GatewayError("POLICY_INVALID", problems.map(problemText).join("; "));
  return { directory, files, digest: digestOf(files), accept: async () => undefined };
}

const fetchHere: FetchLayer = async ({ source }) => {
  if ("directory" in source) return await lying(source.directory);
  throw new GatewayError("POLICY_UNREADABLE", "not here");
};
const PORTS: PolicyPorts = { load: { describe: describeCall }, fetch: fetchHere };

function layer(name: LayerName, directory: string, more: Partial<LayerSource> = {}): LayerSource {
  return { name, source: { directory }, trust: {}, statedIn: "test", ownedByRoot: false, ...more };
}

const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
function requestOf(tool: string, args: object) {
  const described = describeCall(tool, args, principal);
  if ("problem" in described) throw new Error(described.problem);
  return described.request;
}

test("the layers of the enterprise example decide together, and their profiles are one", async () => {
  const names = ["organisation", "team", "project", "user"] as const;
  const { policy, merged, warnings, sources } = await loadPolicy(
    names.map((it) => layer(it, join(EXAMPLES, it))),
    PORTS,
  );
  for (const { bundle } of sources) expect(bundle.tests.filter((it) => !it.passed)).toEqual([]);
  const decided = (tool: string, args: object) => {
    const { outcome, policies } = decide(policy, requestOf(tool, args));
    return `${outcome} ${policies.map((it) => `${it.layer}:${it.id}`).join()}`;
  };
  expect(decided("exec", { argv: ["npm", "test"] })).toMatch(/^permit /);
  expect(decided("exec", { argv: ["git", "push"] })).toBe("ask team:rules.cedar#push-asks");
  expect(decided("shell", { script: "ls" })).toBe("deny user:rules.cedar#no-shell");
  expect(decided("exposePort", { port: 80 })).toBe("deny organisation:rules.cedar#no-way-in");
  expect(decided("readFile", { path: "/etc/passwd" })).toBe("deny ");
  expect(decided("importFiles", { mount: "app", path: "vault/k" })).toBe("deny team:rules.cedar#no-keys");
  const connects = (host: string) =>
    decide(policy, connectRequest(principal, { host, port: 443, scheme: "https" })).policies.map((it) => it.layer);
  expect(connects("example.com")).toEqual(["organisation"]);
  expect(new Set(connects("git.acme.example.org"))).toEqual(new Set(names));
  const { profile, origin } = merged;
  expect(profile.resources).toEqual({ memoryMiB: 2048, vcpus: 4, diskMiB: 20_480, pids: 1024 });
  expect(origin.get("resources.memoryMiB")).toBe("team");
  expect(origin.get("timeouts.hibernateMs")).toBe("user");
  expect(origin.has("timeouts.execMs")).toBe(false);
  expect(profile.packages?.minimumAgeHours).toEqual({ usual: 168, own: new Map([["apt", 72]]) });
  expect(profile.egress).toMatchObject({ onExfiltration: "end-session" });
  expect(policy.identity.layers?.map((it) => it.layer)).toEqual(names);
  expect(policy.profile).toBe(profile);
  expect(warnings).toEqual([]);
});

test("a bundle for another layer, one that is too old, and nothing but narrowing are refused", async () => {
  const team = written({ manifest: "layer: team\n" });
  await expect(loadPolicy([layer("user", team)], PORTS)).rejects.toMatchObject({
    code: "POLICY_INVALID",
    message: "layer user (test): the bundle b is made for the layer team and not for user",
  });
  await loadPolicy([layer("team", team)], PORTS);
  await loadPolicy([layer("team", team, { trust: { minimumVersion: "1.2.0" } })], PORTS);
  await expect(loadPolicy([layer("team", team, { trust: { minimumVersion: "1.10.0" } })], PORTS)).rejects.toMatchObject(
    {
      code: "POLICY_INVALID",
      message: expect.stringContaining("must not be older than 1.10.0"),
    },
  );
  await loadPolicy([layer("team", team, { trust: { name: "b" } })], PORTS);
  await expect(loadPolicy([layer("team", team, { trust: { name: "c" } })], PORTS)).rejects.toMatchObject({
    code: "POLICY_INVALID",
    message: expect.stringContaining("is not `c`, which is wanted"),
  });
  const narrows = written({ manifest: "narrows: true\n" });
  await expect(loadPolicy([layer("team", narrows), layer("user", narrows)], PORTS)).rejects.toMatchObject({
    code: "POLICY_INVALID",
    message: expect.stringContaining("every layer only narrows"),
  });
  await expect(loadPolicy([], PORTS)).rejects.toMatchObject({ code: "POLICY_INVALID" });
  // One that decides nothing permits nothing.
  const shadow = written({ manifest: "mode: shadow\n" });
  await expect(loadPolicy([layer("team", shadow), layer("user", narrows)], PORTS)).rejects.toMatchObject({
    code: "POLICY_INVALID",
  });
});

test("a layer in shadow mode shapes no sandbox; an organisation's says so", async () => {
  const shadow = written({ manifest: "mode: shadow\n", profile: "resources: { memoryMiB: 512 }\n" });
  const user = written({ profile: "resources: { memoryMiB: 2048 }\nimage: mine\n" });
  const { policy, warnings } = await loadPolicy([layer("organisation", shadow), layer("user", user)], PORTS);
  expect(policy.profile).toMatchObject({ resources: { memoryMiB: 2048 }, image: "mine" });
  expect(policy.shadows.map((it) => it.name)).toEqual(["organisation"]);
  expect(warnings).toEqual(["the organisation's policy is in shadow mode: it is recorded, and decides nothing"]);
  const team = written({ profile: "image: theirs\n" });
  const contrary = await loadPolicy([layer("team", team), layer("user", user)], PORTS);
  expect(contrary.policy.profile.image).toBe("theirs");
  expect(contrary.warnings).toEqual(['image of the layer user: "mine" does not hold: "theirs" does']);
});

test("a secret is asked for when it holds, and only then", async () => {
  const secret = (name: string) =>
    `secrets: [{ name: ${name}, source: { env: ${name} }, hosts: [{ host: api.example.org }] }]\n`;
  const asked: string[] = [];
  const secretProblem: PolicyPorts["load"]["secretProblem"] = async ({ name }) => {
    asked.push(name);
    return "is not set";
  };
  const ports = { ...PORTS, load: { ...PORTS.load, secretProblem } };
  const [one, other] = [written({ profile: secret("ONE") }), written({ profile: secret("OTHER") })];
  await loadPolicy([layer("team", one), layer("user", other)], ports);
  expect(asked).toEqual([]);
  await expect(loadPolicy([layer("team", one)], ports)).rejects.toMatchObject({
    code: "POLICY_INVALID",
    message: "secrets of the layer team can't be had here:\n  ONE: is not set",
  });
});

const FORBID = `@reason("no")\nforbid (principal, action, resource);\n`;
const OWNED = { ownedByRoot: true };

asRoot.each([
  ["deleted", (at: string) => rmSync(at, { recursive: true }), "is missing"],
  [
    "emptied",
    (at: string) => {
      rmSync(at, { recursive: true });
      mkdirSync(at, { mode: 0o755 });
    },
    "is empty",
  ],
  ["writable by anybody", (at: string) => chmodSync(at, 0o757), "chmod go-w"],
  ["writable by a group", (at: string) => chmodSync(at, 0o775), "chmod go-w"],
  ["another's", (at: string) => chownSync(at, 12_345, 0), "chown root"],
  [
    "a link",
    (at: string) => {
      renameSync(at, `${at}-real`);
      symlinkSync(`${at}-real`, at);
    },
    "is a symbolic link",
  ],
  [
    "below a link",
    (at: string) => {
      renameSync(dirname(at), `${dirname(at)}-real`);
      onTestFinished(() => rmSync(`${dirname(at)}-real`, { recursive: true, force: true }));
      symlinkSync(`${dirname(at)}-real`, dirname(at));
    },
    "is a symbolic link",
  ],
  ["below a folder that anybody may write", (at: string) => chmodSync(dirname(at), 0o1777), "chmod go-w"],
  ["with a file of another's", (at: string) => chownSync(join(at, "rules.cedar"), 12_345, 0), "rules.cedar` belongs"],
  ["with a file that a group may write", (at: string) => chmodSync(join(at, "profile.yaml"), 0o664), "chmod go-w"],
] as const)("an organisation's bundle that is %s is not believed", async (_, spoil, message) => {
  const directory = join(scratch(), "policy");
  cpSync(join(EXAMPLES, "organisation"), directory, { recursive: true });
  for (const it of ["", "bundle.yaml", "rules.cedar", "profile.yaml", "tests.yaml"])
    chmodSync(join(directory, it), it === "" ? 0o755 : 0o644);
  const user = layer("user", written({}));
  await loadPolicy([layer("organisation", directory, OWNED), user], PORTS);
  spoil(directory);
  await expect(loadPolicy([layer("organisation", directory, OWNED), user], PORTS)).rejects.toMatchObject({
    code: "ORGANISATION_POLICY",
    message: expect.stringContaining(message),
  });
});

asRoot("half of what root is copying into an organisation's folder is never taken", async () => {
  for (;;) {
    const directory = written({});
    const writing = (async () => {
      let longestMs = 0;
      for (let n = 0; n < 12; n += 1) {
        const beganMs = Date.now();
        await new Promise((resolve) => setTimeout(resolve, 40));
        writeFileSync(join(directory, `rules-${n}.cedar`), PERMIT, { mode: 0o644 });
        longestMs = Math.max(longestMs, Date.now() - beganMs);
      }
      writeFileSync(join(directory, "forbids.cedar"), FORBID, { mode: 0o644 });
      return longestMs;
    })();
    const [longestMs, { policy }] = await Promise.all([
      writing,
      loadPolicy([layer("organisation", directory, OWNED)], PORTS),
    ]);
    // Where this computer stood still, a folder was quiet that was not meant to be.
    if (longestMs >= 200) continue;
    expect(decide(policy, requestOf("exec", { argv: ["ls"] })).outcome).toBe("deny");
    break;
  }
});

asRoot("a path that could be read in two ways is not believed", async () => {
  await checkOwnedFolder("/");
  for (const path of ["relative", "/etc/", "/etc/../etc", "/etc/./ssl", "//etc", ""]) {
    await expect(checkOwnedFolder(path), path).rejects.toMatchObject({ code: "ORGANISATION_POLICY" });
  }
});

asRoot(
  "an organisation's bundle with a link in it is not valid; a signed one may lie anywhere, and is fetched",
  async () => {
    const directory = written({});
    renameSync(join(directory, "rules.cedar"), join(directory, "..", "real.cedar"));
    symlinkSync(join(directory, "..", "real.cedar"), join(directory, "rules.cedar"));
    await expect(loadPolicy([layer("organisation", directory, OWNED)], PORTS)).rejects.toMatchObject({
      code: "POLICY_INVALID",
      message: expect.stringContaining("is not a regular file"),
    });
    const signed = written({});
    chownSync(signed, 12_345, 0);
    const asked: unknown[] = [];
    const fetch: FetchLayer = async ({ name, source, trust }) => {
      asked.push([name, source, trust]);
      return await lying(signed);
    };
    const source = { url: "https://policy.example.org/acme.tar" };
    const trust = { keys: [newKey().public] };
    await loadPolicy([layer("organisation", "", { ...OWNED, source, trust })], { ...PORTS, fetch });
    expect(asked).toEqual([["organisation", source, trust]]);
    await expect(
      loadPolicy([layer("organisation", "", { ...OWNED, source })], { ...PORTS, fetch }),
    ).rejects.toMatchObject({ code: "ORGANISATION_POLICY" });
  },
);
