import { execFile } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { describeCall } from "../../src/call/describe.ts";
import { type BundleTrust, type FetchPorts, fetchBundle, takeBundle } from "../../src/policy/distribution/fetch.ts";
import type { BundleSource } from "../../src/policy/distribution/source.ts";
import { loadBundleFiles } from "../../src/policy/load.ts";
import type { BundleFiles } from "../../src/policy/read-files.ts";
import { openBundleServer, tarOf } from "../support/bundle-server.ts";
import { filesOf, newKey, scratch, signedBy, writeFolder } from "../support/signed-bundle.ts";

const run = promisify(execFile);
const KEY = newKey();
const TRUST: BundleTrust = { keys: [KEY.public], layer: "team" };
const signed = (contents: Parameters<typeof filesOf>[0]) => signedBy(KEY, filesOf(contents));

function portsIn(root: string, authorities: readonly string[] = []): FetchPorts {
  return {
    dataDirectory: join(root, "data"),
    signal: new AbortController().signal,
    authorities: async () => authorities,
  };
}

/** A folder that publishes, and what fetches from it: through the folder, or without its waiting until nobody writes there. */
function publisher(trust: BundleTrust = TRUST) {
  const root = scratch();
  const source = { directory: join(root, "published") };
  const ports = portsIn(root);
  let published: BundleFiles = new Map();
  const publish = (files: BundleFiles) => {
    published = files;
    writeFolder(source.directory, files);
  };
  return {
    source,
    ports,
    store: join(root, "data", "policy", "bundles"),
    receipts: join(root, "data", "policy", "receipts"),
    publishFiles: publish,
    publish: (contents: Parameters<typeof filesOf>[0]) => publish(signed(contents)),
    fetch: (over: Partial<BundleTrust> = {}) => takeBundle(source, { ...trust, ...over }, ports, async () => published),
    fetchFromFolder: (over: Partial<BundleTrust> = {}) => fetchBundle(source, { ...trust, ...over }, ports),
  };
}

test("a signed bundle is verified, kept as it came, and loads as what it is [G28]", async () => {
  const { publish, fetchFromFolder, store, receipts } = publisher();
  publish({ version: "1.2.0", more: "layer: team\n" });
  const bundle = await fetchFromFolder();
  expect(bundle).toMatchObject({ name: "acme", version: "1.2.0", layer: "team", signedBy: [KEY.public.id] });
  expect(bundle.stale).toBeUndefined();
  const { identity } = await loadBundleFiles(bundle.files, bundle.directory, { describe: describeCall });
  expect(identity).toEqual({ name: "acme", version: "1.2.0", digest: bundle.digest });
  expect(bundle.directory.startsWith(store)).toBe(true);
  expect(readdirSync(bundle.directory)).toEqual(["bundle.dsse.json", "bundle.yaml", "rules.cedar"]);
  expect(statSync(bundle.directory).mode & 0o777).toBe(0o700);
  // It may still turn out not to be valid.
  expect(existsSync(receipts)).toBe(false);
  await bundle.accept();
  expect(readdirSync(receipts)).toEqual(["team.acme.json"]);
  expect(statSync(join(receipts, "team.acme.json")).mode & 0o777).toBe(0o600);
});

test("only a folder of this computer goes without keys, and stays where it is [G28]", async () => {
  const { source, publishFiles, fetchFromFolder, ports } = publisher();
  publishFiles(filesOf());
  const bundle = await fetchFromFolder({ keys: [] });
  expect(bundle).toMatchObject({ directory: source.directory, name: "acme", version: "1.0.0" });
  expect(bundle.signedBy).toBeUndefined();
  await bundle.accept();
  expect(existsSync(ports.dataDirectory)).toBe(false);
  await expect(fetchFromFolder()).rejects.toMatchObject({ code: "POLICY_UNSIGNED" });
  const remote: readonly BundleSource[] = [
    { git: `file://${source.directory}`, commit: "0".repeat(40) },
    { url: "https://policy.example.org/acme.tar.gz" },
  ];
  for (const it of remote) {
    await expect(fetchBundle(it, { ...TRUST, keys: [] }, ports)).rejects.toMatchObject({ code: "POLICY_UNSIGNED" });
  }
});

test("a bundle for another place, of another name or too old is refused", async () => {
  const { publish, fetch } = publisher();
  publish({ more: "layer: organisation\n" });
  await expect(fetch()).rejects.toThrow(/made for the organisation layer, and this is the team layer/);
  publish({});
  await expect(fetch({ name: "other" })).rejects.toThrow(/is `acme`, and `other` is wanted/);
  await expect(fetch({ minimumVersion: "1.0.1" })).rejects.toMatchObject({ code: "POLICY_ROLLBACK" });
  await expect(fetch({ minimumVersion: "1.0.0", name: "acme" })).resolves.toMatchObject({ version: "1.0.0" });
});

test("a folder without a version that can be ordered is none where one is wanted", async () => {
  const { publishFiles, fetch } = publisher({ keys: [], layer: "user" });
  publishFiles(filesOf({ version: "01.0.0" }));
  await expect(fetch({ minimumVersion: "2.0.0" })).rejects.toMatchObject({ code: "POLICY_INVALID" });
  await expect(fetch()).resolves.not.toHaveProperty("version");
});

describe("rollback", () => {
  test.each([
    ["1.0.0", "0.9.9"],
    ["1.10.0", "1.9.0"],
    ["1.0.0", "1.0.0-rc.1"],
    ["1.0.0-rc.10", "1.0.0-rc.9"],
    // Metadata of a build orders nothing.
    ["1.0.0+1", "1.0.0+2"],
  ])("after %s comes no %s [G28]", async (first, second) => {
    const { publish, fetch } = publisher();
    publish({ version: first });
    await (await fetch()).accept();
    publish({ version: second });
    await expect(fetch()).rejects.toMatchObject({ code: "POLICY_ROLLBACK" });
    publish({ version: first });
    await expect(fetch()).resolves.toMatchObject({ version: first });
  });

  test("the same version with other contents is refused, and a newer one is taken [G28]", async () => {
    const { publish, fetch } = publisher();
    publish({});
    await (await fetch()).accept();
    publish({ rules: "permit (principal, action, resource);\n" });
    await expect(fetch()).rejects.toThrow(/another bundle of the same version/);
    publish({ version: "1.0.1", rules: "permit (principal, action, resource);\n" });
    await (await fetch()).accept();
  });

  test("what was fetched and not accepted binds nobody", async () => {
    const { publish, fetch } = publisher();
    publish({ version: "2.0.0" });
    await fetch();
    publish({ version: "1.0.0" });
    await (await fetch()).accept();
  });

  test("each layer has its own", async () => {
    const { publish, fetch } = publisher();
    publish({ version: "2.0.0" });
    await (await fetch()).accept();
    publish({ version: "1.0.0" });
    await (await fetch({ layer: "user" })).accept();
  });

  test("the older of two that were fetched at a time can't be accepted last", async () => {
    const { publish, fetch } = publisher();
    publish({ version: "1.0.0" });
    const older = await fetch();
    publish({ version: "1.1.0" });
    await (await fetch()).accept();
    await expect(older.accept()).rejects.toMatchObject({ code: "POLICY_ROLLBACK" });
  });

  test("a source that gives another bundle of the same key is not believed, unless it is named", async () => {
    const { publish, fetch } = publisher();
    publish({});
    await (await fetch()).accept();
    publish({ name: "lax" });
    await expect(fetch()).rejects.toThrow(/gave `acme` before, and gives `lax` now/);
    await (await fetch({ name: "lax" })).accept();
    await expect(fetch()).resolves.toMatchObject({ name: "lax" });
  });

  test.each(["", "{}", "not JSON", "too much"])("a receipt that holds %j is no permission", async (what) => {
    const { publish, fetch, receipts } = publisher();
    publish({});
    await (await fetch()).accept();
    const file = join(receipts, "team.acme.json");
    writeFileSync(file, what === "too much" ? readFileSync(file, "utf8") + " ".repeat(20_000) : what);
    await expect(fetch()).rejects.toMatchObject({
      code: "POLICY_ROLLBACK",
      message: expect.stringMatching(/receipt .* can't be read: remove it if/),
    });
  });

  test("a receipt under another's name is none", async () => {
    const { publish, fetch, receipts } = publisher();
    publish({});
    await (await fetch()).accept();
    renameSync(join(receipts, "team.acme.json"), join(receipts, "team.other.json"));
    await expect(fetch()).rejects.toMatchObject({ code: "POLICY_ROLLBACK" });
  });
});

describe("the store", () => {
  test.each<[string, (directory: string) => void]>([
    ["changed", (it) => writeFileSync(join(it, "rules.cedar"), "permit (principal, action, resource);\n")],
    ["added", (it) => writeFileSync(join(it, "more.cedar"), "permit (principal, action, resource);\n")],
    ["removed", (it) => rmSync(join(it, "rules.cedar"))],
    [
      "replaced by a link",
      (it) => {
        rmSync(join(it, "rules.cedar"));
        symlinkSync("/etc/hostname", join(it, "rules.cedar"));
      },
    ],
    ["made writable for all", (it) => chmodSync(join(it, "rules.cedar"), 0o666)],
  ])("a file that was %s in it is never used: the bundle is brought anew, or there is none", async (_, tamper) => {
    const { source, publish, fetch, fetchFromFolder } = publisher();
    publish({});
    const bundle = await fetch();
    await bundle.accept();
    tamper(bundle.directory);
    const again = await fetch();
    expect(again.directory).toBe(bundle.directory);
    expect(readFileSync(join(again.directory, "rules.cedar"))).toEqual(bundle.files.get("rules.cedar"));
    expect(readdirSync(again.directory)).toHaveLength(3);
    tamper(bundle.directory);
    rmSync(source.directory, { recursive: true });
    await expect(fetchFromFolder()).rejects.toMatchObject({ code: "POLICY_UNREADABLE" });
  });

  test("when the source is gone, what was accepted last serves, if the keys still say so", async () => {
    const { source, publish, fetch, fetchFromFolder } = publisher();
    publish({ version: "1.0.0" });
    await (await fetch()).accept();
    publish({ version: "1.1.0" });
    await (await fetch()).accept();
    publish({ version: "1.2.0" });
    await fetch();
    rmSync(source.directory, { recursive: true });
    const stale = await fetchFromFolder();
    expect(stale).toMatchObject({
      version: "1.1.0",
      signedBy: [KEY.public.id],
      stale: expect.stringMatching(/ENOENT/),
    });
    await stale.accept();
    const revoked = fetchFromFolder({ keys: [newKey().public] });
    await expect(revoked).rejects.toThrow(/ENOENT.*what was accepted before can't serve.*none of its signatures/);
    await expect(fetchFromFolder({ minimumVersion: "1.2.0" })).rejects.toThrow(/older than 1.2.0/);
    await expect(fetchFromFolder({ layer: "project" })).rejects.toMatchObject({ code: "POLICY_UNREADABLE" });
    await expect(fetchFromFolder({ keys: [] })).rejects.toMatchObject({ code: "POLICY_UNREADABLE" });
  });

  test("what was accepted from one source never serves for another", async () => {
    const { source, publish, fetch, ports } = publisher();
    publish({});
    await (await fetch()).accept();
    const other = fetchBundle({ directory: `${source.directory}-2` }, TRUST, ports);
    await expect(other).rejects.toMatchObject({ code: "POLICY_UNREADABLE" });
  });

  test("a source that can be reached and gives something bad doesn't fall back", async () => {
    const { publish, publishFiles, fetch, fetchFromFolder } = publisher();
    publish({});
    await (await fetch()).accept();
    publishFiles(signedBy(newKey(), filesOf({ version: "2.0.0" })));
    await expect(fetchFromFolder()).rejects.toMatchObject({ code: "POLICY_SIGNATURE" });
  });

  test("of what nothing names any more the last eight stay, and what died on its way goes", async () => {
    const { publish, fetch, store } = publisher();
    publish({ version: "1.0.0" });
    const first = await fetch();
    await first.accept();
    const leftover = join(store, ".incoming-x");
    mkdirSync(leftover);
    utimesSync(leftover, 0, 0);
    for (let minor = 1; minor <= 11; minor += 1) {
      publish({ version: `1.${minor}.0` });
      await (await fetch()).accept();
    }
    expect(readdirSync(store)).toHaveLength(9);
    expect(existsSync(first.directory)).toBe(false);
    expect(existsSync(leftover)).toBe(false);
  });

  test("a data directory that can't be written is told", async () => {
    const { publish, fetch, ports } = publisher();
    publish({});
    writeFileSync(ports.dataDirectory, "");
    await expect(fetch()).rejects.toMatchObject({ code: "STATE_UNWRITABLE" });
  });

  test("processes that fetch at the same time get along", async () => {
    const { publish, source, ports, store, receipts } = publisher();
    publish({});
    const program = join(import.meta.dirname, "..", "support", "fetch-writer.ts");
    const args = [program, source.directory, ports.dataDirectory, KEY.public.line];
    const printed = await Promise.all(Array.from({ length: 3 }, () => run(process.execPath, args)));
    expect(printed.map((it) => it.stdout)).toEqual(["1.0.0\n", "1.0.0\n", "1.0.0\n"]);
    expect(readdirSync(store)).toHaveLength(1);
    expect(readdirSync(receipts)).toEqual(["team.acme.json"]);
  });
});

describe("git", () => {
  async function repository(folder = "") {
    const root = scratch();
    const directory = join(root, "repository");
    const git = async (...args: readonly string[]) =>
      (
        await run("git", ["-C", directory, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args])
      ).stdout.trim();
    mkdirSync(directory);
    await git("init", "-q", "-b", "main");
    const commit = async (contents: Parameters<typeof filesOf>[0]) => {
      const inside = join(directory, folder);
      mkdirSync(inside, { recursive: true });
      for (const [name, content] of signed(contents)) writeFileSync(join(inside, name), content);
      await git("add", "-A");
      await git("commit", "-qm", "x");
      return git("rev-parse", "HEAD");
    };
    const ports = portsIn(root);
    const fetch = (source: object = {}) => fetchBundle({ git: `file://${directory}`, ...source }, TRUST, ports);
    return { directory, git, commit, fetch, ports };
  }

  test("a bundle comes from a branch, a tag or a commit, and from a folder", async () => {
    const { git, commit, fetch, ports } = await repository("bundles/team");
    const path = "bundles/team";
    const first = await commit({ version: "1.0.0" });
    await git("tag", "v1");
    expect(await fetch({ path })).toMatchObject({ name: "acme", version: "1.0.0" });
    await commit({ version: "2.0.0" });
    expect(await fetch({ path })).toMatchObject({ version: "2.0.0" });
    expect(await fetch({ path, ref: "main" })).toMatchObject({ version: "2.0.0" });
    expect(await fetch({ path, ref: "v1" })).toMatchObject({ version: "1.0.0" });
    expect(await fetch({ path, commit: first })).toMatchObject({ version: "1.0.0" });
    // Nothing of a repository stays.
    expect(readdirSync(join(ports.dataDirectory, "policy", "bundles")).filter((it) => it.startsWith("."))).toEqual([]);
    for (const [source, message] of [
      [{ path, ref: "v9" }, /no branch or tag `v9`/],
      [{ path, commit: "0".repeat(40) }, /can't be had/],
      [{ path: "bundles/none" }, /Not a valid object name/],
      [{}, /`bundles` does not belong into a bundle; `path` names/],
    ] as const) {
      await expect(fetch(source)).rejects.toMatchObject({
        code: "POLICY_FETCH_FAILED",
        message: expect.stringMatching(message),
      });
    }
  });

  test("no link, submodule or folder of a repository is ever followed", async () => {
    const { directory, git, commit, fetch } = await repository();
    await commit({});
    symlinkSync("/etc/passwd", join(directory, "link.cedar"));
    await git("add", "-A");
    await git("commit", "-qm", "link");
    await expect(fetch()).rejects.toThrow(/`link.cedar` is not a regular file/);
    await git("rm", "-q", "link.cedar");
    await git("update-index", "--add", "--cacheinfo", `160000,${"1".repeat(40)},sub.cedar`);
    await git("commit", "-qm", "submodule");
    await expect(fetch()).rejects.toThrow(/`sub.cedar` is not a regular file/);
  });

  test("neither the user's nor the environment's configuration of git has a say, and no hook runs", async () => {
    const { directory, commit, fetch } = await repository();
    await commit({});
    const touched = join(scratch(), "touched");
    const hook = join(directory, ".git", "hooks", "post-upload-pack");
    mkdirSync(join(directory, ".git", "hooks"), { recursive: true });
    writeFileSync(hook, `#!/bin/sh\ntouch ${touched}\n`, { mode: 0o755 });
    writeFileSync(join(directory, ".git", "config"), `[uploadpack]\n\tpackObjectsHook = touch ${touched};\n`, {
      flag: "a",
    });
    const before = { ...process.env };
    try {
      const home = scratch();
      writeFileSync(join(home, ".gitconfig"), '[url "file:///nonexistent/"]\n\tinsteadOf = file:///\n');
      Object.assign(process.env, {
        HOME: home,
        GIT_DIR: "/nonexistent",
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: "url.file:///nonexistent/.insteadOf",
        GIT_CONFIG_VALUE_0: "file:///",
      });
      expect(await fetch()).toMatchObject({ version: "1.0.0" });
    } finally {
      process.env = before;
    }
    expect(existsSync(touched)).toBe(false);
  });

  test("a repository that is larger than any bundle is broken off", async () => {
    const { directory, git, commit, fetch } = await repository("acme");
    await commit({});
    await run("sh", ["-c", "head -c 70000000 /dev/urandom > blob"], { cwd: directory });
    await git("-c", "core.bigFileThreshold=1m", "add", "-A");
    await git("commit", "-qm", "large");
    await expect(fetch({ path: "acme" })).rejects.toThrow(/at most 32 MiB/);
  });

  test("an abort ends it with its reason", async () => {
    const { directory, commit, ports } = await repository();
    await commit({});
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(fetchBundle({ git: `file://${directory}` }, TRUST, { ...ports, signal })).rejects.toThrow("enough");
  });
});

describe("https", () => {
  async function served(archive: Buffer) {
    const server = await openBundleServer((_request, response) => response.end(archive));
    const root = scratch();
    const ports = portsIn(root, [server.authority]);
    const fetch = (path = "/acme.tar") => fetchBundle({ url: `${server.origin}${path}` }, TRUST, ports);
    return { server, ports, fetch };
  }

  test("an archive is fetched, packed or not, also behind redirects", async () => {
    const archive = await tarOf(signed({}));
    const { server, fetch } = await served(archive);
    expect(await fetch()).toMatchObject({ name: "acme", version: "1.0.0" });
    server.answer = ({ url }, response) => {
      if (url === "/packed") response.end(gzipSync(archive));
      else response.writeHead(302, { location: "/packed" }).end();
    };
    expect(await fetch()).toMatchObject({ version: "1.0.0" });
    expect(server.asked).toEqual(["GET /acme.tar", "GET /acme.tar", "GET /packed"]);
  });

  test("where a proxy is the only way out, it is the way out", async () => {
    const { server, ports, fetch } = await served(await tarOf(signed({})));
    await fetch();
    const targets: string[] = [];
    const proxy = createServer().on("connect", ({ url = "" }: IncomingMessage, socket: Socket) => {
      targets.push(url);
      const onwards = connect(Number(url.split(":")[1]), "localhost", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        onwards.pipe(socket).pipe(onwards);
      });
      for (const it of [socket, onwards]) it.on("error", () => it.destroy());
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    onTestFinished(() => void proxy.close());
    const upstreamProxy = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const fetched = await fetchBundle({ url: `${server.origin}/acme.tar` }, TRUST, { ...ports, upstreamProxy });
    expect(fetched).toMatchObject({ version: "1.0.0" });
    expect(targets).toEqual([new URL(server.origin).host]);
  });

  test("a server that this computer doesn't know is not asked", async () => {
    const { server, ports } = await served(await tarOf(signed({})));
    const source = { url: `${server.origin}/acme.tar` };
    const fetched = fetchBundle(source, TRUST, { ...ports, authorities: async () => [] });
    await expect(fetched).rejects.toMatchObject({ code: "POLICY_FETCH_FAILED" });
    expect(server.asked).toEqual([]);
  });

  test.each<[string, Parameters<typeof openBundleServer>[0], RegExp]>([
    ["an error", (_, response) => void response.writeHead(500).end(), /status 500/],
    ["nothing new, which nobody asked for", (_, response) => void response.writeHead(304).end(), /status 304/],
    [
      "a redirect without TLS",
      (_, it) => void it.writeHead(302, { location: "http://example.org/" }).end(),
      /not one of https/,
    ],
    [
      "a redirect to a file",
      (_, it) => void it.writeHead(302, { location: "file:///etc/passwd" }).end(),
      /not one of https/,
    ],
    [
      "a redirect with a password",
      (_, it) => void it.writeHead(302, { location: "https://a:b@localhost/" }).end(),
      /not one/,
    ],
    [
      "a redirect to nowhere",
      (_, response) => void response.writeHead(302).end(),
      /leads from one address|not one of https/,
    ],
    [
      "a circle",
      ({ url }, it) => void it.writeHead(302, { location: url ?? "" }).end(),
      /from one address to the next/,
    ],
    ["a coding", (_, it) => void it.writeHead(200, { "content-encoding": "br" }).end("x"), /compressed/],
    ["too much", (_, response) => void response.end(Buffer.alloc(17 * 1024 * 1024)), /larger than 16777216 bytes/],
    [
      "half of it",
      (_, it) => void it.writeHead(200, { "content-length": "10" }).write("x", () => it.destroy()),
      /fetched/,
    ],
    ["no archive", (_, response) => void response.end("<html>"), /archive can't be used/],
  ])("%s is refused", async (_, answer, message) => {
    const { server, fetch } = await served(Buffer.alloc(0));
    server.answer = answer;
    await expect(fetch("/acme.tar?token=secret")).rejects.toMatchObject({
      code: "POLICY_FETCH_FAILED",
      message: expect.stringMatching(message),
    });
    await expect(fetch("/acme.tar?token=secret")).rejects.toMatchObject({
      message: expect.not.stringContaining("secret"),
    });
  });

  test("what was accepted serves while the server is away", async () => {
    const { server, fetch } = await served(await tarOf(signed({})));
    await (await fetch()).accept();
    server.answer = (_request, response) => response.writeHead(503).end();
    expect(await fetch()).toMatchObject({ version: "1.0.0", stale: expect.stringMatching(/status 503/) });
  });
});
