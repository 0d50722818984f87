import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { policyCommand } from "../../src/cli/policy.ts";
import { openBundleServer } from "../support/bundle-server.ts";
import { runCommand } from "../support/command.ts";
import { filesOf, RULES, scratch, writeFolder } from "../support/signed-bundle.ts";

const policy = (...args: readonly string[]) =>
  runCommand(policyCommand({ load: async () => ({ describe: describeCall }) }), args);

/** A bundle, and a key that signs. */
async function publisher() {
  const root = scratch();
  const bundle = writeFolder(join(root, "acme"), filesOf());
  const key = join(root, "acme.key");
  expect(await policy("keygen", key)).toMatchObject({ status: 0, stdout: readFileSync(`${key}.pub`, "utf8") });
  return { root, bundle, key, sign: (...more: readonly string[]) => policy("sign", bundle, "--key", key, ...more) };
}

test("a bundle is signed under a version, with its comments kept, and verifies until it is touched", async () => {
  const { bundle, key, sign } = await publisher();
  const manifest = join(bundle, "bundle.yaml");
  writeFileSync(manifest, "# ours\nname: acme # the team's\nversion: 1.0.0\n\n# the end\n");
  writeFileSync(join(bundle, "README.md"), "words\n");
  expect(await policy("verify", bundle, "--key", `${key}.pub`)).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^POLICY_UNSIGNED: /),
  });
  expect(await sign("--version", "1.4.0-rc.1")).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^acme 1\.4\.0-rc\.1 is signed: ed25519:.{44}\nsha256:[0-9a-f]{64}\n$/),
  });
  expect(readFileSync(manifest, "utf8")).toBe("# ours\nname: acme # the team's\nversion: 1.4.0-rc.1\n\n# the end\n");
  expect(statSync(join(bundle, "bundle.dsse.json")).mode & 0o022).toBe(0);
  expect(await policy("check", bundle)).toMatchObject({ status: 0 });
  expect(await policy("verify", bundle, "--key", `${key}.pub`)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^acme 1\.4\.0-rc\.1 is as it was signed\nsha256:[0-9a-f]{64}\nsigned by sha256:/),
  });
  const { status, stdout } = await policy(
    "verify",
    bundle,
    "--json",
    "--key",
    readFileSync(`${key}.pub`, "utf8").trim(),
  );
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ verified: true, name: "acme", version: "1.4.0-rc.1" });
  writeFileSync(join(bundle, "rules.cedar"), "permit (principal, action, resource);\n");
  const touched = await policy("verify", bundle, "--json", "--key", `${key}.pub`);
  expect(touched.status).toBe(1);
  expect(JSON.parse(touched.stdout)).toMatchObject({ verified: false, code: "POLICY_SIGNATURE" });
});

test("what is not valid is not signed", async () => {
  const { bundle, sign } = await publisher();
  writeFileSync(join(bundle, "rules.cedar"), 'permit (principal, action == Glovebox::Action::"exce", resource);\n');
  expect(await sign("--version", "2.0.0")).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^POLICY_INVALID/),
  });
  expect(existsSync(join(bundle, "bundle.dsse.json"))).toBe(false);
  expect(readFileSync(join(bundle, "bundle.yaml"), "utf8")).toContain("version: 1.0.0");
});

test("what could not be answered exits with 2", async () => {
  const { root, bundle, key, sign } = await publisher();
  await sign();
  const readable = join(root, "readable.key");
  cpSync(key, readable);
  chmodSync(readable, 0o644);
  const unanswered: readonly (readonly [readonly string[], RegExp])[] = [
    [["keygen", key], /POLICY_KEY: .*exists already/],
    [["sign", bundle], /required option '--key/],
    [["sign", bundle, "--key", readable], /POLICY_KEY: .*others may read/],
    [["sign", bundle, "--key", `${key}.pub`], /POLICY_KEY: .*others may read/],
    [["sign", bundle, "--key", key, "--version", "one"], /must be a version/],
    [["sign", join(root, "none"), "--key", key], /POLICY_UNREADABLE/],
    [["verify", bundle, "--key", key], /POLICY_KEY: .*does not hold a line/],
    [["verify", join(root, "none"), "--key", `${key}.pub`], /POLICY_UNREADABLE/],
    [["fetch", bundle, "--to", join(root, "got")], /required option '--key/],
    [["fetch", "http://example.org/a.tar", "--to", "x", "--key", `${key}.pub`], /INVALID_ARGUMENTS.*https/s],
    [["fetch", "git+ext::id", "--to", "x", "--key", `${key}.pub`], /INVALID_ARGUMENTS.*URL such as/s],
    [["fetch", bundle, "--to", "x", "--key", `${key}.pub`, "--layer", "king"], /INVALID_ARGUMENTS/],
    [["fetch", bundle, "--to", "x", "--key", `${key}.pub`, "--name", "other"], /`other` is wanted/],
    [["fetch", bundle, "--to", "x", "--key", `${key}.pub`, "--minimum-version", "2.0.0"], /POLICY_ROLLBACK/],
  ];
  for (const [args, message] of unanswered) {
    expect({ args, ...(await policy(...args)) }).toMatchObject({
      args,
      status: 2,
      stderr: expect.stringMatching(message),
    });
  }
});

test("fetch puts a bundle into a folder, replaces it by a newer one, and by nothing else", async () => {
  const { root, bundle, key, sign } = await publisher();
  const to = join(root, "got");
  const fetch = () => policy("fetch", bundle, "--to", to, "--key", `${key}.pub`);
  await sign();
  expect(await fetch()).toMatchObject({ status: 0, stdout: expect.stringContaining(`it is in ${to}`) });
  expect(await fetch()).toMatchObject({ status: 0, stdout: expect.stringContaining(`it was in ${to} before`) });
  await sign("--version", "1.1.0");
  expect(await fetch()).toMatchObject({ status: 0, stdout: expect.stringContaining("acme 1.1.0") });
  expect(await policy("verify", to, "--key", `${key}.pub`)).toMatchObject({ status: 0 });
  await sign("--version", "1.0.5");
  expect(await fetch()).toMatchObject({ status: 2, stderr: expect.stringMatching(/^POLICY_ROLLBACK/) });
  writeFileSync(join(bundle, "rules.cedar"), `// Other rules.\n${RULES}`);
  await sign("--version", "1.1.0");
  expect(await fetch()).toMatchObject({ status: 2, stderr: expect.stringMatching(/^POLICY_ROLLBACK/) });
  const other = writeFolder(join(root, "other"), filesOf());
  expect(await policy("fetch", bundle, "--to", other, "--key", `${key}.pub`)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/is there, and is no bundle that these keys signed/),
  });
});

test("fetch brings an archive by TLS from a server that an own authority vouches for", async () => {
  const { root, bundle, key, sign } = await publisher();
  await sign();
  const archive = join(root, "acme.tar.gz");
  execFileSync("tar", ["-czf", archive, "-C", bundle, "."]);
  const server = await openBundleServer((_request, response) => response.end(readFileSync(archive)));
  const authority = join(root, "authority.pem");
  writeFileSync(authority, server.authority);
  const args = ["fetch", `${server.origin}/acme.tar.gz`, "--to", join(root, "got"), "--key", `${key}.pub`];
  expect(await policy(...args)).toMatchObject({ status: 2, stderr: expect.stringMatching(/^POLICY_FETCH_FAILED/) });
  const { status, stdout } = await policy(...args, "--trusted-ca", authority, "--json");
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ name: "acme", version: "1.0.0", changed: true });
});
