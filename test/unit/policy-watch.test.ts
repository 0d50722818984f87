import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { GatewayError } from "../../src/errors.ts";
import type { FetchedBundle } from "../../src/policy/distribution/fetch.ts";
import { contentDigest } from "../../src/policy/distribution/manifest.ts";
import { openSource } from "../../src/policy/distribution/reader.ts";
import type { BundleSource } from "../../src/policy/distribution/source.ts";
import { startWatching, type WatchedSource } from "../../src/policy/distribution/watch.ts";
import type { LayerName } from "../../src/policy/layer.ts";
import { openBundleServer, tarOf } from "../support/bundle-server.ts";
import { filesOf, newKey, scratch, signedBy, writeFolder } from "../support/signed-bundle.ts";

const KEY = newKey();
const signed = (version: string) => signedBy(KEY, filesOf({ version }));

type Told = readonly ["change", LayerName, FetchedBundle] | readonly ["failure", LayerName, GatewayError];

interface Watching extends AsyncDisposable {
  /** Which has not been taken yet, or the next that comes. */
  next(): Promise<Told>;
  /** How many have not been taken. */
  readonly waiting: number;
}

function watching(sources: readonly WatchedSource[], authority?: string, refuse?: Error): Watching {
  const told: Told[] = [];
  const waiting: ((it: Told) => void)[] = [];
  const tell = (it: Told) => {
    const first = waiting.shift();
    if (first) first(it);
    else told.push(it);
  };
  const watch = startWatching(sources, {
    dataDirectory: join(scratch(), "data"),
    authorities: async () => (authority === undefined ? [] : [authority]),
    everyMs: 20,
    onChange: async (layer, bundle) => {
      tell(["change", layer, bundle]);
      if (refuse) throw refuse;
      await bundle.accept();
    },
    onFailure: (layer, error) => tell(["failure", layer, error]),
  });
  return {
    next: () => {
      const { promise, resolve } = Promise.withResolvers<Told>();
      const first = told.shift();
      if (first) resolve(first);
      else waiting.push(resolve);
      return promise;
    },
    get waiting() {
      return told.length;
    },
    [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
  };
}

const watched = (source: BundleSource, over: Partial<WatchedSource["trust"]> = {}, digest?: string): WatchedSource => ({
  source,
  trust: { keys: [KEY.public], layer: "team", ...over },
  ...(digest !== undefined && { digest }),
});

test("what is in force is no news; what comes after it is told once, and so is what goes wrong", async () => {
  const directory = writeFolder(join(scratch(), "acme"), signed("1.0.0"));
  await using it = watching([watched({ directory }, {}, contentDigest(signed("1.0.0")))]);
  writeFolder(directory, signed("1.1.0"));
  expect(await it.next()).toMatchObject(["change", "team", { name: "acme", version: "1.1.0" }]);
  writeFolder(directory, signed("1.0.5"));
  expect(await it.next()).toMatchObject(["failure", "team", { code: "POLICY_ROLLBACK" }]);
  writeFolder(directory, new Map([...signed("1.2.0"), ["more.cedar", Buffer.from("")]]));
  expect(await it.next()).toMatchObject(["failure", "team", { code: "POLICY_SIGNATURE" }]);
  rmSync(directory, { recursive: true });
  expect(await it.next()).toMatchObject(["failure", "team", { code: "POLICY_UNREADABLE" }]);
  // The same contents as what is in force: all is well again, and there is nothing to tell.
  writeFolder(directory, signed("1.1.0"));
  writeFolder(`${directory}-next`, signed("1.3.0"));
  renameSync(directory, `${directory}-old`);
  renameSync(`${directory}-next`, directory);
  const last = await it.next();
  expect(last).toMatchObject(["change", "team", { version: "1.3.0" }]);
  expect(it.waiting).toBe(0);
});

test("a folder without keys is watched as well, and each source tells of its own layer", async () => {
  const root = scratch();
  const team = writeFolder(join(root, "team"), signed("1.0.0"));
  const user = writeFolder(join(root, "user"), filesOf());
  await using it = watching([
    watched({ directory: team }, {}, contentDigest(signed("1.0.0"))),
    watched({ directory: user }, { keys: [], layer: "user" }, contentDigest(filesOf())),
  ]);
  writeFolder(user, filesOf({ version: "0.1.0" }));
  expect(await it.next()).toMatchObject(["change", "user", { version: "0.1.0" }]);
  writeFolder(team, signed("2.0.0"));
  expect(await it.next()).toMatchObject(["change", "team", { version: "2.0.0" }]);
});

test("what the listener refuses is not offered again until the source changes", async () => {
  const directory = writeFolder(join(scratch(), "acme"), signed("1.0.0"));
  await using it = watching([watched({ directory })], undefined, new Error("not valid"));
  expect((await it.next())[0]).toBe("change");
  expect(await it.next()).toMatchObject(["failure", "team", { code: "INTERNAL" }]);
  writeFolder(directory, signed("1.0.1"));
  expect(await it.next()).toMatchObject(["change", "team", { version: "1.0.1" }]);
});

test("a server is asked for what is new only", async () => {
  const archives = { "1": await tarOf(signed("1.0.0")), "2": await tarOf(signed("2.0.0")) };
  let current: keyof typeof archives = "1";
  const unchanged = Promise.withResolvers<void>();
  const server = await openBundleServer((request, response) => {
    if (request.headers["if-none-match"] === `"${current}"`) {
      unchanged.resolve();
      response.writeHead(304).end();
    } else {
      response.writeHead(200, { etag: `"${current}"` }).end(archives[current]);
    }
  });
  await using it = watching([watched({ url: `${server.origin}/acme.tar` })], server.authority);
  expect(await it.next()).toMatchObject(["change", "team", { version: "1.0.0" }]);
  await unchanged.promise;
  current = "2";
  expect(await it.next()).toMatchObject(["change", "team", { version: "2.0.0" }]);
  expect(server.asked.slice(0, 2)).toEqual(["GET /acme.tar", 'GET /acme.tar "1"']);
});

test("a server that is away is told of once, and its return goes without saying", async () => {
  const archive = await tarOf(signed("1.0.0"));
  let asked = 0;
  const again = Promise.withResolvers<void>();
  const server = await openBundleServer((_request, response) => {
    asked += 1;
    if (asked > 3) again.resolve();
    response.writeHead(503).end();
  });
  await using it = watching([watched({ url: `${server.origin}/acme.tar` })], server.authority);
  expect(await it.next()).toMatchObject(["failure", "team", { code: "POLICY_FETCH_FAILED" }]);
  await again.promise;
  expect(it.waiting).toBe(0);
  server.answer = (_request, response) => response.end(archive);
  expect((await it.next())[0]).toBe("change");
});

test("a repository's next commit is found", async () => {
  const directory = join(scratch(), "repository");
  const git = (...args: readonly string[]) =>
    execFileSync("git", ["-C", directory, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args]);
  const commit = (version: string) => {
    for (const [name, content] of signed(version)) writeFileSync(join(directory, name), content);
    git("add", "-A");
    git("commit", "-qm", version);
  };
  mkdirSync(directory);
  git("init", "-q", "-b", "main");
  commit("1.0.0");
  await using it = watching([watched({ git: `file://${directory}`, ref: "main" })]);
  expect(await it.next()).toMatchObject(["change", "team", { version: "1.0.0" }]);
  commit("1.0.1");
  expect(await it.next()).toMatchObject(["change", "team", { version: "1.0.1" }]);
});

test("nothing is told after the end", async () => {
  const directory = writeFolder(join(scratch(), "acme"), signed("1.0.0"));
  const it = watching([watched({ directory })]);
  await it[Symbol.asyncDispose]();
  expect(it.waiting).toBe(0);
});

/** Longest time in which nobody wrote, in milliseconds. */
async function writeSlowly(directory: string): Promise<number> {
  let longest = 0;
  let lastMs = Date.now();
  for (let part = 0; part < 40; part += 1) {
    await new Promise((resolve) => setTimeout(resolve, 15));
    writeFileSync(join(directory, `part-${part}.cedar`), "");
    longest = Math.max(longest, Date.now() - lastMs);
    lastMs = Date.now();
  }
  writeFileSync(join(directory, "forbids.cedar"), "forbid (principal, action, resource);\n");
  return longest;
}

test("half of what is being written is never taken, whoever watches [G28]", async () => {
  const ports = { authorities: async () => [], scratchDirectory: "/nonexistent" };
  for (;;) {
    const directory = writeFolder(join(scratch(), "acme"), filesOf());
    const ending = new AbortController();
    onTestFinished(() => ending.abort());
    const [longestMs, files] = await Promise.all([
      writeSlowly(directory),
      openSource({ directory }, ports)(ending.signal),
    ]);
    // Where this computer stood still, a folder was quiet that was not meant to be.
    if (longestMs >= 200) continue;
    expect(files.has("forbids.cedar")).toBe(true);
    expect(files.size).toBe(43);
    break;
  }
});
